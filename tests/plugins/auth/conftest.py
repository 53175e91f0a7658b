"""The plugin on a real database and a real dispatcher, without listeners."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import middlewared_auth
from middlewared import Context, Event, Origin, Plugin
from middlewared.audit import Trail
from middlewared.broadcast import Parcel
from middlewared.clock import Clock
from middlewared.context import Announcements, Caller, Services
from middlewared.database import Database
from middlewared.dispatch import Dispatcher
from middlewared.events import EventBus, Subscriber
from middlewared.quotas import Quotas
from middlewared.registry import Registry
from middlewared.session import ClientSession
from middlewared.sessions import Sessions
from middlewared.settings import Settings
from middlewared.tasks import Tasks
from middlewared.testing import ManualClock
from middlewared_auth import AuthSettings

#: Password of the accounts that do not care.
PASSWORD = "pw"
LOCAL = Origin(address="127.0.0.1")


class Wire:
    """Where the frames of a session end in these tests."""

    def send(self, frame: bytes) -> None:
        pass

    def send_event(self, event: Event, subscriber: Subscriber) -> None:
        pass

    def send_parcel(self, parcel: Parcel) -> None:
        for _, frame in parcel.items:
            self.send(frame)

    def send_as(self, event: Event, subscriber: Subscriber, key: object) -> None:
        pass

    async def wait_writable(self) -> None:
        pass

    def identify(self, *, anonymous: bool) -> None:
        pass


def pool_plugin() -> Plugin:
    """Declare some roles, and a method that needs one."""
    plugin = Plugin("pool")

    @plugin.method(roles=["POOL_READ"], read_only=True)
    async def names(ctx: Context) -> list[str]:
        """List the pools."""
        return ["tank"]

    plugin.collection("pool.query", dict, doc="Pools.", roles=["POOL_WATCH"])
    return plugin


class World:
    """One run of the server's inside on a data directory."""

    def __init__(self, context: Context, clock: ManualClock) -> None:
        self.context = context
        self.clock = clock

    def get(self, kind: type[Any]) -> Any:
        return self.context.get(kind)

    async def call(self, method: str, *params: Any) -> Any:
        """Call as the server itself, which may do everything."""
        return await self.context.call(method, *params)

    def connect(self, origin: Origin = LOCAL) -> ClientSession:
        """Make a session as a new connection would, and keep it."""
        session = ClientSession(self.context.services, Wire(), origin)
        self.get(Sessions).add(session)
        return session

    def drop(self, session: ClientSession) -> None:
        """Let go of a session, as the server does once its connection is closed."""
        self.get(Sessions).discard(session)

    async def user(
        self, name: str, *roles: str, password: str | None = PASSWORD
    ) -> int:
        """Make an account and return its id."""
        data = {"username": name, "password": password, "roles": list(roles)}
        return int((await self.call("user.create", data))["id"])

    async def log_in(
        self, name: str, password: str = PASSWORD, origin: Origin = LOCAL
    ) -> ClientSession:
        """Connect and log in with a password."""
        session = self.connect(origin)
        assert await session.context.call("auth.login", name, password)
        return session


Run = Callable[..., AbstractAsyncContextManager[World]]


@contextlib.asynccontextmanager
async def _run(
    folder: Path, clock: ManualClock, **overrides: Any
) -> AsyncIterator[World]:
    plugin = middlewared_auth.plugin
    settings = Settings(data_dir=str(folder), login_attempts=5)
    services = Services()
    services.provide(Settings, settings)
    services.provide(AuthSettings, AuthSettings(**{"failure_delay": 0.0} | overrides))
    services.provide(Clock, clock)  # type: ignore[type-abstract]  # by protocol
    services.provide(EventBus, EventBus())
    services.provide(Announcements, Announcements())
    services.provide(Sessions, Sessions())
    services.provide(Quotas, Quotas(settings))
    services.provide(Trail, Trail(clock))
    services.provide(Registry, Registry([plugin, pool_plugin()]))
    tasks = Tasks()
    services.provide(Tasks, tasks)
    services.provide(Caller, Dispatcher(services))  # type: ignore[type-abstract]  # by protocol
    async with Database.open(folder / "middlewared.db") as database:
        assert plugin.migrations is not None
        assert plugin.start is not None
        await database.migrate("auth", plugin.migrations)
        services.provide(Database, database)
        context = Context(services)
        async with plugin.start(context):
            yield World(context, clock)
        await tasks.close(deadline=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def run(tmp_path: Path, clock: ManualClock) -> Run:
    """Start the server's inside; starting it again is a restart."""

    def start(**overrides: Any) -> AbstractAsyncContextManager[World]:
        return _run(tmp_path, clock, **overrides)

    return start


@pytest.fixture
async def world(run: Run) -> AsyncIterator[World]:
    async with run() as started:
        yield started
