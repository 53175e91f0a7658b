"""The three shapes in which the Webex dialect says no."""

import uuid

from starlette.responses import Response

from middlewared.http import JsonResponse
from middlewared_dialects.problems import (
    STATUS,
    DialectError,
    MethodNotAllowed,
    Problem,
    problem_of,
    sentence_of,
)
from middlewared_dialects.webex.documents import Document
from middlewared_dialects.webex.families import Family

__all__ = ["UnsupportedMedia", "refusal"]

#: Code of a wrong body, as moveLocation and manageNumbers number it.
BAD_BODY = 1026016
BAD_BODY_TEXT = "BATCH-1017017"
#: While nothing is accepted; seconds after which it may be tried again.
LOCKED, RETRY_SECONDS = 423, 30


class UnsupportedMedia(DialectError):
    """The body is no JSON."""

    def __init__(self, media: str) -> None:
        text = f"Content-Type is {media!r}, expected application/json"
        super().__init__(Problem.INVALID, text)


def _status(exc: Exception) -> int:
    match exc:
        case MethodNotAllowed():
            return 405
        case UnsupportedMedia():
            return 415
        case _:
            problem = problem_of(exc)
            return LOCKED if problem is Problem.UNAVAILABLE else STATUS[problem]


def refusal(exc: Exception, family: Family | None) -> Response:
    """Answer a request that is refused.

    Args:
        exc: why.
        family: whose shape a wrong body gets.
    """
    status, text = _status(exc), sentence_of(exc)
    tracking = f"ROUTER_{uuid.uuid4()}"
    shape = family.bad_body if family is not None and status == 400 else "platform"  # noqa: PLR2004 - RFC 9110
    body: Document
    if shape == "codes":
        body = {"error": [{"code": BAD_BODY, "message": text}]}
    elif shape == "keyed":
        said = {"description": text, "code": BAD_BODY_TEXT, "location": None}
        body = {"error": {"key": "400", "message": [said]}, "trackingId": tracking}
    else:
        said = {"description": text}
        body = {"message": text, "errors": [said], "trackingId": tracking}
    answer = JsonResponse(body, status)
    wait = exc.retry_after if isinstance(exc, DialectError) else None
    if status == LOCKED:
        wait = RETRY_SECONDS
    if wait is not None:
        answer.headers["Retry-After"] = f"{wait}"
    if status == 401:  # noqa: PLR2004 - RFC 9110
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
