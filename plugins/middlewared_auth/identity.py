"""Who a login is, and what it may: an account, seen through the key it used."""

import secrets

from middlewared import FULL_ADMIN, Credentials
from middlewared.clock import Clock
from middlewared_auth.accounts import Account, Accounts
from middlewared_auth.keys import ApiKey, ApiKeys

__all__ = ["LOGIN_ID_BYTES", "Identities", "narrow"]

LOGIN_ID_BYTES = 8


def narrow(held: frozenset[str], wanted: frozenset[str] | None) -> frozenset[str]:
    """Give the *wanted* ones of the roles held; a full admin holds them all."""
    if wanted is None:
        return held
    return wanted if FULL_ADMIN in held else held & wanted


class Identities:
    """Makes credentials from what the accounts and keys say now."""

    def __init__(self, accounts: Accounts, keys: ApiKeys, clock: Clock) -> None:
        self._accounts = accounts
        self._keys = keys
        self._clock = clock

    def has_expired(self, key: ApiKey) -> bool:
        """Tell whether a key's time is over."""
        return key.expires is not None and key.expires <= self._clock.time_ms()

    def seconds_left(self, key_id: int) -> float | None:
        """Give the time that a key is still good for, None when that has no end."""
        key = self._keys.get(key_id)
        if key is None or key.expires is None:
            return None
        return max(0.0, (key.expires - self._clock.time_ms()) / 1000)

    def roles_of(
        self, account_id: int | None, key_id: int | None
    ) -> frozenset[str] | None:
        """Give the roles that a login holds now.

        Returns:
            None when it may not be logged in at all: the account is gone or locked, or
            the key it came with is gone or has expired.
        """
        account = self._accounts.get(account_id)
        if account is None or account.locked:
            return None
        if key_id is None:
            return account.roles
        key = self._keys.get(key_id)
        if key is None or key.account_id != account_id or self.has_expired(key):
            return None
        return narrow(account.roles, key.roles)

    def credentials(
        self,
        kind: str,
        account: Account,
        *,
        key_id: int | None = None,
        login_id: str | None = None,
    ) -> Credentials | None:
        """Make the credentials of a login, None when it is not allowed now.

        Args:
            kind: how it proved itself, as clients know it.
            account: who it is.
            key_id: the API key that it used, or that its token came from.
            login_id: of the login it continues; a new one by default.
        """
        roles = self.roles_of(account.id, key_id)
        if roles is None:
            return None
        return Credentials(
            type=kind,
            account_id=account.id,
            username=account.username,
            roles=roles,
            login_id=login_id or secrets.token_hex(LOGIN_ID_BYTES),
            login_at=self._clock.time_ms(),
            api_key=key_id,
        )
