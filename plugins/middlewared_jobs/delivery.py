"""Sends output of a job to an HTTP client, and lets no broken one look complete."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

__all__ = ["Delivery", "attachment", "guard_send", "refuse"]

#: Gives the next bytes, ``b""`` at the end.
Read = Callable[[], Awaitable[bytes]]
#: Waits for the job's end and says why its output is not complete, None when it is.
Verdict = Callable[[], Awaitable[str | None]]


def refuse(status: int, text: str) -> Response:
    """Make an answer of one line."""
    return PlainTextResponse(f"{text}\n", status_code=status)


def attachment(filename: str) -> dict[str, str]:
    """Give the headers of a download; the name may be anything (RFC 6266, 8187)."""
    name = quote(filename, safe="")
    parameter = f'filename="{name}"' if name == filename else f"filename*=utf-8''{name}"
    return {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"attachment; {parameter}",
        "Cache-Control": "no-store",
    }


def guard_send(request: Request, send: Send, stall: float) -> Send:
    """Give a client up that takes nothing.

    Args:
        request: whose connection is cut then.
        send: sends to it.
        stall: seconds that one piece may take.
    """

    async def guarded(message: Message) -> None:
        with anyio.move_on_after(stall) as scope:
            await send(message)
        if scope.cancelled_caught:
            request.state.cut()

    return guarded


class Delivery(Response):
    """Sends what comes out of a job as it comes.

    The head is sent with the first piece, so that a job that fails before it gives any
    is answered with its error. One that fails later cuts the connection.

    Args:
        read: gives the pieces.
        verdict: says how it ended.
        close: called when nothing more is sent.
        headers: of the answer.
        stall: seconds that a client may take nothing.
    """

    def __init__(
        self,
        read: Read,
        verdict: Verdict,
        close: Callable[[], None],
        *,
        headers: dict[str, str],
        stall: float,
    ) -> None:
        super().__init__()
        self._read = read
        self._verdict = verdict
        self._close = close
        self._head = Headers(headers).raw
        self._stall = stall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client is gone."""
        request = Request(scope, receive)
        send = guard_send(request, send, self._stall)
        try:
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    group.cancel_scope.cancel()

                group.start_soon(watch)
                if await self._deliver(request, send):
                    group.cancel_scope.cancel()
                else:
                    request.state.cut()  # and `watch` sees it
        finally:
            self._close()

    async def _deliver(self, request: Request, send: Send) -> bool:
        """Send everything; False when the answer has begun and cannot be ended."""
        data = await self._read()
        if not data and (why := await self._verdict()) is not None:
            await refuse(500, why)(request.scope, request.receive, send)
            return True
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": self._head,
            }
        )
        while data:
            await send({"type": "http.response.body", "body": data, "more_body": True})
            data = await self._read()
        if await self._verdict() is not None:
            return False
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True
