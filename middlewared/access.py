"""Who a session is, and what a method or collection asks of it."""

import errno
from typing import Protocol

import msgspec

from middlewared.errors import CallError, NotAuthenticated

__all__ = [
    "FULL_ADMIN",
    "READONLY_ADMIN",
    "SYSTEM",
    "Access",
    "Audience",
    "Authenticator",
    "Credentials",
    "Origin",
    "not_authorized",
]

#: May do everything.
FULL_ADMIN = "FULL_ADMIN"
#: May call every method that is declared read-only, and see everything that is shown.
READONLY_ADMIN = "READONLY_ADMIN"


class Origin(msgspec.Struct, frozen=True):
    """Where a connection comes from.

    Attributes:
        address: IP address, None on the unix socket.
        uid: user id of the peer on the unix socket, else None.
        secure: nobody in between can listen: unix socket, loopback or TLS, here or at a
            trusted proxy.
        channel_binding: what a login over this TLS connection is bound to, the
            ``tls-server-end-point`` of RFC 5929; None where there is none.
        remote_user: who the client is, as a trusted proxy says.
    """

    address: str | None = None
    uid: int | None = None
    secure: bool = True
    channel_binding: bytes | None = None
    remote_user: str | None = None


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a login proved; fixed for its time.

    Attributes:
        type: how, as clients know it: LOGIN_PASSWORD, API_KEY, TOKEN, UNIX_SOCKET,
            SCHEDULE for jobs that a schedule starts.
        account_id: id of the account, None for the system and unix peers.
        username: name of the account at login.
        roles: roles of the account; FULL_ADMIN includes all others.
        login_id: names this login.
        login_at: milliseconds since 1970-01-01 UTC.
        api_key: id of the API key that was used, if any.
    """

    type: str
    account_id: int | None
    username: str
    roles: frozenset[str]
    login_id: str
    login_at: int
    api_key: int | None = None

    @property
    def full_admin(self) -> bool:
        """Whether everything is allowed."""
        return FULL_ADMIN in self.roles

    @property
    def reads_all(self) -> bool:
        """Whether everything may be read: the admin roles."""
        return FULL_ADMIN in self.roles or READONLY_ADMIN in self.roles

    def has_any(self, roles: frozenset[str]) -> bool:
        """Tell whether one of *roles* is held, full admins hold all."""
        return self.full_admin or not self.roles.isdisjoint(roles)


class Authenticator(Protocol):
    """Checks what somebody proves himself with who does not call a method for it.

    A plugin provides it. A failure is counted, logged and answered late. What is given
    is good for one request: nothing keeps it true to its account.
    """

    async def by_password(
        self, username: str, password: str, origin: Origin
    ) -> Credentials | None:
        """Give the rights of a name and a password, None when they are not good.

        Raises:
            CallError: EBUSY, too many failed from this address or with this name.
        """
        ...

    async def by_bearer(self, value: str, origin: Origin) -> Credentials | None:
        """Give the rights of an API key, ``<id>-<secret>``, or of a token for logins.

        Raises:
            CallError: EBUSY, too many failed from this address.
        """
        ...

    def by_proxy(self, origin: Origin) -> Credentials | None:
        """Give the rights of the account that a trusted proxy vouches for.

        None, too, for an account that may not log in now.
        """
        ...

    async def by_token(self, token: str, origin: Origin) -> Credentials | None:
        """Give the rights of a token that may log in.

        Raises:
            CallError: EBUSY, too many failed from this address.
        """
        ...


#: The server itself: start-up, schedules, commands on a stopped server.
SYSTEM = Credentials(
    type="SYSTEM",
    account_id=None,
    username="system",
    roles=frozenset({FULL_ADMIN}),
    login_id="system",
    login_at=0,
)


def not_authorized() -> CallError:
    """Build the error for a login that may not do this."""
    return CallError("Not authorized", errno.EACCES)


class Access(msgspec.Struct, frozen=True):
    """What a method or collection asks of a session.

    Without anything it is for full admins (design, section 8).

    Attributes:
        roles: one of them is needed.
        authenticated: open to every login.
        public: open to all.
        read_only: changes nothing but the caller's own connection and login, so
            read-only admins may do it too, and it is not audited.
    """

    roles: frozenset[str] = frozenset()
    authenticated: bool = False
    public: bool = False
    read_only: bool = False

    def __str__(self) -> str:
        if self.public:
            return "For everybody, also before login."
        if self.authenticated:
            return "For every login."
        admins = "full and read-only admins" if self.read_only else "full admins"
        if not self.roles:
            return f"For {admins}."
        roles = " or ".join(f"`{role}`" for role in sorted(self.roles))
        return f"For {roles}, and {admins}."

    def allows(self, credentials: Credentials | None) -> bool:
        """Tell whether a session may pass."""
        if self.public:
            return True
        if credentials is None:
            return False
        if self.authenticated or credentials.has_any(self.roles):
            return True
        return self.read_only and credentials.reads_all

    def check(self, credentials: Credentials | None) -> None:
        """Let the session pass or say why not.

        Raises:
            NotAuthenticated: it needs a login.
            CallError: EACCES, the login lacks the role.
        """
        if self.public or self.allows(credentials):
            return
        raise NotAuthenticated if credentials is None else not_authorized()


class Audience(msgspec.Struct, frozen=True):
    """Who may see one item: its owner, holders of roles, and the admins.

    Attributes:
        owner: account id; None when no account owns it.
        roles: roles whose holders may read it too.
    """

    owner: int | None
    roles: frozenset[str] = frozenset()

    def includes(self, credentials: Credentials | None) -> bool:
        """Tell whether a login may see the item; nobody without one may."""
        if credentials is None:
            return False
        # Looked up here, not through the properties: once for each event and client.
        held = credentials.roles
        if FULL_ADMIN in held or READONLY_ADMIN in held:
            return True
        if not held.isdisjoint(self.roles):
            return True
        return self.owner is not None and self.owner == credentials.account_id
