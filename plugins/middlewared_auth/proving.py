"""What proves who somebody is: a password, an API key, a token."""

import logging
from typing import Literal, TypeAlias

import anyio

from middlewared import CallError, Context, Credentials, Origin
from middlewared.audit import Trail
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts
from middlewared_auth.declaration import AuthSettings
from middlewared_auth.hashing import Hashing
from middlewared_auth.identity import Identities
from middlewared_auth.keys import ApiKey, ApiKeys, split_key
from middlewared_auth.limits import Attempt, LoginLimits
from middlewared_auth.live import LiveSessions
from middlewared_auth.lockouts import Lockouts
from middlewared_auth.signing import origin_name
from middlewared_auth.tokens import Tokens

__all__ = [
    "Proof",
    "Proofs",
    "Refusal",
    "admit_key",
    "begin_attempt",
    "delay",
    "prove_key",
    "prove_password",
    "prove_token",
    "refuse",
    "right_password",
]

logger = logging.getLogger(__name__)

#: How a login proved itself that a proxy vouches for.
REMOTE_USER = "REMOTE_USER"

#: AUTH_ERR: wrong. EXPIRED: right, but its time is over. DENIED: right, but locked.
Refusal: TypeAlias = Literal["AUTH_ERR", "EXPIRED", "DENIED"]
#: The rights that were proved. Nothing may be awaited before they are used: a change of
#: the account in between would be missed.
Proof: TypeAlias = Credentials | Refusal


async def prove_password(
    ctx: Context, origin: Origin, username: str, password: str
) -> Proof:
    """Check a password; a failure is counted, logged and answered late.

    Raises:
        CallError: EBUSY, too many failed from this address or with this name.
    """
    attempt = begin_attempt(ctx, origin, username)
    account = await right_password(ctx, username, password)
    if account is None:
        known = ctx.get(Accounts).find(username)
        return await refuse(ctx, origin, "AUTH_ERR", "a password", known)
    ctx.get(Lockouts).forgive(username)
    if ctx.get(Identities).password_expired(account):
        return await refuse(ctx, origin, "EXPIRED", "an expired password", account)
    return await _admit(ctx, origin, attempt, account, None)


def begin_attempt(ctx: Context, origin: Origin, username: str | None = None) -> Attempt:
    """Count a login as failed until it succeeds; one with a password by its name too.

    Raises:
        CallError: EBUSY, too many failed from this address or with this name.
    """
    try:
        attempt = ctx.get(LoginLimits).begin(origin)
        if username is not None:
            ctx.get(Lockouts).begin(username)
    except CallError:
        account = None if username is None else ctx.get(Accounts).find(username)
        name = None if account is None else account.username
        trail = ctx.get(Trail)
        trail.note("LOGIN", "EBUSY", username=name, origin=origin, detail="too many")
        raise
    return attempt


async def right_password(ctx: Context, username: str, password: str) -> Account | None:
    """Give the account whose password this is, by the hash that it has afterwards.

    It takes as long for names that nobody has. The caller counts failures.
    """
    accounts = ctx.get(Accounts)
    account = accounts.find(username)
    hashed = None if account is None else account.password_hash
    right = await ctx.get(Hashing).check_password(hashed, password)
    current = None if account is None else accounts.get(account.id)
    if not right or current is None or current.password_hash != hashed:
        return None
    return current


async def prove_key(
    ctx: Context, origin: Origin, username: str | None, clear: str
) -> Proof:
    """Check an API key; without *username* the key says whose it is.

    Raises:
        CallError: EBUSY, too many logins failed from this address.
    """
    attempt = begin_attempt(ctx, origin)
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
        return await refuse(ctx, origin, "AUTH_ERR", "an API key", account)
    return await admit_key(ctx, origin, attempt, account, key)


async def admit_key(
    ctx: Context, origin: Origin, attempt: Attempt, account: Account, key: ApiKey
) -> Proof:
    """Let somebody in who has proved to know a key, unless its time is over."""
    if ctx.get(Identities).key_expired(key):
        return await refuse(ctx, origin, "EXPIRED", "an expired API key", account)
    return await _admit(ctx, origin, attempt, account, key.id)


async def prove_token(ctx: Context, origin: Origin, token: str) -> Proof:
    """Use a token for logging in; only bad ones count against the limit.

    Raises:
        CallError: EBUSY, it is bad, and too many logins failed from this address.
    """
    credentials = ctx.get(Tokens).take(token, origin, attrs={})
    if credentials is not None:
        return credentials
    begin_attempt(ctx, origin)
    return await refuse(ctx, origin, "AUTH_ERR", "a token", None)


async def _admit(
    ctx: Context,
    origin: Origin,
    attempt: Attempt,
    account: Account,
    key_id: int | None,
) -> Proof:
    identities = ctx.get(Identities)
    kind = "LOGIN_PASSWORD" if key_id is None else "API_KEY"
    credentials = identities.credentials(kind, account, key_id=key_id)
    if credentials is not None:
        attempt.refund()
        return credentials
    if identities.account_expired(account):
        return await refuse(ctx, origin, "EXPIRED", "an expired account", account)
    return await refuse(ctx, origin, "DENIED", "a locked account", account)


async def refuse(
    ctx: Context, origin: Origin, refusal: Refusal, how: str, account: Account | None
) -> Refusal:
    """Log a login that failed, and let it take its time."""
    # Only names of accounts: people type passwords into the field for the name.
    name = "nobody known" if account is None else repr(account.username)
    where = origin_name(origin)
    logger.warning("a login with %s as %s from %s failed", how, name, where)
    ctx.get(Trail).note(
        "LOGIN",
        refusal,
        username=None if account is None else account.username,
        origin=origin,
        detail=how,
    )
    await delay(ctx)
    return refusal


async def delay(ctx: Context) -> None:
    """Wait as long as a failed login takes to answer."""
    await anyio.sleep(ctx.get(AuthSettings).failure_delay)


class Proofs:
    """Checks what requests prove themselves with (`middlewared.access`)."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def by_password(
        self, username: str, password: str, origin: Origin
    ) -> Credentials | None:
        """Check a name and a password."""
        return _rights(await prove_password(self._context, origin, username, password))

    async def by_bearer(self, value: str, origin: Origin) -> Credentials | None:
        """Check an API key, or use a token that may log in."""
        if split_key(value) is None:
            return await self.by_token(value, origin)
        return _rights(await prove_key(self._context, origin, None, value))

    def by_proxy(self, origin: Origin) -> Credentials | None:
        """Give the rights of the account that a trusted proxy vouches for."""
        account = self._context.get(Accounts).find(origin.remote_user or "")
        if account is None:
            # The name may be anything; it is no secret, unlike what people type here.
            name = origin.remote_user
            logger.warning("a proxy vouches for %r, who has no account", name)
            return None
        found = self._context.get(Identities).credentials(REMOTE_USER, account)
        if found is not None:
            self._context.get(LiveSessions).watch_end(found)
        return found

    async def by_token(self, token: str, origin: Origin) -> Credentials | None:
        """Use a token that may log in."""
        return _rights(await prove_token(self._context, origin, token))


def _rights(proof: Proof) -> Credentials | None:
    return proof if isinstance(proof, Credentials) else None
