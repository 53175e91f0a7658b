"""Logging in with SCRAM: the key is proved and never sent."""

import datetime as dt
import errno
from typing import Any

import pytest
from scram_client import ScramClient

from middlewared import CallError, Origin, ValidationErrors
from middlewared_auth.exchange import PATIENCE

BINDING = b"hash of the certificate"
TLS = Origin(address="127.0.0.1", channel_binding=BINDING)
BOUND = "p=tls-server-end-point"


async def make_key(world: Any, **data: Any) -> tuple[str, str]:
    """Make a key of ann; give the name that SCRAM knows it by, and its secret."""
    wanted = {"username": "ann", "name": "k"} | data
    key = await world.call("api_key.create", wanted)
    number, _, secret = key["key"].partition("-")
    return f"ann:{number}", secret


async def say(session: Any, kind: str, text: str, **options: Any) -> Any:
    """Send one message of the client."""
    data: dict[str, Any] = {
        "mechanism": "SCRAM",
        "scram_type": kind,
        "rfc_str": text,
    }
    if options:
        data["login_options"] = options
    return await session.context.call("auth.login_ex", data)


async def begin(session: Any, client: ScramClient) -> str:
    """Send the first message; give the server's."""
    answer = await say(session, "CLIENT_FIRST_MESSAGE", client.first)
    assert answer.pop("rfc_str").startswith("r=")
    assert answer == {
        "response_type": "SCRAM_RESPONSE",
        "scram_type": "SERVER_FIRST_RESPONSE",
        "user_info": None,
    }
    answer = await say(session, "CLIENT_FIRST_MESSAGE", client.first)
    return str(answer["rfc_str"])


async def finish(session: Any, client: ScramClient, server_first: str) -> Any:
    """Send the final message; give the answer."""
    return await say(session, "CLIENT_FINAL_MESSAGE", client.final(server_first))


async def log_in(session: Any, client: ScramClient) -> Any:
    """Run a whole login; give its last answer."""
    return await finish(session, client, await begin(session, client))


@pytest.mark.parametrize(
    ("origin", "flag"), [(TLS, BOUND), (TLS, "n"), (Origin(), "n"), (Origin(), "y")]
)
async def test_key_logs_in(world: Any, origin: Origin, flag: str) -> None:
    """With channel binding and without; both sides know then whom they talk to."""
    number = await world.user("ann", "POOL_READ", password=None)
    name, secret = await make_key(world)
    session = world.connect(origin)
    binding = BINDING if flag == BOUND else b""
    client = ScramClient(name, secret, flag=flag, binding=binding)
    answer = await log_in(session, client)
    assert client.trusts(answer["rfc_str"])
    assert answer["response_type"] == "SCRAM_RESPONSE"
    assert answer["scram_type"] == "SERVER_FINAL_RESPONSE"
    assert answer["user_info"] == await session.context.call("auth.me")
    assert session.credentials is not None
    assert (session.credentials.type, session.credentials.account_id) == (
        "API_KEY",
        number,
    )


async def test_options_are_those_of_the_final_message(world: Any) -> None:
    """A reconnect token is there for who asks, the description for who wants it."""
    await world.user("ann", password=None)
    name, secret = await make_key(world)
    session = world.connect()
    client = ScramClient(name, secret)
    final = client.final(await begin(session, client))
    options = {"user_info": False, "reconnect_token": True}
    answer = await say(session, "CLIENT_FINAL_MESSAGE", final, **options)
    assert answer["user_info"] is None
    assert len(answer["reconnect_token"]) == 64


async def test_strangers_are_answered_like_everybody(world: Any) -> None:
    """Unknown names, keys of others and wrong secrets differ in nothing but the end."""
    await world.user("ann", password=None)
    await world.user("bob", password=None)
    name, secret = await make_key(world)
    number = name.partition(":")[2]
    for wrong, word in (
        (name, "guess"),
        (f"bob:{number}", secret),
        ("ann:99", secret),
        ("nobody:1", secret),
        ("ann", secret),
    ):
        session = world.connect(Origin())
        client = ScramClient(wrong, word)
        first, second = await begin(session, client), await begin(session, client)
        assert first.partition(",")[2] == second.partition(",")[2]  # the same salt
        assert await finish(session, client, second) == {"response_type": "AUTH_ERR"}
        assert session.credentials is None
        with pytest.raises(CallError, match="no authentication in progress"):
            await finish(session, client, second)


async def test_somebody_in_between_is_noticed(world: Any) -> None:
    """A login through another certificate fails, and so does one made to not bind."""
    await world.user("ann", password=None)
    name, secret = await make_key(world)
    for flag, binding in ((BOUND, b"another certificate"), ("y", b"")):
        session = world.connect(TLS)
        client = ScramClient(name, secret, flag=flag, binding=binding)
        assert await log_in(session, client) == {"response_type": "AUTH_ERR"}


@pytest.mark.parametrize(("origin", "flag"), [(Origin(), BOUND), (TLS, "p=tls-unique")])
async def test_binding_that_there_is_not(world: Any, origin: Origin, flag: str) -> None:
    """A client that demands more than the connection has is told so at once."""
    client = ScramClient("ann:1", "x", flag=flag, binding=BINDING)
    with pytest.raises(CallError, match="no channel binding 'tls-") as info:
        await begin(world.connect(origin), client)
    assert info.value.errno == errno.EOPNOTSUPP


async def test_end_of_a_key_is_told_to_who_proves_it(world: Any) -> None:
    """EXPIRED and DENIED are for who knows the key; a revoked one is unknown."""
    number = await world.user("ann", password=None)
    soon = dt.datetime.fromtimestamp(world.clock.time_ms() / 1000 + 10, dt.UTC)
    name, secret = await make_key(world, expires=soon)
    session = world.connect(Origin())
    client = ScramClient(name, secret)
    world.clock.advance(11)
    assert await log_in(session, client) == {"response_type": "EXPIRED"}
    guess = ScramClient(name, "guess")
    assert await log_in(session, guess) == {"response_type": "AUTH_ERR"}
    name, secret = await make_key(world)
    client = ScramClient(name, secret)
    server_first = await begin(session, client)
    await world.call("user.update", number, {"locked": True})
    assert await finish(session, client, server_first) == {"response_type": "DENIED"}
    await world.call("user.update", number, {"locked": False})
    server_first = await begin(session, client)
    await world.call("api_key.delete", int(name.partition(":")[2]))
    answer = await finish(session, client, server_first)
    assert answer == {"response_type": "AUTH_ERR"}


async def test_exchange_does_not_wait_for_ever(world: Any) -> None:
    """A final message comes within a minute, on the same connection, once."""
    await world.user("ann", password=None)
    name, secret = await make_key(world)
    session, other = world.connect(Origin()), world.connect(Origin())
    client = ScramClient(name, secret)
    server_first = await begin(session, client)
    with pytest.raises(CallError, match="no authentication in progress") as info:
        await finish(other, client, server_first)
    assert info.value.errno == errno.EINVAL
    world.clock.advance(PATIENCE + 1)
    with pytest.raises(CallError, match="no authentication in progress"):
        await finish(session, client, server_first)


async def test_exchanges_that_never_end_are_limited(world: Any) -> None:
    """First messages count like failed logins; a success gives its own back."""
    await world.user("ann", password=None)
    name, secret = await make_key(world)
    client, session = ScramClient(name, secret), world.connect()
    for _ in range(2):
        await log_in(session, client)  # begins twice
    for _ in range(3):
        await say(session, "CLIENT_FIRST_MESSAGE", client.first)
    with pytest.raises(CallError, match="Rate Limit Exceeded"):
        await say(session, "CLIENT_FIRST_MESSAGE", client.first)


async def test_malformed_messages_are_refused(world: Any) -> None:
    """The error names the param; an exchange that began is over."""
    session = world.connect(Origin())
    for kind in ("CLIENT_FIRST_MESSAGE", "CLIENT_FINAL_MESSAGE"):
        await begin(session, ScramClient("ann:1", "x"))
        with pytest.raises(ValidationErrors, match=r"login_data\.rfc_str: is no"):
            await say(session, kind, "hello")
        with pytest.raises(CallError, match="no authentication in progress"):
            await say(session, "CLIENT_FINAL_MESSAGE", "c=biws,r=x,p=eA==")


async def test_it_goes_on_by_the_other_method_too(world: Any) -> None:
    """auth.login_ex_continue takes the final message."""
    await world.user("ann", password=None)
    name, secret = await make_key(world)
    session, client = world.connect(), ScramClient(name, secret)
    data = {
        "mechanism": "SCRAM",
        "scram_type": "CLIENT_FINAL_MESSAGE",
        "rfc_str": client.final(await begin(session, client)),
    }
    answer = await session.context.call("auth.login_ex_continue", data)
    assert client.trusts(answer["rfc_str"])
