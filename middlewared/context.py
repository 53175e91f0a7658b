"""What a handler may reach: the services, and who is calling."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from middlewared.access import SYSTEM, Credentials, Origin
from middlewared.clock import Clock
from middlewared.database import Database
from middlewared.errors import PluginError
from middlewared.events import EventBus
from middlewared.settings import Settings
from middlewared.tasks import Tasks

__all__ = ["Announcements", "Caller", "Context", "Services", "Session"]

T = TypeVar("T")


class Services:
    """The objects that plugins provide for each other, by their type."""

    def __init__(self) -> None:
        self._found: dict[type, object] = {}

    def provide(self, kind: type[T], service: T) -> None:
        """Offer *service* under its type; a later one replaces an earlier one."""
        self._found[kind] = service

    def get(self, kind: type[T]) -> T:
        """Return the service of this type.

        Raises:
            PluginError: no plugin provides it.
        """
        try:
            return self._found[kind]  # type: ignore[return-value]  # keyed by type
        except KeyError:
            raise PluginError(
                f"nothing provides {kind.__name__}; is its plugin in requires=?"
            ) from None

    def find(self, kind: type[T]) -> T | None:
        """Return the service of this type, None when no plugin provides it."""
        return self._found.get(kind)  # type: ignore[return-value]  # keyed by type


class Announcements:
    """Lines to print once the server listens; plugins add them while they start."""

    def __init__(self) -> None:
        self._lines: list[Callable[[str], str]] = []

    def add(self, line: Callable[[str], str]) -> None:
        """Print what *line* makes of the server's base URL."""
        self._lines.append(line)

    def texts(self, base_url: str) -> list[str]:
        """Give the lines in the order they were added."""
        return [line(base_url) for line in self._lines]


class Session(Protocol):
    """What handlers may know of a connection; `middlewared.session` implements it."""

    id: str
    credentials: Credentials | None
    origin: Origin

    def login(self, credentials: Credentials | None) -> None:
        """Replace the credentials; None logs out and ends all subscriptions."""
        ...

    def require_secure(self) -> None:
        """Refuse to take credentials that others on the way could read.

        Raises:
            CallError: EPERM, the connection is plain HTTP from elsewhere.
        """
        ...

    def on_logout(self, callback: Callable[[], None]) -> None:
        """Call back once, when these credentials are replaced or the client goes."""
        ...


class Caller(Protocol):
    """Calls a method inside the server; the dispatcher implements it."""

    async def call(self, context: "Context", method: str, *params: Any) -> Any:
        """Call a method by name with plain params and return its plain result."""
        ...


class Context:
    """First parameter of every handler.

    Attributes:
        services: what plugins provide.
        session: the connection that calls, None inside the server.
        credentials: who calls; the system inside the server, None before login.
    """

    __slots__ = ("credentials", "services", "session")

    def __init__(
        self,
        services: Services,
        session: Session | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.services = services
        self.session = session
        self.credentials = (
            SYSTEM if session is None and credentials is None else credentials
        )

    def get(self, kind: type[T]) -> T:
        """Return the service of this type.

        Raises:
            PluginError: no plugin provides it.
        """
        return self.services.get(kind)

    @property
    def settings(self) -> Settings:
        """The kernel's settings."""
        return self.services.get(Settings)

    @property
    def database(self) -> Database:
        """The database."""
        return self.services.get(Database)

    @property
    def events(self) -> EventBus:
        """The event bus."""
        return self.services.get(EventBus)

    @property
    def tasks(self) -> Tasks:
        """The owner of background tasks."""
        return self.services.get(Tasks)

    @property
    def clock(self) -> Clock:
        """The clock that everything reads."""
        return self.services.get(Clock)  # type: ignore[type-abstract]  # by protocol

    def path(self, path: str) -> str:
        """Give the path of a route as clients see it, below ``base_path``."""
        return f"{self.settings.base_path}{path}"

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method of any plugin with the rights of this context.

        Args:
            method: full name.
            params: plain values, as a client would send them.

        Returns:
            The result as plain values. A job method returns when the job ends.

        Raises:
            RpcError: what the method raised, or why it could not be called.
        """
        caller = self.services.get(Caller)  # type: ignore[type-abstract]  # by protocol
        return await caller.call(self, method, *params)
