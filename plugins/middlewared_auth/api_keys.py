"""The methods of ``api_key``: for administrators, and for one's own keys."""

import datetime as dt
import errno
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from middlewared import (
    FULL_ADMIN,
    Context,
    Date,
    Example,
    Secret,
    ValidationError,
    ValidationErrors,
)
from middlewared.access import not_authorized
from middlewared.clock import Clock
from middlewared.filters import parse_filters, parse_options, run_query
from middlewared.registry import Registry
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts
from middlewared_auth.declaration import plugin
from middlewared_auth.hashing import Hashing
from middlewared_auth.keys import ApiKey, ApiKeys, new_secret
from middlewared_auth.roles import API_KEY_READ, API_KEY_WRITE, check_roles
from middlewared_auth.texts import as_date, check_line, milliseconds
from middlewared_auth.users import no_account

__all__: list[str] = []


class KeyCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new API key.

    Attributes:
        username: whose key it is.
        name: what it is for.
        roles: what it may at most; null for all that the account may.
        expires: when it ends; null for never.
    """

    username: str
    name: str
    roles: list[str] | None = None
    expires: dt.datetime | None = None


class KeyUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an API key; what is not given stays."""

    name: str | UnsetType = UNSET
    roles: list[str] | UnsetType | None = UNSET
    expires: dt.datetime | UnsetType | None = UNSET


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``api_key.create``: the only time that the key is shown."""

    id: int
    name: str
    key: Secret[str]


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as ``api_key.query`` shows it."""

    id: int
    name: str
    username: str
    roles: list[str] | None
    created: Date
    expires: Date | None
    expired: bool


def _describe(key: ApiKey, account: Account, now: int) -> KeyInfo:
    return KeyInfo(
        id=key.id,
        name=key.name,
        username=account.username,
        roles=None if key.roles is None else sorted(key.roles),
        created=Date(key.created),
        expires=as_date(key.expires),
        expired=key.expires is not None and key.expires <= now,
    )


def _check_held(account: Account, roles: frozenset[str]) -> None:
    if FULL_ADMIN in account.roles or roles <= account.roles:
        return
    missing = ", ".join(sorted(roles - account.roles))
    text = f"account {account.username!r} does not have {missing}"
    raise ValidationErrors([ValidationError("data.roles", text)])


def _may_manage(ctx: Context, account: Account | None) -> bool:
    """Tell whether the caller may make, change and revoke an account's keys.

    A key manages no keys: it would outlive its own narrowness, or its revocation.
    """
    who = ctx.credentials
    if who is None or who.full_admin:
        return who is not None
    own = account is not None and account.id == who.account_id
    return own and who.api_key is None


def _find_key(ctx: Context, number: int) -> tuple[ApiKey, Account]:
    """Give a key that the caller may change, and whose it is.

    Raises:
        ValidationErrors: ENOENT; keys of others are as if they were not there.
    """
    key = ctx.get(ApiKeys).get(number)
    account = None if key is None else ctx.get(Accounts).get(key.account_id)
    if key is None or account is None or not _may_manage(ctx, account):
        raise _no_key(number)
    return key, account


def _no_key(number: int) -> ValidationErrors:
    text = f"there is no API key with id {number}"
    return ValidationErrors([ValidationError(None, text, errno.ENOENT)])


def _check_key_roles(
    ctx: Context, account: Account, wanted: list[str] | None
) -> frozenset[str] | None:
    if wanted is None:
        return None
    roles = check_roles(ctx.get(Registry), wanted, attribute="data.roles")
    _check_held(account, roles)
    return roles


@plugin.method(
    namespace="api_key",
    roles=[API_KEY_WRITE],
    examples=[
        Example(
            "a key for the nightly backup",
            [{"username": "ann", "name": "backup", "roles": ["JOB_USER"]}],
        )
    ],
)
async def create(ctx: Context, data: KeyCreate) -> NewKey:
    """Make an API key and return it, once, as ``<id>-<64 letters and digits>``.

    A key never does more than its account: a role that the account loses, the key
    loses too. Who is no full admin makes keys for itself only, and not with a key.
    """
    check_line("data.name", data.name, least=1)
    account = ctx.get(Accounts).find(data.username)
    if not _may_manage(ctx, account):
        raise not_authorized()
    if account is None:
        raise no_account(repr(data.username))
    roles = _check_key_roles(ctx, account, data.roles)
    expires = milliseconds(data.expires)
    secret = new_secret()
    verifier = await ctx.get(Hashing).make_verifier(secret)
    if ctx.get(Accounts).get(account.id) is None:
        raise no_account(repr(data.username))  # removed meanwhile
    key = await ctx.get(ApiKeys).create(
        account.id,
        data.name,
        roles=roles,
        expires=expires,
        verifier=verifier,
    )
    return NewKey(id=key.id, name=key.name, key=Secret(f"{key.id}-{secret}"))


@plugin.method(
    namespace="api_key",
    roles=[API_KEY_READ, API_KEY_WRITE],
    read_only=True,
    examples=[Example("the keys of ann", [[["username", "=", "ann"]]])],
)
def query(
    ctx: Context, filters: Sequence[Any] = (), options: dict[str, Any] | None = None
) -> Any:
    """List the keys that match, by the filters and options of ``core.get_jobs``.

    Who is no admin sees the keys of the own account.
    """
    who = ctx.credentials
    accounts, now = ctx.get(Accounts), ctx.get(Clock).time_ms()  # type: ignore[type-abstract]  # by protocol
    owned = ((key, accounts.get(key.account_id)) for key in ctx.get(ApiKeys).list_all())
    items = [
        msgspec.to_builtins(_describe(key, account, now))
        for key, account in owned
        if account is not None
        and who is not None
        and (who.reads_all or account.id == who.account_id)
    ]
    return run_query(items, parse_filters(filters), parse_options(options or {}))


@plugin.method(
    namespace="api_key",
    roles=[API_KEY_WRITE],
    examples=[Example("another name", [1, {"name": "nightly"}])],
)
async def update(
    ctx: Context,
    id: int,  # noqa: A002 - the wire's word
    data: KeyUpdate,
) -> KeyInfo:
    """Change a key and return it; the key itself stays as it is.

    Sessions that logged in with it end when it loses a role, and when it expires.
    """
    key, account = _find_key(ctx, id)
    changes: dict[str, Any] = {}
    if data.name is not UNSET:
        check_line("data.name", data.name, least=1)
        changes["name"] = data.name
    if data.roles is not UNSET:
        changes["roles"] = _check_key_roles(ctx, account, data.roles)
    if data.expires is not UNSET:
        changes["expires"] = milliseconds(data.expires)
    changed = await ctx.get(ApiKeys).change(key.id, lambda now: replace(now, **changes))
    if changed is None:
        raise _no_key(id)  # revoked meanwhile
    return _describe(changed, account, ctx.clock.time_ms())


@plugin.method(
    namespace="api_key",
    roles=[API_KEY_WRITE],
    examples=[Example("revoke key 1", [1], True)],
)
async def delete(ctx: Context, id: int) -> bool:  # noqa: A002 - the wire's word
    """Revoke a key for good; the sessions that logged in with it end."""
    key, _ = _find_key(ctx, id)
    if not await ctx.get(ApiKeys).revoke(key.id):
        raise _no_key(id)
    return True
