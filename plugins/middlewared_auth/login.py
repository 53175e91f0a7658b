"""Logging in: the mechanisms, and the methods that take them."""

import errno
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import anyio
import msgspec

from middlewared import CallError, Context, Credentials, Secret
from middlewared.context import Session
from middlewared_auth.accounts import Account, Accounts
from middlewared_auth.declaration import AuthSettings, plugin
from middlewared_auth.hashing import Hashing
from middlewared_auth.identity import Identities
from middlewared_auth.keys import ApiKeys, split_key
from middlewared_auth.limits import LoginLimits
from middlewared_auth.live import LiveSessions
from middlewared_auth.profile import UserInfo, describe_user
from middlewared_auth.signing import origin_name
from middlewared_auth.tokens import Tokens

__all__ = ["MECHANISMS", "failed"]

logger = logging.getLogger(__name__)

MECHANISMS = ("API_KEY_PLAIN", "TOKEN_PLAIN", "PASSWORD_PLAIN")
Refusal = Literal["AUTH_ERR", "EXPIRED", "DENIED"]


class LoginOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the answer of a login shall hold.

    Attributes:
        user_info: what ``auth.me`` says.
        reconnect_token: a token that continues this login.
    """

    user_info: bool = True
    reconnect_token: bool = False


class PasswordPlain(
    msgspec.Struct,
    frozen=True,
    tag_field="mechanism",
    tag="PASSWORD_PLAIN",
    forbid_unknown_fields=True,
):
    """A login with a name and a password."""

    username: str
    password: Secret[str]
    login_options: LoginOptions = LoginOptions()


class ApiKeyPlain(
    msgspec.Struct,
    frozen=True,
    tag_field="mechanism",
    tag="API_KEY_PLAIN",
    forbid_unknown_fields=True,
):
    """A login with an API key, ``<id>-<64 letters and digits>``."""

    username: str
    api_key: Secret[str]
    login_options: LoginOptions = LoginOptions()


class TokenPlain(
    msgspec.Struct,
    frozen=True,
    tag_field="mechanism",
    tag="TOKEN_PLAIN",
    forbid_unknown_fields=True,
):
    """A login with a token that ``auth.generate_token`` or a login gave out."""

    token: Secret[str]
    login_options: LoginOptions = LoginOptions()


class LoginAnswer(msgspec.Struct, frozen=True):
    """What became of a login.

    Attributes:
        response_type: SUCCESS; AUTH_ERR, wrong; EXPIRED, the key's time is over;
            DENIED, right but the account is locked.
        user_info: what ``auth.me`` says; of a success, if asked for, else null.
        authenticator: LEVEL_1: one factor; of a success.
        reconnect_token: of a success, if asked for, else null.
    """

    # What has no value is left out: a refusal has its type alone.
    response_type: Literal["SUCCESS", "AUTH_ERR", "EXPIRED", "DENIED"]
    user_info: UserInfo | msgspec.UnsetType | None = msgspec.UNSET
    authenticator: Literal["LEVEL_1"] | msgspec.UnsetType = msgspec.UNSET
    reconnect_token: Secret[str] | msgspec.UnsetType | None = msgspec.UNSET


async def failed(ctx: Context) -> None:
    """Wait as long as a failed login takes to answer."""
    await anyio.sleep(ctx.get(AuthSettings).failure_delay)


def _session(ctx: Context) -> Session:
    if ctx.session is None:
        raise CallError("Only a connection can log in", errno.EINVAL)
    return ctx.session


async def _log_in(
    ctx: Context, prove: Callable[[], Awaitable[Credentials | Refusal]]
) -> Credentials | Refusal:
    """Try one login that takes guessing: it is limited, and a failure is delayed."""
    session = _session(ctx)
    attempt = ctx.get(LoginLimits).begin(session.origin)
    proof = await prove()
    # Nothing may be awaited between the last look at the account and the login:
    # a change in between would miss this session.
    if isinstance(proof, Credentials):
        attempt.refund()
        ctx.get(LiveSessions).login(session, proof)
        where = origin_name(session.origin)
        logger.info("%s logged in by %s from %s", proof.username, proof.type, where)
        return proof
    await failed(ctx)
    return proof


async def _prove_password(
    ctx: Context, username: str, password: str
) -> Credentials | Refusal:
    accounts = ctx.get(Accounts)
    account = accounts.find(username)
    hashed = None if account is None else account.password_hash
    right = await ctx.get(Hashing).check_password(hashed, password)
    current = None if account is None else accounts.get(account.id)
    if not right or current is None or current.password_hash != hashed:
        _log_failure(ctx, "a password", account)
        return "AUTH_ERR"
    return _admit(ctx, "LOGIN_PASSWORD", current, None)


async def _prove_key(
    ctx: Context, username: str | None, clear: str
) -> Credentials | Refusal:
    """Check a key; without a username the key says whose it is."""
    keys, accounts = ctx.get(ApiKeys), ctx.get(Accounts)
    key_id, secret = split_key(clear) or (None, clear)
    key = keys.get(key_id)
    verifier = None if key is None else key.verifier
    right = await ctx.get(Hashing).check_secret(verifier, secret)
    account = None if key is None else accounts.get(key.account_id)
    if (
        not right
        or key is None
        or keys.get(key_id) is not key
        or account is None
        or username not in (None, account.username)
    ):
        _log_failure(ctx, "an API key", account)
        return "AUTH_ERR"
    if ctx.get(Identities).has_expired(key):
        _log_failure(ctx, "an expired API key", account)
        return "EXPIRED"
    return _admit(ctx, "API_KEY", account, key.id)


def _admit(
    ctx: Context, kind: str, account: Account, key_id: int | None
) -> Credentials | Refusal:
    credentials = ctx.get(Identities).credentials(kind, account, key_id=key_id)
    if credentials is None:
        _log_failure(ctx, "a locked account", account)
        return "DENIED"
    return credentials


def _log_failure(ctx: Context, how: str, account: Account | None) -> None:
    # Only names of accounts: people type passwords into the field for the name.
    name = "nobody known" if account is None else repr(account.username)
    where = origin_name(_session(ctx).origin)
    logger.warning("a login with %s as %s from %s failed", how, name, where)


async def _log_in_with_token(ctx: Context, token: str) -> Credentials | Refusal:
    """Log in with a token; only bad ones count against the limit."""
    session = _session(ctx)
    credentials = ctx.get(Tokens).take(token, session.origin, attrs={})
    if credentials is not None:
        ctx.get(LiveSessions).login(session, credentials)
        return credentials
    ctx.get(LoginLimits).begin(session.origin)
    _log_failure(ctx, "a token", None)
    await failed(ctx)
    return "AUTH_ERR"


def _answer(
    ctx: Context, proof: Credentials | Refusal, options: LoginOptions
) -> LoginAnswer:
    if not isinstance(proof, Credentials):
        return LoginAnswer(proof)
    session = _session(ctx)
    token = None
    if options.reconnect_token:
        ttl = ctx.get(AuthSettings).reconnect_ttl
        token = ctx.get(Tokens).generate_reconnect(
            proof, ttl=ttl, origin=session.origin
        )
    return LoginAnswer(
        response_type="SUCCESS",
        user_info=describe_user(ctx, proof, session) if options.user_info else None,
        authenticator="LEVEL_1",
        reconnect_token=None if token is None else Secret(token),
    )


@plugin.method(public=True, read_only=True, immediate=True)
async def mechanism_choices(ctx: Context) -> list[str]:
    """List the mechanisms that ``auth.login_ex`` takes."""
    return list(MECHANISMS)


@plugin.method(public=True, read_only=True)
async def login_ex(
    ctx: Context, login_data: PasswordPlain | ApiKeyPlain | TokenPlain
) -> LoginAnswer:
    """Log this connection in; it replaces an earlier login.

    Wrong credentials are an answer, not an error. Past the limit on failures the error
    is EBUSY.
    """
    if isinstance(login_data, PasswordPlain):
        secret = login_data.password.get()
        prove = partial(_prove_password, ctx, login_data.username, secret)
        proof = await _log_in(ctx, prove)
    elif isinstance(login_data, ApiKeyPlain):
        secret = login_data.api_key.get()
        prove = partial(_prove_key, ctx, login_data.username, secret)
        proof = await _log_in(ctx, prove)
    else:
        proof = await _log_in_with_token(ctx, login_data.token.get())
    return _answer(ctx, proof, login_data.login_options)


@plugin.method(public=True, read_only=True)
async def login(
    ctx: Context,
    username: str,
    password: Secret[str],
    otp_token: Secret[str] | None = None,
) -> bool:
    """Log this connection in with a password and tell whether it worked.

    ``otp_token`` is there for clients that always send it: this server has no second
    factors, so anything but null is refused with EOPNOTSUPP.
    """
    if otp_token is not None:
        raise CallError("Second factors are not supported", errno.EOPNOTSUPP)
    prove = partial(_prove_password, ctx, username, password.get())
    return isinstance(await _log_in(ctx, prove), Credentials)


@plugin.method(public=True, read_only=True)
async def login_with_api_key(ctx: Context, api_key: Secret[str]) -> bool:
    """Log this connection in with an API key and tell whether it worked."""
    prove = partial(_prove_key, ctx, None, api_key.get())
    return isinstance(await _log_in(ctx, prove), Credentials)


@plugin.method(public=True, read_only=True)
async def login_with_token(ctx: Context, token: Secret[str]) -> bool:
    """Log this connection in with a token and tell whether it worked."""
    return isinstance(await _log_in_with_token(ctx, token.get()), Credentials)
