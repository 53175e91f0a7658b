"""JSON-RPC over HTTP: one POST is one message, its answer is the body of the answer."""

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from middlewared import jsonrpc
from middlewared.authorization import Refused
from middlewared.context import Services
from middlewared.dispatch import Dispatcher
from middlewared.httpsession import HttpSession, http_session
from middlewared.session import Options
from middlewared.settings import Settings

__all__ = ["post"]

#: What the body may call itself. Browsers ask before they send one of these for a page
#: of another origin, which they do not for text or a form.
MEDIA_TYPES = ("application/json", "application/json-rpc")
#: Seconds that a client has to send the body.
BODY_SECONDS = 60.0
_WAITS = {None: False, "0": False, "1": True}


class _Unfit(Exception):
    """The request is no JSON-RPC message in HTTP's terms.

    Args:
        status: of the answer.
        text: why, one sentence.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def post(request: Request) -> Response:
    """Answer one message: 200 with its answer, 204 when it has none.

    Calls of job methods are answered with the job's id; with ``?wait=1`` when the job
    has ended. A client that goes before ends nothing but the waiting.
    """
    try:
        _check_type(request)
        options = Options(legacy_jobs=not _reads_wait(request))
        async with http_session(request) as session:
            session.options = options
            body = await _read(request, session)
            answer = await _exchange(request, session, body)
    except _Unfit as exc:
        return PlainTextResponse(f"{exc}\n", status_code=exc.status)
    except Refused as exc:
        return _refuse(exc)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    if not answer:
        return Response(status_code=204)
    return _json(answer, 200)


def _json(body: bytes, status: int) -> Response:
    return Response(
        body,
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _refuse(exc: Refused) -> Response:
    body = jsonrpc.render_error(exc.error, b"", with_trace=False)
    answer = _json(body, exc.status_code)
    if exc.headers:
        # No challenge for Basic: a browser would ask its user in a window of its own.
        answer.headers["WWW-Authenticate"] = 'Bearer realm="middlewared"'
    return answer


def _check_type(request: Request) -> None:
    sent = request.headers.get("content-type", "")
    if sent.partition(";")[0].strip().lower() not in MEDIA_TYPES:
        raise _Unfit(415, f"Content-Type is {sent!r}, expected {MEDIA_TYPES[0]}")


def _reads_wait(request: Request) -> bool:
    sent = request.query_params.get("wait")
    if sent not in _WAITS:
        raise _Unfit(400, f"wait is {sent!r}, expected 0 or 1")
    return _WAITS[sent]


async def _read(request: Request, session: HttpSession) -> bytes:
    """Read the body, as much as this sender may send.

    Raises:
        _Unfit: 413, it is larger; 408, it takes too long.
        ClientDisconnect: the client is gone.
    """
    settings: Settings = session.services.get(Settings)
    known = session.credentials is not None
    limit = settings.max_message if known else settings.max_anonymous_message
    text = f"The message has more than {limit} bytes"
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise _Unfit(413, text)
    body = bytearray()
    with anyio.move_on_after(BODY_SECONDS):
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _Unfit(413, text)
        return bytes(body)
    raise _Unfit(408, f"The message did not come within {BODY_SECONDS:g} s")


async def _exchange(request: Request, session: HttpSession, body: bytes) -> bytes:
    """Have the message answered; stop waiting when the client is gone.

    Raises:
        ClientDisconnect: it is.
    """
    services: Services = session.services
    answer: bytes | None = None
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        answer = await services.get(Dispatcher).exchange(session, body)
        group.cancel_scope.cancel()
    if answer is None:
        raise ClientDisconnect
    return answer
