"""The accounts: all in memory, every change committed first."""

import errno
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from msgspec.structs import replace

from middlewared import FULL_ADMIN, CallError
from middlewared.clock import Clock
from middlewared.database import Database, Statement
from middlewared.errors import MiddlewareError
from middlewared_auth.account import (
    INSERT_ACCOUNT,
    SELECT_ACCOUNTS,
    UPDATE_ACCOUNT,
    Account,
    Privilege,
    account_row,
    read_account,
    with_privileges,
)

__all__ = ["Accounts", "NameTaken"]

#: Called with the id of an account that was changed or removed, after the commit.
Listener = Callable[[int], None]

_REMOVE = "UPDATE accounts SET removed = ?, password_hash = NULL WHERE id = ?"
_REVOKE_KEYS = (
    "UPDATE api_keys SET revoked = ?, stored_key = x'', server_key = x'' "
    "WHERE account_id = ? AND revoked IS NULL"
)


class NameTaken(MiddlewareError):
    """Another account, or another privilege, has this name."""


class Accounts:
    """The accounts that exist, by id and by name.

    Reading never waits. A change is visible once it is committed; changes happen one
    after the other. The server is the only writer of its data directory, so memory
    and table agree.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._by_id: dict[int, Account] = {}
        self._privileges: Mapping[int, Privilege] = {}
        self._last_id = 0
        self._pending: str | None = None  # name in the change being committed
        self._changes = anyio.Lock()
        self._listeners: list[Listener] = []

    async def load(self, privileges: Mapping[int, Privilege]) -> None:
        """Read the table; once, before anything else."""
        self._privileges = privileges
        for row in await self._database.read(SELECT_ACCOUNTS):
            account = with_privileges(read_account(row), privileges)
            self._by_id[account.id] = account
        last = await self._database.read("SELECT max(id) FROM accounts")
        self._last_id = last[0][0] or 0

    def watch(self, listener: Listener) -> None:
        """Call *listener* with the id of every account that is changed or removed."""
        self._listeners.append(listener)

    def get(self, account_id: int | None) -> Account | None:
        """Return the account, None when there is none with this id."""
        return None if account_id is None else self._by_id.get(account_id)

    def find(self, username: str) -> Account | None:
        """Return the account with exactly this name."""
        for account in self._by_id.values():
            if account.username == username:
                return account
        return None

    def list_all(self) -> list[Account]:
        """List the accounts in the order they were made."""
        return list(self._by_id.values())

    # Changes.

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Let no other change happen meanwhile; what is in it is not cancelled."""
        with anyio.CancelScope(shield=True):
            async with self._changes:
                yield

    def _new(self, username: str, **fields: Any) -> tuple[Account, Statement]:
        """Take an id; the row that keeps it is for the caller to write."""
        self._check_free(username, None)
        self._last_id += 1
        account = Account(
            id=self._last_id,
            uuid=str(uuid.uuid4()),
            username=username,
            created=self._clock.time_ms(),
            **fields,
        )
        account = with_privileges(account, self._privileges)
        return account, (INSERT_ACCOUNT, account_row(account))

    def _check_free(self, username: str, account_id: int | None) -> None:
        namesake = self.find(username)
        taken = namesake is not None and namesake.id != account_id
        if taken or self._pending == username:
            raise NameTaken(username)

    async def _commit(self, account: Account, statement: Statement) -> None:
        self._pending = account.username
        try:
            await self._database.execute(statement)
        finally:
            self._pending = None
        self._by_id[account.id] = account

    async def create(self, username: str, **fields: Any) -> Account:
        """Make an account.

        Args:
            username: its name.
            fields: other attributes of `Account`, as far as they are known.

        Raises:
            NameTaken: another one has the name.
            StoreError: it cannot be written.
        """
        async with self.changing():
            account, statement = self._new(username, **fields)
            await self._commit(account, statement)
        return account

    def create_nowait(self, username: str, *, roles: frozenset[str]) -> Account:
        """Make an account without a password, at once; its row is queued.

        For the first administrator, whose link is printed when the server listens.

        Raises:
            NameTaken: another one has the name.
        """
        account, statement = self._new(username, own_roles=roles)
        self._by_id[account.id] = account

        def done(reason: Exception | None) -> None:
            if reason is not None:  # the database said why in the log
                self._by_id.pop(account.id, None)

        self._database.write([statement], done)
        return account

    async def change(
        self, account_id: int, edit: Callable[[Account], Account]
    ) -> Account | None:
        """Change an account; its generation grows when it gets locked.

        Args:
            account_id: which one.
            edit: gives the new account for the one it gets, its roles aside; runs while
                no other change does, and may raise.

        Returns:
            The account now, None when there is none.

        Raises:
            NameTaken: another one has the name.
            CallError: EPERM, it is the last one that may do everything.
        """
        async with self.changing():
            before = self._by_id.get(account_id)
            if before is None:
                return None
            after = with_privileges(edit(before), self._privileges)
            self._check_free(after.username, account_id)
            if after.locked and not before.locked:
                after = replace(after, generation=before.generation + 1)
            self._check_admin_stays(self._by_id | {account_id: after})
            await self._commit(after, (UPDATE_ACCOUNT, account_row(after)))
        self._tell([account_id])
        return after

    async def remove(self, account_id: int) -> bool:
        """Remove an account and its keys; the name stays in the history.

        Returns:
            Whether there was one.

        Raises:
            CallError: EPERM, it is the last one that may do everything.
        """
        async with self.changing():
            if account_id not in self._by_id:
                return False
            left = {n: a for n, a in self._by_id.items() if n != account_id}
            self._check_admin_stays(left)
            now = self._clock.time_ms()
            removal = ((_REMOVE, (now, account_id)), (_REVOKE_KEYS, (now, account_id)))
            await self._database.execute(*removal)
            del self._by_id[account_id]
        self._tell([account_id])
        return True

    async def regrant(
        self, privileges: Mapping[int, Privilege], statement: Statement
    ) -> None:
        """Replace the privileges that there are; the caller is `changing`.

        Args:
            privileges: all of them, from now on. Who holds one that is gone loses it.
            statement: writes the same.

        Raises:
            CallError: EPERM, no account that may do everything would be left.
            sqlite3.IntegrityError: the statement breaks a rule of the table.
        """
        after = {n: with_privileges(a, privileges) for n, a in self._by_id.items()}
        changed = [n for n, account in after.items() if account != self._by_id[n]]
        self._check_admin_stays(after)
        rows = [(UPDATE_ACCOUNT, account_row(after[n])) for n in changed]
        await self._database.execute(statement, *rows)
        self._privileges = privileges
        self._by_id.update({n: after[n] for n in changed})
        self._tell(changed)

    def _check_admin_stays(self, after: Mapping[int, Account]) -> None:
        if any(account.lasting_admin for account in after.values()):
            return
        for account in self._by_id.values():
            if account.lasting_admin:
                raise CallError(
                    f"{account.username!r} is the last account with the role "
                    f"{FULL_ADMIN} that is not locked and does not expire",
                    errno.EPERM,
                )

    def _tell(self, account_ids: Iterable[int]) -> None:
        for account_id in account_ids:
            for listener in self._listeners:
                listener(account_id)
