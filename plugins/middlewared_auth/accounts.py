"""The accounts: all in memory, every change committed first."""

import errno
import uuid
from collections.abc import Callable, Sequence

import anyio
import msgspec
from msgspec.structs import replace

from middlewared import FULL_ADMIN, CallError
from middlewared.clock import Clock
from middlewared.database import Database, Statement
from middlewared.errors import MiddlewareError

__all__ = ["Account", "Accounts", "UsernameTaken"]

#: Called with the id of an account that was changed or removed, after the commit.
Listener = Callable[[int], None]

_INSERT = (
    "INSERT INTO accounts (id, uuid, username, full_name, password_hash, roles, "
    "locked, generation, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE accounts SET username = ?, full_name = ?, password_hash = ?, roles = ?, "
    "locked = ?, generation = ? WHERE id = ?"
)
_REMOVE = "UPDATE accounts SET removed = ?, password_hash = NULL WHERE id = ?"
_REVOKE_KEYS = (
    "UPDATE api_keys SET revoked = ?, stored_key = x'', server_key = x'' "
    "WHERE account_id = ? AND revoked IS NULL"
)
_SELECT = (
    "SELECT id, uuid, username, full_name, password_hash, roles, locked, generation, "
    "created FROM accounts WHERE removed IS NULL ORDER BY id"
)


class UsernameTaken(MiddlewareError):
    """Another account has this name."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may log in.

    Attributes:
        id: never passes to another account.
        uuid: names the account outside this server.
        username: unique among the accounts that exist.
        full_name: for people.
        password_hash: argon2id; None when no password is set.
        roles: FULL_ADMIN includes all others.
        locked: cannot log in, and has no session.
        generation: grows when the logins and tokens so far must end.
        created: milliseconds since 1970-01-01 UTC.
    """

    id: int
    uuid: str
    username: str
    full_name: str = ""
    password_hash: str | None = None
    roles: frozenset[str] = frozenset()
    locked: bool = False
    generation: int = 0
    created: int

    def __repr__(self) -> str:
        return f"Account({self.id}, {self.username!r})"

    @property
    def active_admin(self) -> bool:
        """Whether this account may do everything, now."""
        return FULL_ADMIN in self.roles and not self.locked


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
        self._last_id = 0
        self._pending: str | None = None  # name in the change being committed
        self._changes = anyio.Lock()
        self._listeners: list[Listener] = []

    async def load(self) -> None:
        """Read the table; once, before anything else."""
        for row in await self._database.read(_SELECT):
            account = Account(
                id=row[0],
                uuid=row[1],
                username=row[2],
                full_name=row[3],
                password_hash=row[4],
                roles=frozenset(msgspec.json.decode(row[5], type=list[str])),
                locked=bool(row[6]),
                generation=row[7],
                created=row[8],
            )
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

    def _new(
        self,
        username: str,
        *,
        full_name: str = "",
        password_hash: str | None = None,
        roles: frozenset[str] = frozenset(),
        locked: bool = False,
    ) -> tuple[Account, Statement]:
        """Take an id; the row that keeps it is for the caller to write."""
        self._check_free(username, None)
        self._last_id += 1
        account = Account(
            id=self._last_id,
            uuid=str(uuid.uuid4()),
            username=username,
            full_name=full_name,
            password_hash=password_hash,
            roles=roles,
            locked=locked,
            created=self._clock.time_ms(),
        )
        row = (
            account.id,
            account.uuid,
            username,
            full_name,
            password_hash,
            _encode_roles(roles),
            int(locked),
            account.generation,
            account.created,
        )
        return account, (_INSERT, row)

    def _check_free(self, username: str, account_id: int | None) -> None:
        namesake = self.find(username)
        taken = namesake is not None and namesake.id != account_id
        if taken or self._pending == username:
            raise UsernameTaken(username)

    async def _commit(self, account: Account, statement: Statement) -> None:
        self._pending = account.username
        try:
            await self._database.execute(statement)
        finally:
            self._pending = None
        self._by_id[account.id] = account

    async def create(
        self,
        username: str,
        *,
        full_name: str = "",
        password_hash: str | None = None,
        roles: frozenset[str] = frozenset(),
        locked: bool = False,
    ) -> Account:
        """Make an account.

        Raises:
            UsernameTaken: another one has the name.
            StoreError: it cannot be written.
        """
        with anyio.CancelScope(shield=True):
            async with self._changes:
                account, statement = self._new(
                    username,
                    full_name=full_name,
                    password_hash=password_hash,
                    roles=roles,
                    locked=locked,
                )
                await self._commit(account, statement)
        return account

    def create_nowait(self, username: str, *, roles: frozenset[str]) -> Account:
        """Make an account without a password, at once; its row is queued.

        For the first administrator, whose link is printed when the server listens.

        Raises:
            UsernameTaken: another one has the name.
        """
        account, statement = self._new(username, roles=roles)
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
            edit: gives the new account for the one it gets; runs while no other
                change does, and may raise.

        Returns:
            The account now, None when there is none.

        Raises:
            UsernameTaken: another one has the name.
            CallError: EPERM, it is the last one that may do everything.
        """
        with anyio.CancelScope(shield=True):
            async with self._changes:
                before = self._by_id.get(account_id)
                if before is None:
                    return None
                after = edit(before)
                self._check_free(after.username, account_id)
                if after.locked and not before.locked:
                    after = replace(after, generation=before.generation + 1)
                if not after.active_admin:
                    self._refuse_last_admin(before)
                await self._commit(after, (_UPDATE, _changed_row(after)))
        self._tell(account_id)
        return after

    async def remove(self, account_id: int) -> bool:
        """Remove an account and its keys; the name stays in the history.

        Returns:
            Whether there was one.

        Raises:
            CallError: EPERM, it is the last one that may do everything.
        """
        with anyio.CancelScope(shield=True):
            async with self._changes:
                account = self._by_id.get(account_id)
                if account is None:
                    return False
                self._refuse_last_admin(account)
                await self._database.execute(*self._removal(account))
                del self._by_id[account_id]
        self._tell(account_id)
        return True

    def _removal(self, account: Account) -> Sequence[Statement]:
        now = self._clock.time_ms()
        return ((_REMOVE, (now, account.id)), (_REVOKE_KEYS, (now, account.id)))

    def _refuse_last_admin(self, account: Account) -> None:
        if not account.active_admin:
            return
        others = (a for a in self._by_id.values() if a.id != account.id)
        if not any(other.active_admin for other in others):
            raise CallError(
                f"{account.username!r} is the last account with the role {FULL_ADMIN} "
                "that is not locked",
                errno.EPERM,
            )

    def _tell(self, account_id: int) -> None:
        for listener in self._listeners:
            listener(account_id)


def _encode_roles(roles: frozenset[str]) -> str:
    return msgspec.json.encode(sorted(roles)).decode()


def _changed_row(account: Account) -> tuple[object, ...]:
    return (
        account.username,
        account.full_name,
        account.password_hash,
        _encode_roles(account.roles),
        int(account.locked),
        account.generation,
        account.id,
    )
