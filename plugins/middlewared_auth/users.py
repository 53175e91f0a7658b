"""The methods of ``user``: accounts, for administrators."""

import datetime as dt
import errno
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from middlewared import (
    Context,
    Date,
    Example,
    Secret,
    ValidationError,
    ValidationErrors,
)
from middlewared.filters import parse_filters, parse_options, run_query
from middlewared.registry import Registry
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts, NameTaken
from middlewared_auth.declaration import plugin
from middlewared_auth.hashing import Hashing
from middlewared_auth.lockouts import Lockouts
from middlewared_auth.passwords import check_password
from middlewared_auth.privileges import Privileges
from middlewared_auth.roles import check_roles
from middlewared_auth.texts import as_date, check_line, milliseconds

__all__ = ["no_account"]

#: No colon or comma: SCRAM and HTTP write names in front of these.
_USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}", re.ASCII)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account as ``user.query`` shows it.

    Attributes:
        id: never passes to another account.
        uuid: names the account outside this server.
        username: to log in with.
        full_name: for people.
        roles: given to the account itself, sorted; FULL_ADMIN includes all others.
        privileges: names of the privileges it holds, sorted.
        all_roles: all that it may: its own roles and those of its privileges, sorted.
        locked: cannot log in.
        locked_out: cannot log in with a password for a while, after wrong ones.
        expires: when it ends; null for never.
        expired: it has ended.
        has_password: whether a password is set.
        password_changed: when the password was set; null without one.
        must_change_password: the password is only good for setting a new one.
        created: when it was made.
    """

    id: int
    uuid: str
    username: str
    full_name: str
    roles: list[str]
    privileges: list[str]
    all_roles: list[str]
    locked: bool
    locked_out: bool
    expires: Date | None
    expired: bool
    has_password: bool
    password_changed: Date | None
    must_change_password: bool
    created: Date


class UserCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new account. Without a password it logs in with API keys and links only."""

    username: str
    password: Secret[str] | None = None
    roles: list[str] = []
    privileges: list[str] = []
    full_name: str = ""
    locked: bool = False
    expires: dt.datetime | None = None
    must_change_password: bool = False


class UserUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an account; what is not given stays."""

    username: str | UnsetType = UNSET
    roles: list[str] | UnsetType = UNSET
    privileges: list[str] | UnsetType = UNSET
    full_name: str | UnsetType = UNSET
    locked: bool | UnsetType = UNSET
    expires: dt.datetime | UnsetType | None = UNSET
    must_change_password: bool | UnsetType = UNSET


def _describe(ctx: Context, account: Account) -> User:
    privileges, now = ctx.get(Privileges), ctx.clock.time_ms()
    held = (privileges.get(number) for number in account.privileges)
    return User(
        id=account.id,
        uuid=account.uuid,
        username=account.username,
        full_name=account.full_name,
        roles=sorted(account.own_roles),
        privileges=sorted(privilege.name for privilege in held if privilege),
        all_roles=sorted(account.roles),
        locked=account.locked,
        locked_out=ctx.get(Lockouts).seconds_left(account.username) > 0,
        expires=as_date(account.expires),
        expired=account.expires is not None and account.expires <= now,
        has_password=account.password_hash is not None,
        password_changed=as_date(account.password_changed),
        must_change_password=account.must_change_password,
        created=Date(account.created),
    )


def no_account(what: str) -> ValidationErrors:
    """Build the error for an account that does not exist."""
    return ValidationErrors(
        [ValidationError(None, f"there is no account {what}", errno.ENOENT)]
    )


def _check_username(username: str) -> None:
    if not _USERNAME.fullmatch(username):
        text = (
            f"{username[:80]!r}: expected 1 to 64 letters, digits and _.@-, the first "
            "one a letter, digit or _"
        )
        raise ValidationErrors([ValidationError("data.username", text)])


def _find_privileges(ctx: Context, names: Sequence[str]) -> frozenset[int]:
    """Give the ids of privileges.

    Raises:
        ValidationErrors: names each one that does not exist.
    """
    found = [ctx.get(Privileges).find(name) for name in names]
    errors = [
        ValidationError(
            f"data.privileges.{place}", f"there is no privilege {names[place]!r}"
        )
        for place, privilege in enumerate(found)
        if privilege is None
    ]
    if errors:
        raise ValidationErrors(errors)
    return frozenset(privilege.id for privilege in found if privilege)


def _taken(username: str) -> ValidationErrors:
    text = f"there is an account {username!r} already"
    return ValidationErrors([ValidationError("data.username", text, errno.EEXIST)])


@plugin.method(
    namespace="user",
    examples=[
        Example(
            "somebody who runs jobs",
            [{"username": "ann", "password": "secret", "roles": ["JOB_USER"]}],
        )
    ],
)
async def create(ctx: Context, data: UserCreate) -> User:
    """Make an account and return it."""
    fields = _checked(ctx, msgspec.structs.asdict(data))
    del fields["password"]
    accounts = ctx.get(Accounts)
    if accounts.find(data.username) is not None:
        raise _taken(data.username)
    if data.password is not None:
        clear = check_password("data.password", data.password)
        fields["password_hash"] = await ctx.get(Hashing).hash_password(clear)
        fields["password_changed"] = ctx.clock.time_ms()
    try:
        account = await accounts.create(**fields)
    except NameTaken:
        raise _taken(data.username) from None
    return _describe(ctx, account)


def _checked(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    """Check what was given of an account; turn it into attributes of `Account`."""
    fields = {name: value for name, value in given.items() if value is not UNSET}
    if "username" in fields:
        _check_username(fields["username"])
    if "full_name" in fields:
        check_line("data.full_name", fields["full_name"])
    if "roles" in fields:
        fields["own_roles"] = check_roles(
            ctx.get(Registry), fields.pop("roles"), attribute="data.roles"
        )
    if "privileges" in fields:
        fields["privileges"] = _find_privileges(ctx, fields["privileges"])
    if "expires" in fields:
        fields["expires"] = milliseconds(fields["expires"])
    return fields


@plugin.method(
    namespace="user",
    read_only=True,
    examples=[Example("one by name", [[["username", "=", "ann"]], {"get": True}])],
)
def query(
    ctx: Context, filters: Sequence[Any] = (), options: dict[str, Any] | None = None
) -> Any:
    """List the accounts that match, by the filters and options of ``core.get_jobs``."""
    accounts = ctx.get(Accounts).list_all()
    items = [msgspec.to_builtins(_describe(ctx, account)) for account in accounts]
    return run_query(items, parse_filters(filters), parse_options(options or {}))


@plugin.method(
    namespace="user", examples=[Example("lock an account", [2, {"locked": True}])]
)
async def update(ctx: Context, id: int, data: UserUpdate) -> User:  # noqa: A002 - wire
    """Change an account and return it.

    Who gets locked, expires or loses a role is logged out everywhere. Setting
    ``locked`` to false also ends a lock-out. The last account that may do everything
    cannot be locked, expire or lose FULL_ADMIN.
    """
    changes = _checked(ctx, msgspec.structs.asdict(data))
    try:
        account = await ctx.get(Accounts).change(
            id, lambda account: replace(account, **changes)
        )
    except NameTaken:
        raise _taken(str(data.username)) from None
    if account is None:
        raise no_account(f"with id {id}")
    if data.locked is False:
        ctx.get(Lockouts).forgive(account.username)
    return _describe(ctx, account)


@plugin.method(namespace="user", examples=[Example("remove account 2", [2], True)])
async def delete(ctx: Context, id: int) -> bool:  # noqa: A002 - the wire's word
    """Remove an account with its keys, tokens and sessions; its jobs' history stays.

    The last account that may do everything cannot be removed.
    """
    if not await ctx.get(Accounts).remove(id):
        raise no_account(f"with id {id}")
    return True
