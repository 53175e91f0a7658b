"""Who makes a plain HTTP request: what its Authorization header proves."""

import base64
import binascii
import errno
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request

from middlewared.access import Authenticator, Credentials, Origin
from middlewared.context import Services
from middlewared.errors import CallError

__all__ = ["authorize"]

#: How one can prove oneself; browsers ask for name and password.
CHALLENGE = 'Basic realm="middlewared", charset="UTF-8", Bearer, Token'

Proof = Callable[[Authenticator, str, Origin], Awaitable[Credentials | None]]


async def authorize(request: Request) -> Credentials | None:
    """Give the rights that a request proves with its header; None without one.

    ``Basic`` takes a name and a password, ``Bearer`` an API key, ``Token`` a token
    that may log in. They are good for this request.

    Raises:
        HTTPException: 401, they are not good; 429, too many were not.
    """
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        return None
    prove = _PROOFS.get(scheme.lower())
    services: Services = request.state.services
    origin: Origin = request.state.origin
    authenticator = services.get(Authenticator)  # type: ignore[type-abstract]  # by protocol
    try:
        found = prove and await prove(authenticator, value.strip(), origin)
    except CallError as exc:
        status = 429 if exc.errno == errno.EBUSY else 403
        raise HTTPException(status, f"{exc.text}\n") from None
    if found is None:
        raise HTTPException(
            401, "The credentials are not good\n", {"WWW-Authenticate": CHALLENGE}
        )
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


async def _by_key(
    authenticator: Authenticator, value: str, origin: Origin
) -> Credentials | None:
    return await authenticator.by_api_key(value, origin)


async def _by_token(
    authenticator: Authenticator, value: str, origin: Origin
) -> Credentials | None:
    return await authenticator.by_token(value, origin)


_PROOFS: dict[str, Proof] = {
    "basic": _by_password,
    "bearer": _by_key,
    "token": _by_token,
}
