"""The methods of ``api_key``, for administrators."""

import datetime as dt
import errno
from collections.abc import Sequence
from typing import Any

import msgspec

from middlewared import (
    FULL_ADMIN,
    Context,
    Date,
    Secret,
    ValidationError,
    ValidationErrors,
)
from middlewared.clock import Clock
from middlewared.filters import parse_filters, parse_options, run_query
from middlewared.registry import Registry
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts
from middlewared_auth.declaration import plugin
from middlewared_auth.hashing import Hashing
from middlewared_auth.keys import ApiKey, ApiKeys, new_secret
from middlewared_auth.roles import check_roles
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


@plugin.method(namespace="api_key")
async def create(ctx: Context, data: KeyCreate) -> NewKey:
    """Make an API key and return it, once, as ``<id>-<64 letters and digits>``.

    A key never does more than its account: a role that the account loses, the key
    loses too.
    """
    check_line("data.name", data.name, least=1)
    account = ctx.get(Accounts).find(data.username)
    if account is None:
        raise no_account(repr(data.username))
    roles = None
    if data.roles is not None:
        roles = check_roles(ctx.get(Registry), data.roles, attribute="data.roles")
        _check_held(account, roles)
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


@plugin.method(namespace="api_key", read_only=True)
def query(
    ctx: Context, filters: Sequence[Any] = (), options: dict[str, Any] | None = None
) -> Any:
    """List the keys that match, by the filters and options of ``core.get_jobs``."""
    accounts, now = ctx.get(Accounts), ctx.get(Clock).time_ms()  # type: ignore[type-abstract]  # by protocol
    owned = ((key, accounts.get(key.account_id)) for key in ctx.get(ApiKeys).list_all())
    items = [
        msgspec.to_builtins(_describe(key, account, now))
        for key, account in owned
        if account is not None
    ]
    return run_query(items, parse_filters(filters), parse_options(options or {}))


@plugin.method(namespace="api_key")
async def delete(ctx: Context, id: int) -> bool:  # noqa: A002 - the wire's word
    """Revoke a key for good; the sessions that logged in with it end."""
    if not await ctx.get(ApiKeys).revoke(id):
        text = f"there is no API key with id {id}"
        raise ValidationErrors([ValidationError(None, text, errno.ENOENT)])
    return True
