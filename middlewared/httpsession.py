"""The session of one HTTP request: who sent it, until it is answered."""

import contextlib
import errno
from collections.abc import AsyncIterator, Hashable, Iterator
from typing import NoReturn

from starlette.requests import Request

from middlewared.access import Origin
from middlewared.authorization import Refused, authorize
from middlewared.broadcast import Parcel
from middlewared.context import Services
from middlewared.errors import CallError
from middlewared.events import Event, Subscriber
from middlewared.quotas import Quotas
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

    def send_parcel(self, parcel: Parcel) -> None:
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
        Refused: what it proves itself with is refused, see `authorize`; 429, its
            address or account has too many connections.
    """
    services: Services = request.state.services
    sessions, quotas = services.get(Sessions), services.get(Quotas)
    session = HttpSession(services, request.state.origin)
    with _too_many():
        quotas.check_origin(session.origin)
    quotas.add(session)
    try:
        credentials = await authorize(request, bearer=bearer, token=token)
        with _too_many():
            session.login(credentials)
        sessions.add(session)
        yield session
    finally:
        sessions.discard(session)
        session.close()


@contextlib.contextmanager
def _too_many() -> Iterator[None]:
    try:
        yield
    except CallError as exc:
        raise Refused(429, exc) from None
