"""An account and a privilege, and the rows that keep them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from middlewared import FULL_ADMIN

__all__ = [
    "INSERT_ACCOUNT",
    "SELECT_ACCOUNTS",
    "UPDATE_ACCOUNT",
    "Account",
    "Privilege",
    "account_row",
    "decode_roles",
    "encode_roles",
    "read_account",
    "with_privileges",
]

_CHANGING = (
    "username",
    "full_name",
    "password_hash",
    "roles",
    "privileges",
    "locked",
    "expires",
    "password_changed",
    "must_change_password",
    "generation",
    "attributes",
)
_FIXED = ("uuid", "created", "id")
_COLUMNS = (*_CHANGING, *_FIXED)

INSERT_ACCOUNT = (
    f"INSERT INTO accounts ({', '.join(_COLUMNS)}) "  # noqa: S608 - our own names
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)
#: Takes the values of `INSERT_ACCOUNT`; what is fixed only has to agree.
UPDATE_ACCOUNT = (
    f"UPDATE accounts SET {', '.join(f'{name} = ?' for name in _CHANGING)} "  # noqa: S608 - our own names
    f"WHERE {' AND '.join(f'{name} = ?' for name in _FIXED)}"
)
SELECT_ACCOUNTS = (
    f"SELECT {', '.join(_COLUMNS)} FROM accounts "  # noqa: S608 - our own names
    "WHERE removed IS NULL ORDER BY id"
)


class Privilege(msgspec.Struct, frozen=True, kw_only=True):
    """A named group of roles that accounts hold.

    Attributes:
        id: never passes to another privilege.
        name: unique.
        roles: what its holders may.
        created: milliseconds since 1970-01-01 UTC.
    """

    id: int
    name: str
    roles: frozenset[str]
    created: int


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may log in.

    Attributes:
        id: never passes to another account.
        uuid: names the account outside this server.
        username: unique among the accounts that exist.
        full_name: for people.
        password_hash: argon2id; None when no password is set.
        own_roles: those that were given to the account itself.
        privileges: ids of the privileges it holds.
        roles: all it has, its own and those of its privileges; FULL_ADMIN includes
            all others.
        locked: cannot log in, and has no session.
        expires: when it ends, milliseconds; None for never.
        password_changed: when the password was set, milliseconds; None without one.
        must_change_password: the password is good for nothing but setting a new one.
        generation: grows when the logins and tokens so far must end.
        attributes: what clients keep here, by key.
        created: milliseconds since 1970-01-01 UTC.
    """

    id: int
    uuid: str
    username: str
    full_name: str = ""
    password_hash: str | None = None
    own_roles: frozenset[str] = frozenset()
    privileges: frozenset[int] = frozenset()
    roles: frozenset[str] = frozenset()
    locked: bool = False
    expires: int | None = None
    password_changed: int | None = None
    must_change_password: bool = False
    generation: int = 0
    attributes: dict[str, Any] = {}
    created: int

    def __repr__(self) -> str:
        return f"Account({self.id}, {self.username!r})"

    @property
    def lasting_admin(self) -> bool:
        """Whether this account may do everything, now and from now on."""
        return FULL_ADMIN in self.roles and not self.locked and self.expires is None


def with_privileges(account: Account, privileges: Mapping[int, Privilege]) -> Account:
    """Give an account all the roles that it has by its privileges."""
    held = [privileges[number] for number in account.privileges if number in privileges]
    roles = account.own_roles.union(*(privilege.roles for privilege in held))
    return replace(
        account, roles=roles, privileges=frozenset(found.id for found in held)
    )


def encode_roles(roles: frozenset[str]) -> str:
    """Write roles the way tables have them."""
    return _encode(sorted(roles))


def decode_roles(text: str) -> frozenset[str]:
    """Read roles the way tables have them."""
    return frozenset(msgspec.json.decode(text, type=list[str]))


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def account_row(account: Account) -> tuple[Any, ...]:
    """Give the values of `INSERT_ACCOUNT` and `UPDATE_ACCOUNT`."""
    return (
        account.username,
        account.full_name,
        account.password_hash,
        encode_roles(account.own_roles),
        _encode(sorted(account.privileges)),
        int(account.locked),
        account.expires,
        account.password_changed,
        int(account.must_change_password),
        account.generation,
        _encode(account.attributes),
        account.uuid,
        account.created,
        account.id,
    )


def read_account(row: Sequence[Any]) -> Account:
    """Read a row of `SELECT_ACCOUNTS`; the roles of its privileges are not in it."""
    found = dict(zip(_COLUMNS, row, strict=True))
    return Account(
        **{name: found[name] for name in (*_FIXED, "username", "full_name")},
        password_hash=found["password_hash"],
        own_roles=decode_roles(found["roles"]),
        privileges=frozenset(msgspec.json.decode(found["privileges"], type=list[int])),
        locked=bool(found["locked"]),
        expires=found["expires"],
        password_changed=found["password_changed"],
        must_change_password=bool(found["must_change_password"]),
        generation=found["generation"],
        attributes=msgspec.json.decode(found["attributes"]),
    )
