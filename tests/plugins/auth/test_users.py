"""Accounts, as administrators see them over the wire."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from middlewared import CallError, ValidationErrors
from middlewared.errors import validation_extra
from middlewared.session import ClientSession


def refusal(info: pytest.ExceptionInfo[BaseException]) -> Any:
    """Give the one ``[attribute, text, errno]`` of a validation error."""
    extra = validation_extra(info.value)
    assert extra is not None
    assert len(extra) == 1
    return extra[0]


async def test_created_user_is_listed_without_its_password(world: Any) -> None:
    """A new account is shown with its roles, never with its password or its hash."""
    made = await world.call(
        "user.create",
        {
            "username": "ann",
            "password": "s3cret",
            "roles": ["POOL_READ", "JOB_USER"],
            "full_name": "Ann O.",
        },
    )
    assert made.pop("uuid")
    assert made == {
        "id": 1,
        "username": "ann",
        "full_name": "Ann O.",
        "roles": ["JOB_USER", "POOL_READ"],
        "privileges": [],
        "all_roles": ["JOB_USER", "POOL_READ"],
        "locked": False,
        "locked_out": False,
        "expires": None,
        "expired": False,
        "has_password": True,
        "password_changed": {"$date": world.clock.time_ms()},
        "must_change_password": False,
        "created": {"$date": world.clock.time_ms()},
    }
    listed = await world.call("user.query", [["username", "=", "ann"]], {"get": True})
    assert listed["roles"] == ["JOB_USER", "POOL_READ"]
    assert "s3cret" not in str(listed)
    assert "argon2" not in str(listed)


async def test_unknown_role_is_refused_with_the_known_ones(world: Any) -> None:
    """A role that nothing declares is refused; the error names it and the others."""
    with pytest.raises(ValidationErrors) as info:
        await world.user("ann", "JOB_USER", "POOL_WRITE")
    attribute, text, _ = refusal(info)
    assert attribute == "data.roles.1"
    assert text == (
        "there is no role 'POOL_WRITE', expected one of API_KEY_READ, API_KEY_WRITE, "
        "FULL_ADMIN, JOB_USER, POOL_READ, POOL_WATCH, READONLY_ADMIN"
    )
    assert await world.call("user.query", [], {"count": True}) == 0


@pytest.mark.parametrize("name", ["", "a b", "a:b", "-a", "ä", "x" * 65, "a\n"])
async def test_bad_username_is_refused(world: Any, name: str) -> None:
    """A name that cannot be written in front of a colon is refused."""
    with pytest.raises(ValidationErrors) as info:
        await world.user(name)
    attribute, text, _ = refusal(info)
    assert attribute == "data.username"
    assert repr(name) in text


async def test_taken_username_is_refused(world: Any) -> None:
    """Two accounts never have one name, by creation or by renaming."""
    await world.user("ann")
    other = await world.user("bob")
    with pytest.raises(ValidationErrors) as info:
        await world.user("ann")
    assert refusal(info) == ("data.username", "there is an account 'ann' already", 17)
    with pytest.raises(ValidationErrors) as info:
        await world.call("user.update", other, {"username": "ann"})
    assert refusal(info)[0] == "data.username"


@pytest.mark.parametrize("password", ["", "x" * 1025])
async def test_password_of_unfit_length_is_refused(world: Any, password: str) -> None:
    """An empty or endless password is refused, and not shown."""
    with pytest.raises(ValidationErrors) as info:
        await world.user("ann", password=password)
    attribute, text, _ = refusal(info)
    assert attribute == "data.password"
    assert text == f"has {len(password)} characters, expected 1 to 1024"


async def test_update_changes_what_is_given(world: Any) -> None:
    """An update changes the given fields and keeps the others."""
    number = await world.user("ann", "JOB_USER")
    after = await world.call("user.update", number, {"full_name": "A"})
    assert (after["full_name"], after["roles"]) == ("A", ["JOB_USER"])
    after = await world.call("user.update", number, {"username": "anna", "roles": []})
    assert (after["username"], after["roles"]) == ("anna", [])


@pytest.mark.parametrize("method", ["user.update", "user.delete"])
async def test_unknown_id_is_refused(world: Any, method: str) -> None:
    """Changing or removing an account that is not there says so, with ENOENT."""
    params = [7, {}] if method == "user.update" else [7]
    with pytest.raises(ValidationErrors) as info:
        await world.call(method, *params)
    assert refusal(info) == (None, "there is no account with id 7", 2)


async def test_removed_account_frees_its_name_but_not_its_id(run: Any) -> None:
    """Ids are never reused, also after a restart, so jobs keep their owner."""
    async with run() as world:
        number = await world.user("ann")
        assert await world.call("user.delete", number) is True
        assert await world.call("user.query") == []
    async with run() as world:
        again = await world.user("ann")
        assert again > number
        names = await world.context.database.read("SELECT username FROM accounts")
        assert names == [("ann",), ("ann",)]


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("user.delete", []),
        ("user.update", [{"locked": True}]),
        ("user.update", [{"roles": ["JOB_USER"]}]),
    ],
)
async def test_last_admin_stays(world: Any, method: str, change: list[Any]) -> None:
    """The last account that may do everything is not removed, locked or lowered."""
    await world.user("ann", "FULL_ADMIN")
    bob = await world.user("bob", "FULL_ADMIN")
    await world.call("user.update", bob, {"locked": True})
    with pytest.raises(CallError, match="'ann' is the last account"):
        await world.call(method, 1, *change)
    await world.call("user.update", bob, {"locked": False})
    await world.call(method, 1, *change)


async def test_methods_need_a_full_admin(world: Any) -> None:
    """Limited users cannot see or change accounts, or make links."""
    await world.user("ann", "JOB_USER")
    session: ClientSession = await world.log_in("ann")
    for method, params in (
        ("user.query", []),
        ("user.create", [{"username": "x"}]),
        ("user.update", [1, {}]),
        ("user.delete", [1]),
        ("api_key.create", [{"username": "ann", "name": "x"}]),
        ("api_key.query", []),
        ("api_key.delete", [1]),
        ("auth.login_link", []),
    ):
        with pytest.raises(CallError, match="Not authorized"):
            await session.context.call(method, *params)


async def test_queries_take_filters_and_options(world: Any) -> None:
    """The language of core.get_jobs works on accounts, with its errors."""
    for name in ("ann", "bob", "cat"):
        await world.user(name, password=None)
    found = await world.call(
        "user.query",
        [["username", ">", "ann"]],
        {"order_by": ["-username"], "select": ["username"]},
    )
    assert found == [{"username": "cat"}, {"username": "bob"}]
    with pytest.raises(ValidationErrors) as info:
        await world.call("user.query", [], {"limit": 10_001})
    assert refusal(info)[0] == "options.limit"


async def test_one_name_is_given_once(world: Any) -> None:
    """Of accounts made at the same moment with one name, one is made."""
    outcomes: list[str] = []

    async def create() -> None:
        try:
            await world.user("ann")
        except ValidationErrors as exc:
            outcomes.append(exc.errors[0].text)
        else:
            outcomes.append("made")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(create)
    taken = "there is an account 'ann' already"
    assert sorted(outcomes) == ["made", taken, taken]
