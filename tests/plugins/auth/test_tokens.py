"""Tokens: how long, how often, where from and what for they are good."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from middlewared import CallError, Origin, ValidationErrors
from middlewared.access import SYSTEM
from middlewared_auth import Tokens
from middlewared_auth.tokens import MAX_TTL

HERE = Origin(address="127.0.0.1")
ELSEWHERE = Origin(address="192.0.2.7")


async def generate(world: Any, *params: Any, name: str = "ann") -> str:
    """Log in and make a token."""
    session = await world.log_in(name)
    return str(await session.context.call("auth.generate_token", *params))


async def works(world: Any, token: str, origin: Origin = HERE) -> bool:
    """Tell whether a new connection logs in with the token."""
    session = world.connect(origin)
    return bool(await session.context.call("auth.login_with_token", token))


async def test_token_is_64_url_safe_characters(world: Any) -> None:
    """Tokens of every kind look alike, and no two are the same."""
    await world.user("ann")
    kinds: list[tuple[Any, ...]] = [(), (), (600, {"job": 1}), (600, {}, True, True)]
    tokens = [await generate(world, *params) for params in kinds]
    assert len(set(tokens)) == 4
    for token in tokens:
        assert len(token) == 64
        assert set(token) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        )


@pytest.mark.parametrize("single_use", [False, True])
async def test_token_ends_with_its_time(world: Any, single_use: bool) -> None:
    """A token that is not used ends after ttl seconds."""
    await world.user("ann")
    token = await generate(world, 10, {}, True, single_use)
    world.clock.advance(11)
    assert not await works(world, token)


async def test_time_begins_anew_with_each_use(world: Any) -> None:
    """A token in use lives on; left alone it ends."""
    await world.user("ann")
    token = await generate(world, 10)
    for _ in range(4):
        world.clock.advance(8)
        assert await works(world, token)
    world.clock.advance(11)
    assert not await works(world, token)


async def test_time_of_a_token_with_attrs_begins_anew_too(world: Any) -> None:
    """A token for a purpose slides like one for logging in."""
    await world.user("ann")
    token = await generate(world, 10, {"job": 1})
    tokens = world.get(Tokens)
    for _ in range(3):
        world.clock.advance(8)
        assert tokens.take(token, HERE, attrs={"job": 1}) is not None
    world.clock.advance(11)
    assert tokens.take(token, HERE, attrs={"job": 1}) is None


async def test_single_use_token_works_once(world: Any) -> None:
    """The second login with a single-use token fails."""
    await world.user("ann")
    token = await generate(world, 600, {}, True, True)
    assert await works(world, token)
    assert not await works(world, token)


@pytest.mark.parametrize("single_use", [False, True])
async def test_token_is_bound_to_its_origin(world: Any, single_use: bool) -> None:
    """A token fails from another address, and is not used up by that."""
    await world.user("ann")
    token = await generate(world, 600, {}, True, single_use)
    assert not await works(world, token, ELSEWHERE)
    assert not await works(world, token, Origin(uid=0))
    assert await works(world, token)


@pytest.mark.parametrize("single_use", [False, True])
async def test_token_can_be_free_of_its_origin(world: Any, single_use: bool) -> None:
    """Without match_origin a token works from everywhere."""
    await world.user("ann")
    token = await generate(world, 600, {}, False, single_use)
    assert await works(world, token, ELSEWHERE)


async def test_token_with_attrs_is_for_its_purpose_only(world: Any) -> None:
    """A token with attrs does not log in, and only exactly its attrs are right."""
    number = await world.user("ann", "POOL_READ")
    token = await generate(world, 600, {"job": 7})
    tokens = world.get(Tokens)
    assert not await works(world, token)
    assert tokens.take(token, HERE, attrs={"job": 8}) is None
    taken = tokens.take(token, HERE, attrs={"job": 7})
    assert taken.account_id == number
    assert taken.roles == {"POOL_READ"}
    plain = await generate(world)
    assert tokens.take(plain, HERE, attrs={"job": 7}) is None


async def test_token_survives_a_restart(run: Any, tmp_path: Path) -> None:
    """A login token works after a restart, as a reconnect token does."""
    async with run() as world:
        await world.user("ann", "POOL_READ")
        session = world.connect()
        answer = await session.context.call(
            "auth.login_ex",
            {
                "mechanism": "PASSWORD_PLAIN",
                "username": "ann",
                "password": "pw",
                "login_options": {"reconnect_token": True},
            },
        )
        login_id = session.credentials.login_id
        token = await session.context.call("auth.generate_token")
        once = await session.context.call("auth.generate_token", 600, {}, True, True)
    assert (tmp_path / "token.key").stat().st_mode & 0o777 == 0o600
    async with run() as world:
        assert await works(world, token)
        assert not await works(world, once)
        again = world.connect()
        assert await again.context.call(
            "auth.login_with_token", answer["reconnect_token"]
        )
        assert again.credentials.login_id == login_id
        assert again.credentials.roles == {"POOL_READ"}


async def test_token_of_another_server_is_worth_nothing(
    run: Any, tmp_path: Any
) -> None:
    """With a new key file all signed tokens are over."""
    async with run() as world:
        await world.user("ann")
        token = await generate(world)
    (tmp_path / "token.key").unlink()
    async with run() as world:
        assert not await works(world, token)


@pytest.mark.parametrize("single_use", [False, True])
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("user.delete", [1]),
        ("user.update", [1, {"locked": True}]),
        ("user.set_password", [{"username": "ann", "new_password": "new"}]),
    ],
)
async def test_token_ends_with_its_account(
    world: Any, method: str, params: list[Any], single_use: bool
) -> None:
    """Removal, a lock and a new password end every token of the account."""
    await world.user("ann")
    token = await generate(world, 600, {}, True, single_use)
    await world.call(method, *params)
    assert not await works(world, token)


async def test_lock_ends_tokens_for_good(world: Any) -> None:
    """Unlocking an account does not revive the tokens from before."""
    number = await world.user("ann")
    token = await generate(world)
    await world.call("user.update", number, {"locked": True})
    await world.call("user.update", number, {"locked": False})
    assert not await works(world, token)


async def test_token_gives_the_roles_of_today(world: Any) -> None:
    """A token is worth what its account is when it is used."""
    number = await world.user("ann", "POOL_READ", "JOB_USER")
    token = await generate(world)
    await world.call("user.update", number, {"roles": ["JOB_USER"]})
    session = world.connect()
    assert await session.context.call("auth.login_with_token", token)
    assert session.credentials.roles == {"JOB_USER"}


async def test_token_of_a_key_is_no_more_than_the_key(world: Any) -> None:
    """A token made with a narrow API key is as narrow, and ends with the key."""
    await world.user("ann", "POOL_READ", "JOB_USER", password=None)
    key = await world.call(
        "api_key.create", {"username": "ann", "name": "k", "roles": ["JOB_USER"]}
    )
    session = world.connect()
    assert await session.context.call("auth.login_with_api_key", key["key"])
    kinds: list[tuple[Any, ...]] = [(), (600, {}, True, True)]
    for params in kinds:
        token = await session.context.call("auth.generate_token", *params)
        other = world.connect()
        assert await other.context.call("auth.login_with_token", token)
        assert other.credentials.roles == {"JOB_USER"}
        assert other.credentials.api_key == key["id"]
    token = await session.context.call("auth.generate_token")
    await world.call("api_key.delete", key["id"])
    assert not await works(world, token)


async def test_logout_ends_the_tokens_of_the_login(run: Any) -> None:
    """Who logs out is out, for good; other logins of the account are not."""
    async with run() as world:
        await world.user("ann")
        session = world.connect()
        answer = await session.context.call(
            "auth.login_ex",
            {
                "mechanism": "PASSWORD_PLAIN",
                "username": "ann",
                "password": "pw",
                "login_options": {"reconnect_token": True},
            },
        )
        reconnect = answer["reconnect_token"]
        generated = await session.context.call("auth.generate_token")
        purpose = await session.context.call("auth.generate_token", 600, {"job": 1})
        other = await generate(world)
        assert await works(world, reconnect)
        assert await session.context.call("auth.logout") is True
        assert session.credentials is None
        assert not await works(world, reconnect)
        tokens = world.get(Tokens)
        assert tokens.take(purpose, HERE, attrs={"job": 1}) is None
    async with run() as world:
        assert not await works(world, reconnect)
        assert not await works(world, generated)
        assert await works(world, other)


async def test_logins_without_tokens_leave_nothing(world: Any) -> None:
    """Who logs in and out all day fills neither memory nor table."""
    await world.user("ann")
    token = await generate(world)
    session = world.connect()
    for _ in range(5):
        assert await session.context.call("auth.login_with_token", token)
        assert await session.context.call("auth.logout") is True
    rows = await world.context.database.read("SELECT * FROM ended_logins")
    assert (rows, world.get(Tokens)._ended) == ([], {})
    assert await session.context.call("auth.login_with_token", token)
    await session.context.call("auth.generate_token")
    await session.context.call("auth.logout")
    assert len(world.get(Tokens)._ended) == 1


async def test_token_outlives_its_connection(world: Any) -> None:
    """A script may fetch a token, hang up, and hand the token on."""
    await world.user("ann")
    session = await world.log_in("ann")
    token = await session.context.call("auth.generate_token")
    session.close()
    assert await works(world, token)


async def test_reconnect_token_does_not_slide(run: Any) -> None:
    """A reconnect token has a fixed time; whoever uses it asks for the next one."""
    async with run(reconnect_ttl=100) as world:
        await world.user("ann")
        session = world.connect()
        options = {"login_options": {"reconnect_token": True}}
        login = {"mechanism": "PASSWORD_PLAIN", "username": "ann", "password": "pw"}
        login |= options  # type: ignore[arg-type]  # a dict of anything
        first = (await session.context.call("auth.login_ex", login))["reconnect_token"]
        world.clock.advance(80)
        login = {"mechanism": "TOKEN_PLAIN", "token": first}
        login |= options  # type: ignore[arg-type]  # a dict of anything
        answer = await world.connect().context.call("auth.login_ex", login)
        world.clock.advance(80)
        assert not await works(world, first)
        assert await works(world, answer["reconnect_token"])


async def test_connection_without_account_makes_tokens_too(world: Any) -> None:
    """Root on the unix socket gets tokens; they live in memory."""
    session = world.connect(Origin(uid=0))
    session.login(replace(SYSTEM, type="UNIX_SOCKET", username="root"))
    token = await session.context.call("auth.generate_token", 600, {}, False)
    other = world.connect()
    assert await other.context.call("auth.login_with_token", token)
    assert other.credentials.full_admin
    assert other.credentials.type == "TOKEN"
    login = {
        "mechanism": "TOKEN_PLAIN",
        "token": token,
        "login_options": {"reconnect_token": True},
    }
    answer = await other.context.call("auth.login_ex", login)
    assert answer["reconnect_token"] is None


async def test_memory_for_tokens_is_bounded(run: Any) -> None:
    """Past the limit the oldest token of the same account gives way."""
    async with run(max_tokens=4) as world:
        await world.user("ann")
        await world.user("bob")
        once: tuple[Any, ...] = (600, {}, True, True)
        bobs = await generate(world, *once, name="bob")
        anns = [await generate(world, *once) for _ in range(6)]
        assert await works(world, bobs)
        assert [await works(world, token) for token in anns] == [
            False,
            False,
            False,
            True,
            True,
            True,
        ]


async def test_tokens_that_are_over_make_room_first(run: Any) -> None:
    """A full memory drops what is over before what is still good."""
    async with run(max_tokens=2) as world:
        await world.user("ann")
        good = await generate(world, 600, {}, True, True)
        await generate(world, 10, {}, True, True)
        world.clock.advance(11)
        later = await generate(world, 600, {}, True, True)
        assert await works(world, good)
        assert await works(world, later)


async def test_ended_logins_are_forgotten_with_their_tokens(run: Any) -> None:
    """A logout is remembered no longer than a token of it could live."""
    async with run() as world:
        await world.user("ann")
        sql = "SELECT count(*) FROM ended_logins"
        for days in (0, 31, 1):
            world.clock.advance(days * 86_400)
            login = await world.log_in("ann")
            await login.context.call("auth.generate_token", 600)
            await login.context.call("auth.logout")
        assert await world.context.database.read(sql) == [(2,)]
        assert len(world.get(Tokens)._ended) == 2


async def test_memory_for_sliding_is_bounded(run: Any) -> None:
    """Past the limit the token used least recently falls back to its first time."""
    async with run(max_tokens=1) as world:
        await world.user("ann")
        first, second = await generate(world, 100), await generate(world, 100)
        world.clock.advance(60)
        assert await works(world, first)
        assert await works(world, second)
        world.clock.advance(60)
        assert not await works(world, first)
        assert await works(world, second)


@pytest.mark.parametrize("ttl", [0, -1, MAX_TTL + 1])
async def test_unfit_ttl_is_refused(world: Any, ttl: int) -> None:
    """A token lives for at least a second and at most 30 days."""
    await world.user("ann")
    with pytest.raises(ValidationErrors, match="ttl"):
        await generate(world, ttl)


async def test_null_ttl_is_the_longest(world: Any) -> None:
    """Without a ttl of its own a token is good for 30 days."""
    await world.user("ann")
    token = await generate(world, None)
    world.clock.advance(MAX_TTL - 1)
    assert await works(world, token)


async def test_large_attrs_are_refused(world: Any) -> None:
    """Attrs are kept in memory, so they have a limit that the error names."""
    await world.user("ann")
    with pytest.raises(ValidationErrors, match="the limit is 4096"):
        await generate(world, 600, {"x": "y" * 5000})


@pytest.mark.parametrize(
    "token", ["", "x", "x" * 64, "ä" * 64, "\ud800", "=" * 64, "A" * 63 + "\n"]
)
async def test_garbage_is_no_token(world: Any, token: str) -> None:
    """Text that no server made is refused without an error."""
    assert world.get(Tokens).take(token, HERE, attrs={}) is None


async def test_changed_token_is_worth_nothing(world: Any) -> None:
    """Every single character of a signed token counts."""
    await world.user("ann")
    token = await generate(world)
    tokens = world.get(Tokens)
    for place in range(64):
        other = secrets.choice([c for c in "ABCabc019" if c != token[place]])
        changed = token[:place] + other + token[place + 1 :]
        assert tokens.take(changed, HERE, attrs={}) is None
    assert tokens.take(token, HERE, attrs={}) is not None


async def test_token_for_a_removed_account_is_not_made(world: Any) -> None:
    """A call that outlives its account gets no token."""
    number = await world.user("ann")
    session = await world.log_in("ann")
    context = session.context
    await world.call("user.delete", number)
    with pytest.raises(CallError, match="Not authorized"):
        await context.call("auth.generate_token")
