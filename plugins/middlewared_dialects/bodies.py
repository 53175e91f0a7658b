"""Reading the bodies of requests: bounded, and with a sentence when they are wrong."""

from typing import TypeVar
from urllib.parse import parse_qsl

import anyio
import msgspec
from starlette.requests import Request

from middlewared_dialects.problems import DialectError, Problem

__all__ = ["MAX_BODY", "read_body", "read_form", "read_json"]

#: Bytes of a body.
MAX_BODY = 2 * 2**20
#: Seconds in which it has to come.
BODY_SECONDS = 60.0

T = TypeVar("T")


async def read_body(request: Request) -> bytes:
    """Read a whole body.

    Raises:
        DialectError: INVALID, it is too large or does not come.
        ClientDisconnect: the client is gone.
    """
    body = bytearray()
    with anyio.move_on_after(BODY_SECONDS):
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                text = f"The body has more than {MAX_BODY} bytes"
                raise DialectError(Problem.INVALID, text)
        return bytes(body)
    text = f"The body did not come within {BODY_SECONDS:g} s"
    raise DialectError(Problem.INVALID, text)


def read_json(body: bytes, kind: type[T]) -> T:
    """Decode a body that is JSON.

    Raises:
        DialectError: INVALID, with what is wrong and where.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise DialectError(Problem.INVALID, f"The body cannot be read: {exc}") from None


def read_form(body: bytes) -> dict[str, str]:
    """Decode a body that is a form (``application/x-www-form-urlencoded``).

    Of a name that comes twice, the last value counts.

    Raises:
        DialectError: INVALID, it is no UTF-8 or has too many fields.
    """
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=1000, errors="strict"
        )
    except ValueError as exc:
        raise DialectError(Problem.INVALID, f"The form cannot be read: {exc}") from None
    return dict(pairs)
