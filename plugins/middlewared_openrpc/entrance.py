"""Who looks at the pages: a header of programs, a cookie of browsers.

The cookie is good for reading the reference and nothing else; it is given out for a
name and a password, and it is not sent anywhere but to the pages.
"""

from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from middlewared import Credentials
from middlewared.access import Authenticator
from middlewared.authorization import authorize
from middlewared.context import Services
from middlewared.hosts import require_secure
from middlewared.settings import Settings
from middlewared_auth import Tokens

__all__ = ["forget", "log_in", "reader_of", "remember"]

COOKIE = "middlewared_reference"
#: What the token in the cookie is for: it does not log in anywhere.
PURPOSE = {"reference": True}
#: Seconds without a look after which one has to log in again.
TTL = 8 * 3600
#: Bytes of the form.
MAX_FORM = 8192


def _services(request: Request) -> Services:
    services: Services = request.state.services
    return services


async def reader_of(request: Request) -> Credentials | None:
    """Give the rights of who looks, None for somebody who is not logged in.

    Raises:
        HTTPException: a header proves nothing.
    """
    found = await authorize(request)
    token = request.cookies.get(COOKIE)
    if found is not None or not token:
        return found
    tokens = _services(request).get(Tokens)
    return tokens.take(token, request.state.origin, attrs=PURPOSE)


async def log_in(request: Request) -> Credentials | None:
    """Check the name and the password of a form.

    Raises:
        HTTPException: it is no form of ours.
        CallError: EBUSY, too many failed; EPERM, it came over plain HTTP.
    """
    require_secure(request.state.origin, _services(request).get(Settings))
    username, password = await _read_form(request)
    authenticator = _services(request).get(Authenticator)  # type: ignore[type-abstract]  # by protocol
    return await authenticator.by_password(username, password, request.state.origin)


async def _read_form(request: Request) -> tuple[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise HTTPException(413, "The form is too large\n")
    try:
        found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=8)
        return found["username"][0], found["password"][0]
    except (ValueError, KeyError):
        raise HTTPException(400, "Expected a username and a password\n") from None


def remember(request: Request, response: Response, who: Credentials) -> None:
    """Let the browser show who it is from now on."""
    token = (
        _services(request)
        .get(Tokens)
        .generate(
            who,
            ttl=TTL,
            attrs=PURPOSE,
            match_origin=False,
            single_use=False,
            origin=request.state.origin,
        )
    )
    # Without a path it is sent to the folder of the pages only, whatever its prefix.
    response.set_cookie(
        COOKIE,
        token,
        path=None,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


def forget(request: Request, response: Response) -> None:
    """End what the cookie is good for, and let the browser forget it."""
    _services(request).get(Tokens).drop(request.cookies.get(COOKIE, ""))
    response.set_cookie(COOKIE, "", max_age=0, path=None)
