"""Who makes a plain HTTP request: what its Authorization header proves."""

import base64
import binascii
import errno
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request

from middlewared.access import Authenticator, Credentials, Origin
from middlewared.audit import Trail
from middlewared.clock import Clock
from middlewared.context import Services
from middlewared.errors import ENOTAUTHENTICATED, CallError
from middlewared.hosts import require_secure
from middlewared.peers import peer_credentials
from middlewared.settings import Settings

__all__ = ["Refused", "authorize"]

#: How one can prove oneself; browsers ask for name and password.
CHALLENGE = 'Basic realm="middlewared", charset="UTF-8", Bearer, Token'

UNAUTHORIZED = 401  # RFC 9110, 15.5.2

Proof = Callable[[Authenticator, str, Origin], Awaitable[Credentials | None]]


class Refused(HTTPException):
    """The sender of a request is not let in; a route need not catch it.

    Args:
        status: of the answer: 401, 403 or 429.
        error: why.
    """

    def __init__(self, status: int, error: CallError) -> None:
        headers = {"WWW-Authenticate": CHALLENGE} if status == UNAUTHORIZED else None
        super().__init__(status, f"{error.text}\n", headers)
        self.error = error


async def authorize(
    request: Request, *, bearer: str | None = None, token: str | None = None
) -> Credentials | None:
    """Give the rights that a request proves, None when it is nobody's.

    In this order: the account that a trusted proxy vouches for; the header, where
    ``Basic`` takes a name and a password, ``Bearer`` an API key or a token that may
    log in, ``Token`` such a token; *bearer*; *token*; the user at the other end of the
    unix socket. They are good for this request. No cookie is looked at.

    Args:
        request: as a route gets it.
        bearer: an API key or a token that came otherwise, in the body for example.
        token: one that came otherwise, in the query for example.

    Raises:
        Refused: 401, they are not good; 403, they came over plain HTTP; 429, too
            many were not.
    """
    services: Services = request.state.services
    origin: Origin = request.state.origin
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if not scheme and bearer is not None:
        scheme, value = "bearer", bearer
    if not scheme and token is not None:
        scheme, value = "token", token
    if not scheme and origin.remote_user is None:
        return peer_credentials(origin, services.get(Clock))  # type: ignore[type-abstract]  # by protocol
    authenticator = services.get(Authenticator)  # type: ignore[type-abstract]  # by protocol
    try:
        require_secure(origin, services.get(Settings))
        if origin.remote_user is not None:
            found = authenticator.by_proxy(origin)
            if found is not None:
                services.get(Trail).note_request(found, origin)
            return found
        prove = _PROOFS.get(scheme.lower())
        found = prove and await prove(authenticator, value.strip(), origin)
    except CallError as exc:
        status = 429 if exc.errno == errno.EBUSY else 403
        raise Refused(status, exc) from None
    if found is None:
        text = "The credentials are not good"
        raise Refused(UNAUTHORIZED, CallError(text, ENOTAUTHENTICATED))
    services.get(Trail).note_request(found, origin)
    return found


async def _by_password(
    authenticator: Authenticator, value: str, origin: Origin
) -> Credentials | None:
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    username, colon, password = text.partition(":")
    if not colon:
        return None
    return await authenticator.by_password(username, password, origin)


async def _by_bearer(
    authenticator: Authenticator, value: str, origin: Origin
) -> Credentials | None:
    return await authenticator.by_bearer(value, origin)


async def _by_token(
    authenticator: Authenticator, value: str, origin: Origin
) -> Credentials | None:
    return await authenticator.by_token(value, origin)


_PROOFS: dict[str, Proof] = {
    "basic": _by_password,
    "bearer": _by_bearer,
    "token": _by_token,
}
