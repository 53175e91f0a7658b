"""Tokens: what stands in for a password for a while."""

import hashlib
import secrets
from collections.abc import Collection
from typing import Any

import msgspec
from msgspec.structs import replace

from middlewared import Credentials, Origin
from middlewared.access import not_authorized
from middlewared.clock import Clock
from middlewared.database import Database
from middlewared_auth.accounts import Accounts
from middlewared_auth.identity import LOGIN_ID_BYTES, Identities
from middlewared_auth.signing import Claim, Signer, origin_name

__all__ = ["MAX_TTL", "TOKEN", "Tokens"]

#: How a login with a token proved itself, as clients know it.
TOKEN = "TOKEN"  # noqa: S105 - a word of the protocol
#: Seconds that a token may be good for: 30 days.
MAX_TTL = 2_592_000
#: 48 random bytes are 64 URL-safe characters.
RANDOM_BYTES = 48
NONCE_BYTES = 3

_END = "INSERT OR REPLACE INTO ended_logins VALUES (?, ?)"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A token in memory; only its hash is kept."""

    credentials: Credentials
    generation: int
    ttl: int
    expires: float
    attrs: dict[str, Any]
    origin: str | None
    single_use: bool


class Tokens:
    """Makes tokens and takes them back.

    A token for logging in again and again is *signed*: the server keeps nothing of it,
    it survives a restart, and it ends with its time, its account, its API key or the
    account's password. All others are *kept* in memory by their hash and end with the
    server: those that work once, those with attrs, and those of connections without an
    account. A token is never worth more than its account is when it is used, and it
    ends with the login that made it: when that logs out or is terminated, not when its
    connection is gone.

    The time of a kept token begins anew whenever it is used. So does that of a signed
    one, as long as this server runs; a restart falls back to the time it was made for.
    """

    def __init__(
        self,
        *,
        accounts: Accounts,
        identities: Identities,
        signer: Signer,
        database: Database,
        clock: Clock,
        limit: int,
    ) -> None:
        self._accounts = accounts
        self._identities = identities
        self._signer = signer
        self._database = database
        self._clock = clock
        self._limit = limit
        self._kept: dict[bytes, _Kept] = {}
        self._slid: dict[bytes, float] = {}
        self._ended: dict[str, int] = {}  # until when, soonest first

    async def load(self) -> None:
        """Read which logins have ended; once, before anything else."""
        rows = await self._database.read(
            "SELECT login_id, until FROM ended_logins WHERE until > ? ORDER BY until",
            (self._clock.time_ms(),),
        )
        self._ended = dict(rows)

    def generate(
        self,
        credentials: Credentials,
        *,
        ttl: int,
        attrs: dict[str, Any],
        match_origin: bool,
        single_use: bool,
        origin: Origin,
    ) -> str:
        """Make a token that stands for *credentials*; does not wait.

        Args:
            credentials: whose rights it gives, as they are when it is used.
            ttl: seconds from its last use, at most `MAX_TTL`.
            attrs: what it is for; empty for logging in.
            match_origin: only good where *origin* is.
            single_use: good once.
            origin: where it is asked from.

        Returns:
            64 URL-safe characters.

        Raises:
            CallError: EACCES, the account is gone.
        """
        if credentials.account_id is None or attrs or single_use:
            return self._keep(credentials, ttl, attrs, match_origin, single_use, origin)
        return self._sign(credentials, ttl, origin, match_origin=match_origin)

    def generate_reconnect(
        self, credentials: Credentials, *, ttl: int, origin: Origin
    ) -> str | None:
        """Make a token that continues a login, after a restart too.

        It is bound to the origin, ends when the login logs out, and its time is fixed:
        whoever comes back with it asks for the next one.

        Returns:
            None for a login without an account.
        """
        if credentials.account_id is None:
            return None
        return self._sign(credentials, ttl, origin, reconnect=True)

    def take(
        self, token: str, origin: Origin, *, attrs: dict[str, Any]
    ) -> Credentials | None:
        """Use a token; does not wait.

        Args:
            token: what somebody sent.
            origin: from where.
            attrs: what it must have been made for, exactly; empty for logging in.

        Returns:
            The rights it gives now, as type TOKEN; None when it is not good: unknown,
            over, used, for something else or from elsewhere, or its account is gone.
        """
        kept = self._kept.get(_digest(token))
        if kept is not None:
            return self._take_kept(token, kept, origin, attrs)
        claim = None if attrs else self._signer.read(token, origin)
        return None if claim is None else self._take_signed(token, claim)

    def drop(self, token: str) -> None:
        """End a token that is kept in memory; any other is left alone."""
        self._kept.pop(_digest(token), None)

    def continues(self, token: str, origin: Origin) -> bool:
        """Tell whether a token goes on with a login, which may have made others."""
        claim = self._signer.read(token, origin)
        return claim is not None and claim.reconnect

    def end_kept(self, login_ids: Collection[str]) -> None:
        """End the tokens of some logins that are kept in memory."""
        self._kept = {
            digest: kept
            for digest, kept in self._kept.items()
            if kept.credentials.login_id not in login_ids
        }

    async def end_logins(self, login_ids: Collection[str]) -> None:
        """End the signed tokens of some logins: at once, for good when it returns.

        Raises:
            StoreError: a restart would not know; until then they have ended.
        """
        now = self._clock.time_ms()
        while self._ended and next(iter(self._ended.values())) <= now:
            del self._ended[next(iter(self._ended))]
        until = now + MAX_TTL * 1000
        for login_id in login_ids:
            self._ended.pop(login_id, None)  # to the end: it is the last to be over
            self._ended[login_id] = until
        await self._database.execute(
            ("DELETE FROM ended_logins WHERE until <= ?", (now,)),
            *((_END, (login_id, until)) for login_id in login_ids),
        )

    def _generation(self, account_id: int | None) -> int:
        """Give the account's generation; connections without an account have none.

        Raises:
            CallError: EACCES, the account is gone.
        """
        if account_id is None:
            return 0
        account = self._accounts.get(account_id)
        if account is None:
            raise not_authorized()
        return account.generation

    def _sign(
        self,
        credentials: Credentials,
        ttl: int,
        origin: Origin,
        *,
        match_origin: bool = True,
        reconnect: bool = False,
    ) -> str:
        assert credentials.account_id is not None  # noqa: S101 - the callers' rule
        claim = Claim(
            account_id=credentials.account_id,
            generation=self._generation(credentials.account_id),
            key_id=credentials.api_key,
            issued=self._clock.time_ms() // 1000,
            ttl=ttl,
            match_origin=match_origin,
            reconnect=reconnect,
            login=bytes.fromhex(credentials.login_id),
            nonce=secrets.token_bytes(NONCE_BYTES),
        )
        return self._signer.sign(claim, origin)

    def _take_signed(self, token: str, claim: Claim) -> Credentials | None:
        login_id = claim.login.hex()
        now = self._clock.time_ms() / 1000
        digest = _digest(token)
        expires = max(claim.issued + claim.ttl, self._slid.get(digest, 0))
        account = self._accounts.get(claim.account_id)
        if (
            now >= expires
            or account is None
            or account.generation != claim.generation
            or login_id in self._ended
        ):
            return None
        if not claim.reconnect:
            self._slide(digest, now + claim.ttl)
        return self._identities.credentials(
            TOKEN,
            account,
            key_id=claim.key_id,
            login_id=login_id if claim.reconnect else None,
        )

    def _slide(self, digest: bytes, expires: float) -> None:
        self._slid.pop(digest, None)
        self._slid[digest] = expires
        if len(self._slid) > self._limit:
            del self._slid[next(iter(self._slid))]

    def _keep(
        self,
        credentials: Credentials,
        ttl: int,
        attrs: dict[str, Any],
        match_origin: bool,
        single_use: bool,
        origin: Origin,
    ) -> str:
        token = secrets.token_urlsafe(RANDOM_BYTES)
        self._make_room(credentials)
        self._kept[_digest(token)] = _Kept(
            credentials=credentials,
            generation=self._generation(credentials.account_id),
            ttl=ttl,
            expires=self._clock.monotonic() + ttl,
            attrs=attrs,
            origin=origin_name(origin) if match_origin else None,
            single_use=single_use,
        )
        return token

    def _make_room(self, credentials: Credentials) -> None:
        """Drop what is over; when still full, the oldest, of the same account first."""
        if len(self._kept) < self._limit:
            return
        now = self._clock.monotonic()
        self._kept = {d: k for d, k in self._kept.items() if k.expires > now}
        if len(self._kept) < self._limit:
            return
        owner = credentials.account_id
        own = (d for d, k in self._kept.items() if k.credentials.account_id == owner)
        del self._kept[next(own, next(iter(self._kept)))]

    def _take_kept(
        self, token: str, kept: _Kept, origin: Origin, attrs: dict[str, Any]
    ) -> Credentials | None:
        now = self._clock.monotonic()
        if kept.origin not in (None, origin_name(origin)) or kept.attrs != attrs:
            return None
        digest = _digest(token)
        del self._kept[digest]
        if now >= kept.expires:
            return None
        credentials = self._current(kept)
        if credentials is not None and not kept.single_use:
            self._kept[digest] = replace(kept, expires=now + kept.ttl)
        return credentials

    def _current(self, kept: _Kept) -> Credentials | None:
        """Give the rights of a kept token as its account has them now."""
        made = kept.credentials
        if made.account_id is None:
            return replace(
                made,
                type=TOKEN,
                login_id=secrets.token_hex(LOGIN_ID_BYTES),
                login_at=self._clock.time_ms(),
            )
        account = self._accounts.get(made.account_id)
        if account is None or account.generation != kept.generation:
            return None
        return self._identities.credentials(TOKEN, account, key_id=made.api_key)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
