"""The account that a command runs as."""

import grp
import os
import pwd

import msgspec

__all__ = ["Account", "AccountError", "find_account"]


class AccountError(ValueError):
    """An account that cannot be used; the message says why."""


class Account(msgspec.Struct, frozen=True):
    """A user with a group, as the system knows them now.

    Attributes:
        name: of the user.
        uid: number of the user.
        gid: number of the group.
        groups: numbers of all groups.
        home: folder of the user.
        shell: login shell of the user.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise AccountError(f"there is no user {name!r}") from None


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise AccountError(f"there is no group {name!r}") from None


def find_account(user: str | None, group: str | None) -> Account | None:
    """Look an account up; None when the server's own will do.

    Args:
        user: name of the user, None for the server's.
        group: name of the group, None for the user's own.

    Raises:
        AccountError: there is none, or only root may become it.
    """
    if user is None and group is None:
        return None
    if os.geteuid() != 0:
        _check_own(user, group)
        return None
    entry = pwd.getpwuid(0) if user is None else _user(user)
    gid = entry.pw_gid if group is None else _group(group)
    return Account(
        entry.pw_name,
        entry.pw_uid,
        gid,
        tuple(os.getgrouplist(entry.pw_name, gid)),
        entry.pw_dir,
        entry.pw_shell,
    )


def _check_own(user: str | None, group: str | None) -> None:
    """Refuse to become somebody else without being root."""
    uid = os.geteuid() if user is None else _user(user).pw_uid
    gid = os.getegid() if group is None else _group(group)
    if (uid, gid) != (os.geteuid(), os.getegid()):
        raise AccountError(
            f"the server runs as uid {os.geteuid()}, only root may run commands as "
            "somebody else"
        )
