"""The methods of ``user``: accounts, for administrators, and one's own password."""

import errno
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from middlewared import (
    CallError,
    Context,
    Credentials,
    Date,
    Secret,
    ValidationError,
    ValidationErrors,
)
from middlewared.access import not_authorized
from middlewared.filters import parse_filters, parse_options, run_query
from middlewared.registry import Registry
from middlewared_auth.accounts import Account, Accounts, UsernameTaken
from middlewared_auth.declaration import plugin
from middlewared_auth.hashing import Hashing
from middlewared_auth.limits import Attempt, LoginLimits
from middlewared_auth.live import LiveSessions
from middlewared_auth.login import failed
from middlewared_auth.roles import check_roles

__all__ = ["check_name", "no_account"]

MAX_PASSWORD = 1024
MAX_TEXT = 255
#: No colon or comma: SCRAM and HTTP write names in front of these.
_USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}", re.ASCII)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account as ``user.query`` shows it.

    Attributes:
        id: never passes to another account.
        uuid: names the account outside this server.
        username: to log in with.
        full_name: for people.
        roles: sorted; FULL_ADMIN includes all others.
        locked: cannot log in.
        has_password: whether a password is set.
        created: when it was made.
    """

    id: int
    uuid: str
    username: str
    full_name: str
    roles: list[str]
    locked: bool
    has_password: bool
    created: Date


class UserCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new account. Without a password it logs in with API keys and links only."""

    username: str
    password: Secret[str] | None = None
    roles: list[str] = []
    full_name: str = ""
    locked: bool = False


class UserUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an account; what is not given stays."""

    username: str | UnsetType = UNSET
    roles: list[str] | UnsetType = UNSET
    full_name: str | UnsetType = UNSET
    locked: bool | UnsetType = UNSET


class PasswordChange(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A new password; ``old_password`` is needed for one's own."""

    username: str
    new_password: Secret[str]
    old_password: Secret[str] | None = None


def _describe(account: Account) -> User:
    return User(
        id=account.id,
        uuid=account.uuid,
        username=account.username,
        full_name=account.full_name,
        roles=sorted(account.roles),
        locked=account.locked,
        has_password=account.password_hash is not None,
        created=Date(account.created),
    )


def no_account(what: str) -> ValidationErrors:
    """Build the error for an account that does not exist."""
    return ValidationErrors(
        [ValidationError(None, f"there is no account {what}", errno.ENOENT)]
    )


def check_name(attribute: str, name: str, *, least: int = 0) -> None:
    """Check a text for people: its length, and that it stays on its line.

    Raises:
        ValidationErrors: names the attribute and the text.
    """
    if not least <= len(name) <= MAX_TEXT or not (name.isprintable()):
        text = f"{name[:80]!r}: expected {least} to {MAX_TEXT} printable characters"
        raise ValidationErrors([ValidationError(attribute, text)])


def _check_username(username: str | UnsetType) -> None:
    if username is not UNSET and not _USERNAME.fullmatch(username):
        text = (
            f"{username[:80]!r}: expected 1 to 64 letters, digits and _.@-, the first "
            "one a letter, digit or _"
        )
        raise ValidationErrors([ValidationError("data.username", text)])


def _check_password(attribute: str, password: Secret[str]) -> str:
    clear = password.get()
    if not 0 < len(clear) <= MAX_PASSWORD:
        text = f"has {len(clear)} characters, expected 1 to {MAX_PASSWORD}"
        raise ValidationErrors([ValidationError(attribute, text)])
    return clear


def _taken(username: str) -> ValidationErrors:
    text = f"there is an account {username!r} already"
    return ValidationErrors([ValidationError("data.username", text, errno.EEXIST)])


@plugin.method(namespace="user")
async def create(ctx: Context, data: UserCreate) -> User:
    """Make an account and return it."""
    _check_username(data.username)
    check_name("data.full_name", data.full_name)
    roles = check_roles(ctx.get(Registry), data.roles, attribute="data.roles")
    accounts = ctx.get(Accounts)
    if accounts.find(data.username) is not None:
        raise _taken(data.username)
    hashed = None
    if data.password is not None:
        clear = _check_password("data.password", data.password)
        hashed = await ctx.get(Hashing).hash_password(clear)
    try:
        account = await accounts.create(
            data.username,
            full_name=data.full_name,
            password_hash=hashed,
            roles=roles,
            locked=data.locked,
        )
    except UsernameTaken:
        raise _taken(data.username) from None
    return _describe(account)


@plugin.method(namespace="user", read_only=True)
def query(
    ctx: Context, filters: Sequence[Any] = (), options: dict[str, Any] | None = None
) -> Any:
    """List the accounts that match, by the filters and options of ``core.get_jobs``."""
    items = [msgspec.to_builtins(_describe(a)) for a in ctx.get(Accounts).list_all()]
    return run_query(items, parse_filters(filters), parse_options(options or {}))


@plugin.method(namespace="user")
async def update(ctx: Context, id: int, data: UserUpdate) -> User:  # noqa: A002 - wire
    """Change an account and return it.

    Who gets locked or loses a role is logged out everywhere. The last account that may
    do everything cannot be locked or lose FULL_ADMIN.
    """
    _check_username(data.username)
    if data.full_name is not UNSET:
        check_name("data.full_name", data.full_name)
    changes = {
        name: value
        for name, value in msgspec.structs.asdict(data).items()
        if value is not UNSET
    }
    if data.roles is not UNSET:
        changes["roles"] = check_roles(
            ctx.get(Registry), data.roles, attribute="data.roles"
        )
    try:
        account = await ctx.get(Accounts).change(
            id, lambda account: replace(account, **changes)
        )
    except UsernameTaken:
        raise _taken(str(data.username)) from None
    if account is None:
        raise no_account(f"with id {id}")
    return _describe(account)


@plugin.method(namespace="user")
async def delete(ctx: Context, id: int) -> bool:  # noqa: A002 - the wire's word
    """Remove an account with its keys, tokens and sessions; its jobs' history stays.

    The last account that may do everything cannot be removed.
    """
    if not await ctx.get(Accounts).remove(id):
        raise no_account(f"with id {id}")
    return True


@plugin.method(namespace="user", authenticated=True)
async def set_password(ctx: Context, data: PasswordChange) -> None:
    """Set a password: one's own with the old one, anybody's as a full admin.

    It ends all tokens of the account, and its sessions besides the calling one and
    those of API keys.
    """
    credentials = ctx.credentials
    accounts = ctx.get(Accounts)
    account = accounts.find(data.username)
    own = (
        account is not None
        and credentials is not None
        and credentials.account_id == account.id
    )
    if credentials is None or not (own or credentials.full_admin):
        raise not_authorized()  # before it is said whether the account exists
    if account is None:
        raise no_account(repr(data.username))
    clear = _check_password("data.new_password", data.new_password)
    if own:
        await _check_old(ctx, credentials, account, data.old_password)
    hashed = await ctx.get(Hashing).hash_password(clear)
    changed = await accounts.change(
        account.id, partial(_with_password, before=account, hashed=hashed)
    )
    if changed is None:
        raise no_account(repr(data.username))
    ctx.get(LiveSessions).end_logins(account.id, keep=ctx.session)


def _with_password(now: Account, *, before: Account, hashed: str) -> Account:
    if now.password_hash != before.password_hash:
        raise CallError("The password was changed meanwhile", errno.EBUSY)
    return replace(now, password_hash=hashed, generation=now.generation + 1)


async def _check_old(
    ctx: Context, credentials: Credentials, account: Account, old: Secret[str] | None
) -> None:
    """Check the old password; guessing it is limited like a login.

    Raises:
        CallError: EACCES, an API key may not give its account a first password; EBUSY,
            too many wrong ones.
        ValidationErrors: it is wrong or missing.
    """
    if account.password_hash is None:
        if credentials.api_key is not None:
            raise not_authorized()
        return
    origin = ctx.session.origin if ctx.session is not None else None
    attempt = Attempt() if origin is None else ctx.get(LoginLimits).begin(origin)
    claimed = "" if old is None else old.get()
    if await ctx.get(Hashing).check_password(account.password_hash, claimed):
        attempt.refund()
        return
    await failed(ctx)
    text = "is not the password of this account"
    raise ValidationErrors([ValidationError("data.old_password", text)])
