"""Who the dialects say somebody is: one organisation, and a uuid for each account."""

import uuid

from middlewared import Context
from middlewared_auth import Accounts

__all__ = ["Organisation"]


class Organisation:
    """The organisation that the installation is.

    Args:
        number: its uuid.
        context: for the accounts.
    """

    def __init__(self, number: uuid.UUID, context: Context) -> None:
        self.id = str(number)
        self._number = number
        self._context = context

    @classmethod
    async def load(cls, context: Context) -> "Organisation":
        """Read the uuid of this installation; make one at the first start."""
        rows = await context.database.read("SELECT uuid FROM dialect_organisation")
        if rows:
            return cls(uuid.UUID(rows[0][0]), context)
        number = uuid.uuid4()
        insert = "INSERT INTO dialect_organisation (one, uuid) VALUES (1, ?)"
        await context.database.execute((insert, (str(number),)))
        return cls(number, context)

    def user_id(self, account: int | None) -> str:
        """Give the uuid of an account; of the system, and of removed ones, too."""
        found = None if account is None else self._context.get(Accounts).get(account)
        if found is not None:
            return str(found.uuid)
        return str(uuid.uuid5(self._number, f"account {account}"))
