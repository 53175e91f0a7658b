"""The API keys: all in memory, every change committed first."""

import re
import secrets
import string
from collections.abc import Callable

import anyio
import msgspec

from middlewared.clock import Clock
from middlewared.database import Database
from middlewared_auth.account import decode_roles, encode_roles
from middlewared_auth.hashing import Verifier

__all__ = ["ApiKey", "ApiKeys", "new_secret", "split_key"]

#: Called with the account's id once a key of it is changed or revoked.
Listener = Callable[[int], None]

SECRET_LENGTH = 64
_ALPHABET = string.ascii_letters + string.digits
_CLEAR_KEY = re.compile(r"([0-9]{1,18})-([a-zA-Z0-9]{1,128})", re.ASCII)

_INSERT = (
    "INSERT INTO api_keys (id, account_id, name, roles, created, expires, salt, "
    "iterations, stored_key, server_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = "UPDATE api_keys SET name = ?, roles = ?, expires = ? WHERE id = ?"
_REVOKE = (
    "UPDATE api_keys SET revoked = ?, stored_key = x'', server_key = x'' WHERE id = ?"
)
_SELECT = (
    "SELECT id, account_id, name, roles, created, expires, salt, iterations, "
    "stored_key, server_key FROM api_keys WHERE revoked IS NULL AND account_id IN "
    "(SELECT id FROM accounts WHERE removed IS NULL) ORDER BY id"
)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that logs programs in as an account.

    Attributes:
        id: never passes to another key.
        account_id: whose key it is.
        name: what it is for, in the words of whoever made it.
        roles: what it may at most; None for all that the account may.
        created: milliseconds since 1970-01-01 UTC.
        expires: milliseconds; None for never.
        verifier: what the key is checked against.
    """

    id: int
    account_id: int
    name: str
    roles: frozenset[str] | None
    created: int
    expires: int | None
    verifier: Verifier


def new_secret() -> str:
    """Make the secret part of a key: 64 letters and digits, 381 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(SECRET_LENGTH))


def split_key(clear: str) -> tuple[int, str] | None:
    """Split a key in clear, ``<id>-<secret>``; None when it is none."""
    match = _CLEAR_KEY.fullmatch(clear)
    return None if match is None else (int(match[1]), match[2])


class ApiKeys:
    """The keys that are not revoked. Reading never waits."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._by_id: dict[int, ApiKey] = {}
        self._last_id = 0
        self._changes = anyio.Lock()
        self._listeners: list[Listener] = []

    async def load(self) -> None:
        """Read the table; once, before anything else."""
        for row in await self._database.read(_SELECT):
            key = ApiKey(
                id=row[0],
                account_id=row[1],
                name=row[2],
                roles=None if row[3] is None else decode_roles(row[3]),
                created=row[4],
                expires=row[5],
                verifier=Verifier(row[6], row[7], row[8], row[9]),
            )
            self._by_id[key.id] = key
        last = await self._database.read("SELECT max(id) FROM api_keys")
        self._last_id = last[0][0] or 0

    def watch(self, listener: Listener) -> None:
        """Call *listener* with the account's id whenever one of its keys changes."""
        self._listeners.append(listener)

    def get(self, key_id: int | None) -> ApiKey | None:
        """Return the key, None when there is none with this id."""
        return None if key_id is None else self._by_id.get(key_id)

    def list_all(self) -> list[ApiKey]:
        """List the keys in the order they were made."""
        return list(self._by_id.values())

    async def create(
        self,
        account_id: int,
        name: str,
        *,
        roles: frozenset[str] | None,
        expires: int | None,
        verifier: Verifier,
    ) -> ApiKey:
        """Keep a new key.

        Raises:
            StoreError: it cannot be written.
        """
        self._last_id += 1
        key = ApiKey(
            id=self._last_id,
            account_id=account_id,
            name=name,
            roles=roles,
            created=self._clock.time_ms(),
            expires=expires,
            verifier=verifier,
        )
        row = (
            key.id,
            account_id,
            name,
            None if roles is None else encode_roles(roles),
            key.created,
            expires,
            verifier.salt,
            verifier.iterations,
            verifier.stored_key,
            verifier.server_key,
        )
        with anyio.CancelScope(shield=True):
            await self._database.execute((_INSERT, row))
        self._by_id[key.id] = key
        return key

    async def change(
        self, key_id: int, edit: Callable[[ApiKey], ApiKey]
    ) -> ApiKey | None:
        """Change the name, the roles and the end of a key.

        Args:
            key_id: which one.
            edit: gives the new key for the one it gets.

        Returns:
            The key now, None when there is none.

        Raises:
            StoreError: it cannot be written.
        """
        with anyio.CancelScope(shield=True):
            async with self._changes:
                before = self._by_id.get(key_id)
                if before is None:
                    return None
                key = edit(before)
                roles = None if key.roles is None else encode_roles(key.roles)
                row = (key.name, roles, key.expires, key_id)
                await self._database.execute((_UPDATE, row))
                if self._by_id.get(key_id) is not before:
                    return None  # its account was removed meanwhile
                self._by_id[key_id] = key
        self._tell(key.account_id)
        return key

    async def revoke(self, key_id: int) -> bool:
        """Revoke a key and erase what it is checked against; its row stays.

        Returns:
            Whether there was one.
        """
        key = None
        with anyio.CancelScope(shield=True):
            async with self._changes:
                key = self._by_id.get(key_id)
                if key is not None:
                    revocation = (_REVOKE, (self._clock.time_ms(), key_id))
                    await self._database.execute(revocation)
                    self._by_id.pop(key_id, None)
        if key is None:
            return False
        self._tell(key.account_id)
        return True

    def _tell(self, account_id: int) -> None:
        for listener in self._listeners:
            listener(account_id)

    def forget(self, account_id: int) -> None:
        """Drop the keys of a removed account, whose rows are revoked already."""
        for key in self.list_all():
            if key.account_id == account_id:
                del self._by_id[key.id]
