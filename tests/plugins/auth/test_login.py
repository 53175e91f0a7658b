"""Logging in: every mechanism, what fails, and how often it may."""

import datetime as dt
import errno
import logging
from typing import Any

import anyio
import pytest

from middlewared import CallError, Origin, ValidationErrors
from middlewared_auth import Tokens
from middlewared_auth.hashing import Hashing

SUCCESS_KEYS = {"response_type", "user_info", "authenticator", "reconnect_token"}


def password(name: str, word: str, **options: Any) -> dict[str, Any]:
    """Build the params of a login with a password."""
    return {
        "mechanism": "PASSWORD_PLAIN",
        "username": name,
        "password": word,
        **({"login_options": options} if options else {}),
    }


async def make_key(world: Any, **extra: Any) -> dict[str, Any]:
    """Make an API key of account ann."""
    return dict(
        await world.call("api_key.create", {"username": "ann", "name": "k", **extra})
    )


async def test_mechanisms_are_those_that_work(world: Any) -> None:
    """Every mechanism that is offered is one that login_ex takes."""
    session = world.connect()
    assert await session.context.call("auth.mechanism_choices") == [
        "API_KEY_PLAIN",
        "TOKEN_PLAIN",
        "PASSWORD_PLAIN",
        "SCRAM",
    ]
    with pytest.raises(ValidationErrors, match="OTHER"):
        await session.context.call("auth.login_ex", {"mechanism": "OTHER"})


@pytest.mark.parametrize("method", ["auth.login_ex", "auth.login_ex_continue"])
async def test_no_second_factor_is_asked_for(world: Any, method: str) -> None:
    """A second factor has nothing to continue."""
    data = {"mechanism": "OTP_TOKEN", "otp_token": "123456"}
    with pytest.raises(CallError, match="no authentication in progress") as info:
        await world.connect().context.call(method, data)
    assert info.value.errno == errno.EINVAL


async def test_password_logs_in(world: Any) -> None:
    """A right password answers SUCCESS with who it is, and changes the session."""
    number = await world.user("ann", "JOB_USER")
    session = world.connect()
    answer = await session.context.call("auth.login_ex", password("ann", "pw"))
    assert answer.keys() == SUCCESS_KEYS
    assert answer["response_type"] == "SUCCESS"
    assert answer["authenticator"] == "LEVEL_1"
    assert answer["reconnect_token"] is None
    assert answer["user_info"] == await session.context.call("auth.me")
    assert session.credentials is not None
    assert session.credentials.account_id == number
    assert session.credentials.type == "LOGIN_PASSWORD"
    assert session.credentials.roles == {"JOB_USER"}


async def test_options_choose_what_the_answer_holds(world: Any) -> None:
    """The user's description can be left out, a reconnect token asked for."""
    await world.user("ann")
    session = world.connect()
    answer = await session.context.call(
        "auth.login_ex", password("ann", "pw", user_info=False, reconnect_token=True)
    )
    assert answer["user_info"] is None
    assert len(answer["reconnect_token"]) == 64


async def test_wrong_password_is_an_answer(world: Any) -> None:
    """Wrong passwords, names and accounts without a password all answer AUTH_ERR."""
    await world.user("ann")
    await world.user("bot", password=None)
    for name, word in (("ann", "PW"), ("nobody", "pw"), ("bot", ""), ("Ann", "pw")):
        session = world.connect(Origin())
        answer = await session.context.call("auth.login_ex", password(name, word))
        assert answer == {"response_type": "AUTH_ERR"}
        assert session.credentials is None
        assert await session.context.call("auth.login", name, word) is False


async def test_failed_login_keeps_the_earlier_one(world: Any) -> None:
    """A wrong password on a logged-in connection changes nothing."""
    await world.user("ann")
    session = await world.log_in("ann")
    before = session.credentials
    assert not await session.context.call("auth.login", "ann", "wrong")
    assert session.credentials is before


async def test_second_login_replaces_the_first(world: Any) -> None:
    """Logging in again drops the earlier rights."""
    await world.user("root", "FULL_ADMIN")
    await world.user("ann")
    session = await world.log_in("root")
    assert await session.context.call("auth.login", "ann", "pw")
    assert session.credentials is not None
    assert session.credentials.username == "ann"
    with pytest.raises(CallError, match="Not authorized"):
        await session.context.call("user.query")


async def test_locked_account_is_denied_only_to_who_knows_the_password(
    world: Any,
) -> None:
    """DENIED is the answer to the right password of a locked account, no other."""
    number = await world.user("ann")
    await world.call("user.update", number, {"locked": True})
    session = world.connect()
    right = await session.context.call("auth.login_ex", password("ann", "pw"))
    wrong = await session.context.call("auth.login_ex", password("ann", "no"))
    assert right == {"response_type": "DENIED"}
    assert wrong == {"response_type": "AUTH_ERR"}


async def test_failure_takes_its_time(run: Any) -> None:
    """A failed login is answered no sooner than the settings say."""
    async with run(failure_delay=0.2) as world:
        session = world.connect()
        before = anyio.current_time()
        for call in (
            ("auth.login", "nobody", "pw"),
            ("auth.login_with_token", "x"),
            ("auth.login_with_api_key", "x"),
        ):
            assert await session.context.call(*call) is False
        assert anyio.current_time() - before >= 0.6


async def test_older_login_takes_a_null_second_factor(world: Any) -> None:
    """Clients that always send a third param log in, unless it asks for more."""
    await world.user("ann")
    session = world.connect()
    assert await session.context.call("auth.login", "ann", "pw", None) is True
    with pytest.raises(CallError) as info:
        await session.context.call("auth.login", "ann", "pw", "123456")
    assert info.value.errno == errno.EOPNOTSUPP


async def test_api_key_logs_in(world: Any) -> None:
    """A key logs in with the name of its account, and without one."""
    await world.user("ann", "POOL_READ", password=None)
    key = await make_key(world)
    session = world.connect()
    login = {"mechanism": "API_KEY_PLAIN", "username": "ann", "api_key": key["key"]}
    answer = await session.context.call("auth.login_ex", login)
    assert answer["response_type"] == "SUCCESS"
    assert "API_KEY" in answer["user_info"]["account_attributes"]
    assert session.credentials is not None
    assert session.credentials.type == "API_KEY"
    assert session.credentials.api_key == key["id"]
    assert session.credentials.roles == {"POOL_READ"}
    assert await world.connect().context.call("auth.login_with_api_key", key["key"])


async def test_wrong_api_keys_are_refused(world: Any) -> None:
    """Keys of others, revoked, cut or unknown ones answer AUTH_ERR."""
    await world.user("ann", password=None)
    await world.user("bob", password=None)
    key = (await make_key(world))["key"]
    gone = await make_key(world)
    await world.call("api_key.delete", gone["id"])
    session = world.connect(Origin())
    for name, clear in (
        ("bob", key),
        ("ann", key[:-1]),
        ("ann", key + "x"),
        ("ann", "9" + key),
        ("ann", gone["key"]),
        ("ann", ""),
    ):
        login = {"mechanism": "API_KEY_PLAIN", "username": name, "api_key": clear}
        answer = await session.context.call("auth.login_ex", login)
        assert answer == {"response_type": "AUTH_ERR"}


async def test_expired_api_key_says_so_to_who_knows_it(world: Any) -> None:
    """A key past its time answers EXPIRED; a guess at it does not."""
    await world.user("ann", password=None)
    ends = dt.datetime.fromtimestamp(world.clock.time_ms() / 1000 + 60, dt.UTC)
    key = await world.call(
        "api_key.create",
        {"username": "ann", "name": "k", "expires": ends},
    )
    session = world.connect()
    login = {"mechanism": "API_KEY_PLAIN", "username": "ann", "api_key": key["key"]}
    answer = await session.context.call("auth.login_ex", login)
    assert answer["response_type"] == "SUCCESS"
    world.clock.advance(61)
    answer = await session.context.call("auth.login_ex", login)
    assert answer == {"response_type": "EXPIRED"}
    login["api_key"] = f"{key['id']}-guess"
    answer = await session.context.call("auth.login_ex", login)
    assert answer == {"response_type": "AUTH_ERR"}


async def test_token_logs_in(world: Any) -> None:
    """A token logs in as the account that made it, as type TOKEN."""
    number = await world.user("ann", "POOL_READ")
    session = await world.log_in("ann")
    token = await session.context.call("auth.generate_token")
    other = world.connect()
    answer = await other.context.call(
        "auth.login_ex", {"mechanism": "TOKEN_PLAIN", "token": token}
    )
    assert answer["response_type"] == "SUCCESS"
    assert other.credentials is not None
    assert other.credentials.type == "TOKEN"
    assert other.credentials.account_id == number
    assert other.credentials.login_id != session.credentials.login_id
    assert await world.connect().context.call("auth.login_with_token", token) is True


async def test_failures_past_the_limit_are_refused(world: Any) -> None:
    """Too many failures from one address give EBUSY, even for the right password."""
    await world.user("ann")
    session = world.connect()
    for _ in range(5):
        assert not await session.context.call("auth.login", "ann", "wrong")
    with pytest.raises(CallError, match="Rate Limit Exceeded") as info:
        await session.context.call("auth.login", "ann", "pw")
    assert info.value.errno == errno.EBUSY
    await world.log_in("ann", origin=Origin(address="192.0.2.1"))
    world.clock.advance(61)
    assert await session.context.call("auth.login", "ann", "pw")


async def test_successes_and_good_tokens_are_not_limited(world: Any) -> None:
    """Logging in often is no attack; a good token works past the limit too."""
    await world.user("ann")
    for _ in range(7):
        await world.log_in("ann")
    session = await world.log_in("ann")
    token = await session.context.call("auth.generate_token")
    for _ in range(5):
        assert not await session.context.call("auth.login_with_token", "bad")
    assert await session.context.call("auth.login_with_token", token)
    with pytest.raises(CallError, match="Rate Limit Exceeded"):
        await session.context.call("auth.login_with_token", "bad")


async def test_unix_socket_is_not_limited(world: Any) -> None:
    """Who is on the machine may fail as often as they like."""
    session = world.connect(Origin(uid=1000))
    for _ in range(8):
        assert not await session.context.call("auth.login_with_api_key", "1-x")


async def test_unanswered_attempts_count(world: Any) -> None:
    """Logins that are still being checked count, so hashing cannot be flooded."""
    outcomes: list[str] = []

    async def attempt() -> None:
        try:
            await world.connect().context.call("auth.login", "nobody", "pw")
        except CallError as exc:
            outcomes.append(exc.text)
        else:
            outcomes.append("failed")

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(attempt)
    assert sorted(outcomes) == ["Rate Limit Exceeded"] * 3 + ["failed"] * 5


async def test_password_changed_while_it_is_checked_is_refused(world: Any) -> None:
    """A login that began with the old password does not survive its change."""
    number = await world.user("ann")
    session = world.connect()
    outcomes: list[bool] = []

    async def attempt() -> None:
        outcomes.append(await session.context.call("auth.login", "ann", "pw"))

    async def check_slowly(hashed: str | None, claimed: str) -> bool:
        right = await Hashing.check_password(hashing, hashed, claimed)
        await world.call("user.delete", number)
        return right

    hashing = world.get(Hashing)
    hashing.check_password = check_slowly
    async with anyio.create_task_group() as group:
        group.start_soon(attempt)
    assert outcomes == [False]
    assert session.credentials is None


async def test_secrets_stay_out_of_the_log(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither passwords, keys, tokens nor names that nobody has reach the log."""
    caplog.set_level(logging.DEBUG)
    await world.user("ann", password="hush-1")
    session = world.connect(Origin())
    await session.context.call("auth.login", "ann", "hush-2")
    await session.context.call("auth.login", "hush-3", "hush-4")
    await session.context.call("auth.login_with_api_key", "1-hush5")
    await session.context.call("auth.login_with_token", "hush-6")
    await session.context.call("auth.login", "ann", "hush-1")
    assert "'ann'" in caplog.text
    assert "hush" not in caplog.text


async def test_only_connections_log_in(world: Any) -> None:
    """A call from inside the server has no session to log in."""
    with pytest.raises(CallError, match="Only a connection"):
        await world.call("auth.login_with_token", "x")
    assert world.get(Tokens) is not None
