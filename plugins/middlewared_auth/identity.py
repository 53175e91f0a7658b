"""Who a login is, and what it may: an account, seen through the key it used."""

import secrets

from middlewared import FULL_ADMIN, Credentials
from middlewared.clock import Clock
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts
from middlewared_auth.declaration import AuthSettings
from middlewared_auth.keys import ApiKey, ApiKeys

__all__ = ["LOGIN_ID_BYTES", "Identities", "narrow"]

LOGIN_ID_BYTES = 8
DAY_MS = 24 * 60 * 60 * 1000


def narrow(held: frozenset[str], wanted: frozenset[str] | None) -> frozenset[str]:
    """Give the *wanted* ones of the roles held; a full admin holds them all."""
    if wanted is None:
        return held
    return wanted if FULL_ADMIN in held else held & wanted


class Identities:
    """Makes credentials from what the accounts and keys say now."""

    def __init__(
        self, accounts: Accounts, keys: ApiKeys, settings: AuthSettings, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._keys = keys
        self._password_ms = settings.password_days * DAY_MS
        self._clock = clock

    def key_expired(self, key: ApiKey) -> bool:
        """Tell whether a key's time is over."""
        return self._is_over(key.expires)

    def account_expired(self, account: Account) -> bool:
        """Tell whether an account's time is over."""
        return self._is_over(account.expires)

    def password_expired(self, account: Account) -> bool:
        """Tell whether the account's password has to be changed first."""
        if account.must_change_password:
            return True
        if not self._password_ms or account.password_changed is None:
            return False
        return self._is_over(account.password_changed + self._password_ms)

    def _is_over(self, expires: int | None) -> bool:
        return expires is not None and expires <= self._clock.time_ms()

    def seconds_left(self, credentials: Credentials) -> float | None:
        """Give the time that a login is still good for, None when that has no end."""
        account = self._accounts.get(credentials.account_id)
        key = self._keys.get(credentials.api_key)
        ends = [found.expires for found in (account, key) if found and found.expires]
        if not ends:
            return None
        return max(0.0, (min(ends) - self._clock.time_ms()) / 1000)

    def roles_of(
        self, account_id: int | None, key_id: int | None
    ) -> frozenset[str] | None:
        """Give the roles that a login holds now.

        Returns:
            None when it may not be logged in at all: the account is gone, locked or
            over, or so is the key it came with.
        """
        account = self._accounts.get(account_id)
        if account is None or account.locked or self.account_expired(account):
            return None
        if key_id is None:
            return account.roles
        key = self._keys.get(key_id)
        if key is None or key.account_id != account_id or self.key_expired(key):
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
