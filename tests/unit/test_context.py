"""What a handler may reach."""

from typing import Any

import pytest

from middlewared.access import SYSTEM, Credentials, Origin
from middlewared.clock import Clock, SystemClock
from middlewared.context import Announcements, Caller, Context, Services
from middlewared.errors import PluginError
from middlewared.events import EventBus
from middlewared.settings import Settings
from middlewared.tasks import Tasks


class Pool:
    """A service of a plugin."""


class FakeSession:
    """A connection, as far as a context cares."""

    id = "session"
    credentials: Credentials | None = None
    origin = Origin()

    def login(self, credentials: Credentials | None) -> None:
        self.credentials = credentials

    def require_secure(self) -> None:
        pass

    def on_logout(self, callback: Any) -> None:
        pass


def test_services_are_found_by_their_type() -> None:
    """What a plugin provides is what another one gets."""
    services, pool = Services(), Pool()
    services.provide(Pool, pool)
    assert services.get(Pool) is pool
    assert Context(services).get(Pool) is pool


def test_missing_service_may_be_asked_for() -> None:
    """Where a plugin may be left out."""
    services, pool = Services(), Pool()
    assert services.find(Pool) is None
    services.provide(Pool, pool)
    assert services.find(Pool) is pool


def test_later_service_replaces_the_earlier_one() -> None:
    """The last one provided wins."""
    services, later = Services(), Pool()
    services.provide(Pool, Pool())
    services.provide(Pool, later)
    assert services.get(Pool) is later


def test_missing_service_names_what_to_do() -> None:
    """The error names the type and points at the declaration."""
    with pytest.raises(PluginError, match=r"nothing provides Pool; .* requires=\?"):
        Services().get(Pool)


def test_announcements_keep_their_order() -> None:
    """Lines are made from the base URL when the server knows it."""
    announcements = Announcements()
    announcements.add(lambda url: f"one {url}")
    announcements.add(lambda url: f"two {url}")
    assert announcements.texts("http://h:1") == ["one http://h:1", "two http://h:1"]


def test_inside_the_server_the_system_calls() -> None:
    """A context without a session has the system's rights."""
    assert Context(Services()).credentials is SYSTEM


def test_session_without_login_has_no_rights() -> None:
    """A connection before its login is nobody, never the system."""
    assert Context(Services(), FakeSession()).credentials is None


def test_rights_can_be_given() -> None:
    """A context may act for an account without its connection."""
    who = Credentials(
        type="X",
        account_id=1,
        username="ann",
        roles=frozenset(),
        login_id="1",
        login_at=0,
    )
    assert Context(Services(), credentials=who).credentials is who


async def test_shortcuts() -> None:
    """The kernel's own services have names of their own."""
    services = Services()
    settings, clock, bus, tasks = Settings(), SystemClock(), EventBus(), Tasks()
    services.provide(Settings, settings)
    services.provide(Clock, clock)  # type: ignore[type-abstract]  # by protocol
    services.provide(EventBus, bus)
    services.provide(Tasks, tasks)
    context = Context(services)
    assert context.settings is settings
    assert context.clock is clock
    assert context.events is bus
    assert context.tasks is tasks


async def test_call_goes_to_the_caller_with_this_context() -> None:
    """A call inside the server carries the rights of its context."""
    seen: list[Any] = []

    class Dispatcher:
        async def call(self, context: Context, method: str, *params: Any) -> Any:
            seen.append((context, method, params))
            return "answer"

    services = Services()
    services.provide(Caller, Dispatcher())  # type: ignore[type-abstract]  # by protocol
    context = Context(services)
    assert await context.call("pool.scrub", "tank", 1) == "answer"
    assert seen == [(context, "pool.scrub", ("tank", 1))]
