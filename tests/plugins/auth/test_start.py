"""The first start offers a way in, and only the first."""

import re
from pathlib import Path
from typing import Any

import pytest

from middlewared.context import Announcements
from middlewared.errors import StartError
from middlewared_auth.signing import read_key

BASE = "http://127.0.0.1:6000"


def announced(world: Any) -> list[str]:
    """Give what the server prints once it listens."""
    return list(world.get(Announcements).texts(BASE))


async def test_first_start_prints_a_link_that_works(world: Any) -> None:
    """Without any account, admin is made and may log in with the printed link."""
    (line,) = announced(world)
    match = re.fullmatch(
        r"First start: log in as admin at http://127\.0\.0\.1:6000/ui/#token=(.{64})",
        line,
    )
    assert match is not None
    session = world.connect()
    assert await session.context.call("auth.login_with_token", match[1])
    assert session.credentials.full_admin
    await session.context.call(
        "user.set_password", {"username": "admin", "new_password": "pw"}
    )
    await world.log_in("admin")


async def test_admin_survives_the_restart_and_the_link_is_printed_again(
    run: Any,
) -> None:
    """As long as nobody can log in, every start prints a link to the same account."""
    async with run() as world:
        announced(world)
    async with run() as world:
        assert "as admin" in announced(world)[0]
        users = await world.call("user.query")
        assert [(u["id"], u["username"], u["roles"]) for u in users] == [
            (1, "admin", ["FULL_ADMIN"])
        ]


@pytest.mark.parametrize("with_key", [False, True])
async def test_later_starts_print_nothing(run: Any, with_key: bool) -> None:
    """Once somebody has a password or a key, no link is printed."""
    async with run() as world:
        await world.user("ann", "FULL_ADMIN", password=None if with_key else "pw")
        if with_key:
            await world.call("api_key.create", {"username": "ann", "name": "k"})
    async with run() as world:
        assert announced(world) == []
        assert await world.call("user.query", [], {"count": True}) == 1


async def test_commands_on_a_stopped_server_make_no_admin(run: Any) -> None:
    """What opens the data without listening adds no account of its own."""
    async with run() as world:
        assert await world.call("user.query") == []


async def test_start_without_a_way_in_says_so(world: Any) -> None:
    """When the name admin is taken by somebody else, no link can be made."""
    await world.user("admin", "JOB_USER", password=None)
    (line,) = announced(world)
    assert line == (
        "Nobody can log in with a password or a key: no account has the role "
        "FULL_ADMIN, and 'admin' is another one"
    )


@pytest.mark.parametrize("content", [b"", b"short"])
def test_damaged_token_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """A key file that is no key is refused with what to do about it."""
    (tmp_path / "token.key").write_bytes(content)
    with pytest.raises(StartError, match=r"expected 32; remove it"):
        read_key(tmp_path / "token.key")


async def test_readable_token_key_is_closed(run: Any, tmp_path: Path) -> None:
    """A key file that others can read is made private again."""
    async with run():
        pass
    (tmp_path / "token.key").chmod(0o644)
    async with run():
        assert (tmp_path / "token.key").stat().st_mode & 0o777 == 0o600


def test_unusable_token_key_is_refused(tmp_path: Path) -> None:
    """A path that cannot be read is named in the error."""
    (tmp_path / "token.key").mkdir()
    with pytest.raises(StartError, match=r"token\.key.*: Is a directory"):
        read_key(tmp_path / "token.key")
