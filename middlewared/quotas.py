"""How much of the server one address and one account may have for themselves."""

import errno
from collections import Counter
from collections.abc import Collection, Hashable
from typing import Protocol

from middlewared.access import Credentials, Origin
from middlewared.addresses import is_loopback, network_of
from middlewared.errors import CallError
from middlewared.settings import Settings

__all__ = ["Member", "Quotas"]

#: Sockets of an address, as a multiple of its connections: so that those above their
#: number are told so, and those far above are not even listened to.
SOCKETS_FACTOR = 2


class Member(Protocol):
    """A session, as far as quotas care."""

    origin: Origin
    credentials: Credentials | None

    @property
    def subscriptions(self) -> Collection[str]:
        """What it is subscribed to."""
        ...


class Quotas:
    """Counts connections and subscriptions, per address and per account.

    The unix socket and this machine's own addresses are exempt: programs here share an
    address. So are full admins, who may do anything anyway.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._members: dict[Hashable, set[Member]] = {}
        self._sockets: Counter[str] = Counter()

    # Sockets, whatever is spoken on them.

    def take_socket(self, origin: Origin) -> bool:
        """Count a socket, False when its address has too many; then it is not."""
        limit = self._settings.max_address_connections * SOCKETS_FACTOR
        key = _address_key(origin)
        if key is None:
            return True
        if self._sockets[key] >= limit:
            return False
        self._sockets[key] += 1
        return True

    def return_socket(self, origin: Origin) -> None:
        """Forget a socket that was counted."""
        key = _address_key(origin)
        if key is not None:
            self._sockets[key] -= 1
            if self._sockets[key] <= 0:
                del self._sockets[key]

    # Connections, and requests while they are answered.

    def check_origin(self, origin: Origin) -> None:
        """See whether one more connection may come from somewhere.

        Raises:
            CallError: EDQUOT, the address has too many.
        """
        limit = self._settings.max_address_connections
        key = _address_key(origin)
        if key is not None and len(self._members.get(key, ())) >= limit:
            raise CallError(f"{key} has {limit} connections already", errno.EDQUOT)

    def check_login(self, credentials: Credentials) -> None:
        """See whether one more connection may be somebody's.

        Raises:
            CallError: EDQUOT, the account has too many.
        """
        limit = self._settings.max_user_connections
        key = _account_key(credentials)
        if key is not None and len(self._members.get(key, ())) >= limit:
            name = credentials.username
            raise CallError(f"{name!r} has {limit} connections already", errno.EDQUOT)

    def check_subscription(self, member: Member) -> None:
        """See whether a session may subscribe to one thing more.

        Raises:
            CallError: EDQUOT, its address or its account has too many.
        """
        settings = self._settings
        account, address = _account_key(member.credentials), _address_key(member.origin)
        self._count(account, "This account", settings.max_user_subscriptions)
        self._count(address, "This address", settings.max_address_subscriptions)

    def _count(self, key: Hashable, whose: str, limit: int) -> None:
        members = self._members.get(key, ())
        if sum(len(member.subscriptions) for member in members) >= limit:
            raise CallError(f"{whose} has {limit} subscriptions already", errno.EDQUOT)

    def add(self, member: Member) -> None:
        """Count a session that is open."""
        self._enter(_address_key(member.origin), member)

    def discard(self, member: Member) -> None:
        """Forget a session that ends; one that is not known is ignored."""
        self._leave(_address_key(member.origin), member)
        self._leave(_account_key(member.credentials), member)

    def change(self, member: Member, now: Credentials | None) -> None:
        """Count a session for another account; before its credentials change."""
        self._leave(_account_key(member.credentials), member)
        self._enter(_account_key(now), member)

    def _enter(self, key: Hashable, member: Member) -> None:
        if key is not None:
            self._members.setdefault(key, set()).add(member)

    def _leave(self, key: Hashable, member: Member) -> None:
        members = self._members.get(key)
        if members is not None:
            members.discard(member)
            if not members:
                del self._members[key]


def _address_key(origin: Origin) -> str | None:
    if origin.address is None or is_loopback(origin.address):
        return None
    return network_of(origin.address)


def _account_key(credentials: Credentials | None) -> int | None:
    if credentials is None or credentials.full_admin:
        return None
    return credentials.account_id
