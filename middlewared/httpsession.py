"""The session of one HTTP request: who sent it, until it is answered."""

import contextlib
import errno
from collections.abc import AsyncIterator, Hashable
from typing import NoReturn

from starlette.requests import Request

from middlewared.access import Origin
from middlewared.authorization import authorize
from middlewared.context import Services
from middlewared.errors import CallError
from middlewared.events import Event, Subscriber
from middlewared.session import ClientSession
from middlewared.sessions import Sessions

__all__ = ["HttpSession", "http_session"]


class _Nowhere:
    """There is no way to the client but the answer."""

    def send(self, frame: bytes) -> None:
        """Drop it."""

    def send_event(self, event: Event, subscriber: Subscriber) -> None:
        """Drop it."""

    def send_as(self, event: Event, subscriber: Subscriber, key: Hashable) -> None:
        """Drop it."""

    async def wait_writable(self) -> None:
        """Never wait."""

    def identify(self, *, anonymous: bool) -> None:
        """Limits are applied by who reads the request."""


class HttpSession(ClientSession):
    """What is known of the sender of a request, until it is answered."""

    __slots__ = ()

    def __init__(self, services: Services, origin: Origin) -> None:
        super().__init__(services, _Nowhere(), origin)

    def _check_room(self) -> NoReturn:
        """Refuse every subscription: nothing can be sent after the answer.

        Raises:
            CallError: EOPNOTSUPP, always.
        """
        raise CallError("Subscriptions need a WebSocket", errno.EOPNOTSUPP)


@contextlib.asynccontextmanager
async def http_session(
    request: Request, *, bearer: str | None = None, token: str | None = None
) -> AsyncIterator[HttpSession]:
    """Log in whoever sent a request, until it is answered.

    Args:
        request: as a route gets it.
        bearer: see `authorize`.
        token: see `authorize`.

    Raises:
        HTTPException: what it proves itself with is refused, see `authorize`.
    """
    services: Services = request.state.services
    credentials = await authorize(request, bearer=bearer, token=token)
    session = HttpSession(services, request.state.origin)
    sessions = services.get(Sessions)
    sessions.add(session)
    try:
        session.login(credentials)
        yield session
    finally:
        sessions.discard(session)
        session.close()
