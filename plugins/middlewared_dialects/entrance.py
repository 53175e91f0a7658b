"""Who sends a request of a dialect, and the tokens that dialects hand out."""

import contextlib
from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from middlewared import CallError, Context, Credentials
from middlewared.access import Authenticator
from middlewared.hosts import require_secure
from middlewared.http import JsonResponse
from middlewared.httpsession import http_session
from middlewared.settings import Settings
from middlewared_auth import Tokens
from middlewared_dialects.problems import DialectError, Problem, problem_of

__all__ = ["entered", "make_token", "no_token", "prove_client", "prove_user"]

#: Seconds after which one who failed too often may try again.
RETRY_SECONDS = 60

_STATUS = {
    401: Problem.UNAUTHENTICATED,
    403: Problem.FORBIDDEN,
    429: Problem.TOO_MANY,
}


@contextlib.asynccontextmanager
async def entered(
    request: Request, *, bearer: str | None = None, token: str | None = None
) -> AsyncIterator[Context]:
    """Give the rights of the sender while its request is answered.

    Args:
        request: as a route gets it; its header Authorization counts first.
        bearer: an API key or a token from the body or the query.
        token: a token from there.

    Raises:
        DialectError: UNAUTHENTICATED, FORBIDDEN or TOO_MANY.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            session = await stack.enter_async_context(
                http_session(request, bearer=bearer, token=token)
            )
        except HTTPException as exc:
            problem = _STATUS.get(exc.status_code, Problem.FORBIDDEN)
            wait = RETRY_SECONDS if problem is Problem.TOO_MANY else None
            text = str(exc.detail).strip()
            raise DialectError(problem, text, retry_after=wait) from None
        if session.credentials is None:
            raise DialectError(Problem.UNAUTHENTICATED, "Credentials are missing")
        yield session.context


async def prove_client(
    request: Request, client_id: str, client_secret: str
) -> Credentials:
    """Check a client: an API key, with its number or its owner's name as the id.

    Raises:
        DialectError: UNAUTHENTICATED or TOO_MANY.
    """
    found = await _ask(request, "bearer", client_secret)
    number = client_secret.partition("-")[0]
    if found is None or client_id not in (found.username, number, client_secret):
        raise DialectError(Problem.UNAUTHENTICATED, "The client is not known")
    return found


async def prove_user(request: Request, username: str, password: str) -> Credentials:
    """Check a name and a password.

    Raises:
        DialectError: UNAUTHENTICATED or TOO_MANY.
    """
    found = await _ask(request, "password", username, password)
    if found is None:
        raise DialectError(
            Problem.UNAUTHENTICATED, "User name and password are not good"
        )
    return found


async def _ask(request: Request, kind: str, *proof: str) -> Credentials | None:
    services, origin = request.state.services, request.state.origin
    authenticator = services.get(Authenticator)
    prove = {
        "bearer": authenticator.by_bearer,
        "password": authenticator.by_password,
    }[kind]
    try:
        require_secure(origin, services.get(Settings))
        found: Credentials | None = await prove(*proof, origin)
    except CallError as exc:
        problem = problem_of(exc)
        problem = Problem.TOO_MANY if problem is Problem.BUSY else problem
        wait = RETRY_SECONDS if problem is Problem.TOO_MANY else None
        raise DialectError(problem, exc.text, retry_after=wait) from None
    return found


def no_token(exc: DialectError, scheme: str | None = None) -> Response:
    """Answer a client that gets no token (RFC 6749, section 5.2).

    Args:
        exc: why.
        scheme: of the header Authorization that is expected.
    """
    limited = exc.problem is Problem.TOO_MANY
    answer = {"error": "invalid_client", "error_description": exc.text}
    headers = {} if scheme is None else {"WWW-Authenticate": scheme}
    if limited:
        headers = {"Retry-After": f"{exc.retry_after or RETRY_SECONDS}"}
    return JsonResponse(answer, 429 if limited else 401, headers=headers)


def make_token(request: Request, credentials: Credentials, seconds: int) -> str:
    """Make a token with the rights of a login, good for so many seconds of silence."""
    tokens = request.state.services.get(Tokens)
    made: str = tokens.generate(
        credentials,
        ttl=seconds,
        attrs={},
        match_origin=False,
        single_use=False,
        origin=request.state.origin,
    )
    return made
