"""The privileges: all in memory, every change committed first."""

from collections.abc import Callable

from middlewared.clock import Clock
from middlewared.database import Database
from middlewared_auth.account import Privilege, decode_roles, encode_roles
from middlewared_auth.accounts import Accounts, NameTaken

__all__ = ["Privileges"]

_INSERT = "INSERT INTO privileges (name, roles, created, id) VALUES (?, ?, ?, ?)"
_UPDATE = "UPDATE privileges SET name = ?, roles = ?, created = ? WHERE id = ?"
_REMOVE = "DELETE FROM privileges WHERE id = ?"
_SELECT = "SELECT id, name, roles, created FROM privileges ORDER BY id"
_LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'privileges'"


class Privileges:
    """The groups of roles that exist, by id and by name. Reading never waits.

    A change of one changes the accounts that hold it, in the same transaction.
    """

    def __init__(self, accounts: Accounts, database: Database, clock: Clock) -> None:
        self._accounts = accounts
        self._database = database
        self._clock = clock
        self._by_id: dict[int, Privilege] = {}
        self._last_id = 0

    async def load(self) -> dict[int, Privilege]:
        """Read the table and return it; once, before the accounts are read."""
        self._by_id = {
            row[0]: Privilege(
                id=row[0], name=row[1], roles=decode_roles(row[2]), created=row[3]
            )
            for row in await self._database.read(_SELECT)
        }
        last = await self._database.read(_LAST)
        self._last_id = last[0][0] if last else 0
        return dict(self._by_id)

    def get(self, privilege_id: int) -> Privilege | None:
        """Return the privilege, None when there is none with this id."""
        return self._by_id.get(privilege_id)

    def find(self, name: str) -> Privilege | None:
        """Return the privilege with exactly this name."""
        return next((p for p in self._by_id.values() if p.name == name), None)

    def list_all(self) -> list[Privilege]:
        """List the privileges in the order they were made."""
        return list(self._by_id.values())

    async def create(self, name: str, roles: frozenset[str]) -> Privilege:
        """Make a privilege that nobody holds yet.

        Raises:
            NameTaken: another one has the name.
            StoreError: it cannot be written.
        """
        async with self._accounts.changing():
            self._last_id += 1
            made = Privilege(
                id=self._last_id, name=name, roles=roles, created=self._clock.time_ms()
            )
            await self._keep(made, _INSERT)
        return made

    async def change(
        self, privilege_id: int, edit: Callable[[Privilege], Privilege]
    ) -> Privilege | None:
        """Change a privilege, and with it whoever holds it.

        Args:
            privilege_id: which one.
            edit: gives the new privilege for the one it gets.

        Returns:
            The privilege now, None when there is none.

        Raises:
            NameTaken: another one has the name.
            CallError: EPERM, no account that may do everything would be left.
        """
        async with self._accounts.changing():
            before = self._by_id.get(privilege_id)
            if before is None:
                return None
            after = edit(before)
            await self._keep(after, _UPDATE)
        return after

    async def remove(self, privilege_id: int) -> bool:
        """Remove a privilege; whoever holds it loses it.

        Returns:
            Whether there was one.

        Raises:
            CallError: EPERM, no account that may do everything would be left.
        """
        async with self._accounts.changing():
            if privilege_id not in self._by_id:
                return False
            left = {n: p for n, p in self._by_id.items() if n != privilege_id}
            await self._accounts.regrant(left, (_REMOVE, (privilege_id,)))
            self._by_id = left
        return True

    async def _keep(self, privilege: Privilege, sql: str) -> None:
        namesake = self.find(privilege.name)
        if namesake is not None and namesake.id != privilege.id:
            raise NameTaken(privilege.name)
        row = (
            privilege.name,
            encode_roles(privilege.roles),
            privilege.created,
            privilege.id,
        )
        after = self._by_id | {privilege.id: privilege}
        await self._accounts.regrant(after, (sql, row))
        self._by_id = after
