"""Files for jobs and from jobs: uploads, and downloads that are whole or an error."""

import errno as _errno
import os
import re
import secrets
import ssl as _ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import msgspec

from middlewared.client.address import Address
from middlewared.client.errors import ConnectionLost, RemoteError
from middlewared.client.jobs import JobHandle
from middlewared.client.web import CHUNK, Answer, Exchange, exchange
from middlewared.errors import CUSTOM_ERRNOS

__all__ = ["Download", "Progress", "Source", "Web", "upload_files"]

#: What is uploaded: the path of a file, or a name and its bytes, whole or in pieces.
Source = str | os.PathLike[str] | tuple[str, bytes | AsyncIterable[bytes]]
#: Called with the bytes that were moved so far.
Progress = Callable[[int], object]

OK, PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE, SERVER_ERROR = 200, 206, 416, 500
#: Seconds after a broken download in which the job shows whether it is to blame.
EXPLAIN_SECONDS = 5.0
#: Attempts to go on with a download whose connection broke.
RESUMES = 5
#: Seconds before the first of them, doubled for each further one.
RESUME_SECONDS = 0.5

_NUMBERS = {
    400: _errno.EINVAL,
    401: 207,
    403: _errno.EACCES,
    404: _errno.ENOENT,
    405: _errno.EINVAL,
    410: _errno.ENOENT,
    413: _errno.EMSGSIZE,
    422: _errno.EINVAL,
    429: _errno.EBUSY,
    503: _errno.EBUSY,
}
_NAMED = re.compile(r"\[(E[A-Z0-9]+)\] ")


class Web(NamedTuple):
    """Where requests beside the WebSocket go.

    Attributes:
        address: of the server.
        ssl: TLS settings, None for the system's.
        open_timeout: seconds to connect.
    """

    address: Address
    ssl: _ssl.SSLContext | None
    open_timeout: float

    def target(self, path: str) -> str:
        """Give a path below the one that the server is served at."""
        return urlsplit(self.address.uri).path.partition("/api/")[0] + path

    def exchange(self) -> AbstractAsyncContextManager[Exchange]:
        """Connect for one request."""
        return exchange(self.address, ssl=self.ssl, open_timeout=self.open_timeout)


def refusal(status: int, text: str) -> RemoteError:
    """Turn the answer to a request that was refused into an error."""
    text = text.strip() or f"the server answered HTTP {status}"
    number = _NUMBERS.get(status, _errno.EFAULT)
    found = _NAMED.match(text)
    if found:
        names = {name: code for code, name in CUSTOM_ERRNOS.items()}
        number = names.get(found[1], getattr(_errno, found[1], number))
    return RemoteError(text, number=number)


async def _read_all(http: Exchange) -> bytes:
    return b"".join([piece async for piece in http.read_body()])


# Uploads


async def upload_files(
    web: Web,
    token: str,
    wanted: Any,
    sources: Sequence[Source],
    progress: Progress | None,
) -> int:
    """Upload files to a job and return its id, once the server has read all of them.

    Raises:
        RemoteError: the server refused; `errno` says how.
        CannotConnect, ConnectionLost: there is no answer.
        OSError: a file cannot be read.
    """
    boundary = secrets.token_hex(16)
    async with web.exchange() as http:
        await http.send_head(
            "POST",
            web.target("/_upload"),
            Authorization=f"Token {token}",
            Content_Type=f"multipart/form-data; boundary={boundary}",
            Transfer_Encoding="chunked",
        )
        body = _body(boundary, msgspec.json.encode(wanted), sources, progress)
        answer = await _send_until_answered(http, body)
        text = await _read_all(http)
    if answer.status != OK:
        raise refusal(answer.status, text.decode(errors="replace"))
    return int(msgspec.json.decode(text)["job_id"])


async def _send_until_answered(http: Exchange, body: AsyncIterator[bytes]) -> Answer:
    """Send a body; a server that refuses answers before it has all of it."""
    answer: Answer | None = None
    failure: Exception = ConnectionLost("the server did not answer the upload")
    async with anyio.create_task_group() as group:

        async def send() -> None:
            nonlocal failure
            try:
                async for data in body:
                    await http.send_data(data)
                await http.send_end()
            except anyio.BrokenResourceError:
                return  # the answer says why, or that there is none
            except Exception as error:  # noqa: BLE001 - the caller's own, raised below
                failure = error
                group.cancel_scope.cancel()

        async def read() -> None:
            nonlocal answer, failure
            try:
                answer = await http.read_head()
            except ConnectionLost as error:
                failure = error
            group.cancel_scope.cancel()

        group.start_soon(send)
        group.start_soon(read)
    if answer is None:
        raise failure
    return answer


async def _body(
    boundary: str, data: bytes, sources: Sequence[Source], progress: Progress | None
) -> AsyncIterator[bytes]:
    yield _part_head(boundary, "data", None) + data + b"\r\n"
    sent = 0
    for source in sources:
        name = source[0] if isinstance(source, tuple) else Path(source).name
        yield _part_head(boundary, "file", name)
        async for piece in _pieces(source):
            yield piece
            sent += len(piece)
            if progress is not None:
                progress(sent)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _part_head(boundary: str, name: str, filename: str | None) -> bytes:
    shown = ""
    if filename is not None:
        # As browsers write it (HTML, multipart/form-data encoding algorithm).
        quoted = filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        shown = f'; filename="{quoted}"'
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'
    ).encode(errors="replace")  # names of files may be bytes that are no text


async def _pieces(source: Source) -> AsyncIterator[bytes]:
    if not isinstance(source, tuple):
        async with await anyio.open_file(source, "rb") as file:
            while piece := await file.read(CHUNK):
                yield piece
    elif isinstance(source[1], bytes):
        for start in range(0, len(source[1]), CHUNK):
            yield source[1][start : start + CHUNK]
    else:
        async for piece in source[1]:
            if piece:
                yield piece


# Downloads


class Download:
    """The output of a job, in pieces: ``async for data in download``, once.

    The iterator ends when the output is complete and the job has succeeded. When the
    output breaks off, it raises what the job raised. When the connection does, a
    buffered download goes on where it was; another raises `ConnectionLost`.

    Attributes:
        job: the job.
        received: bytes so far.
        total: bytes there are, None when that is not known.
    """

    def __init__(
        self, web: Web, target: str, job: JobHandle, *, buffered: bool
    ) -> None:
        self.job = job
        self.received = 0
        self.total: int | None = None
        self._web = web
        self._target = target
        self._buffered = buffered
        self._etag: str | None = None
        self._pieces = self._receive()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        """Take no more: unless it is buffered, the job fails if it is not done."""
        await self._pieces.aclose()

    async def _receive(self) -> AsyncGenerator[bytes]:
        failures = 0
        while True:
            before = self.received
            try:
                async with aclosing(self._fetch()) as pieces:
                    async for data in pieces:
                        self.received += len(data)
                        yield data
            except ConnectionLost:
                failures = failures + 1 if self.received == before else 1
                if not self._buffered or failures > RESUMES:
                    await self._explain()
                    raise
                await anyio.sleep(RESUME_SECONDS * 2 ** (failures - 1))
            else:
                return

    async def _fetch(self) -> AsyncGenerator[bytes]:
        """Give what is still missing, from one response."""
        headers = {}
        if self.received:
            headers = {"Range": f"bytes={self.received}-"}
            if self._etag is not None:
                headers["If_Range"] = self._etag
        async with self._web.exchange() as http:
            await http.send_head("GET", self._target, **headers)
            await http.send_end()
            answer = await http.read_head()
            if self.received and answer.status == RANGE_NOT_SATISFIABLE:
                return  # there is no more
            await self._check(answer, http)
            async for data in http.read_body():
                yield data

    async def _check(self, answer: Answer, http: Exchange) -> None:
        """Let a response pass that has what is missing."""
        if answer.status != (PARTIAL_CONTENT if self.received else OK):
            text = (await _read_all(http)).decode(errors="replace")
            if answer.status == SERVER_ERROR:
                await self._explain()
            raise refusal(answer.status, text)
        self._etag = answer.headers.get("etag")
        length = answer.headers.get("content-length")
        self.total = None if length is None else self.received + int(length)

    async def _explain(self) -> None:
        """Raise the job's own error, if it has one: that is why the output broke off.

        Raises:
            JobFailed, JobAborted: as the job ended.
        """
        with anyio.move_on_after(EXPLAIN_SECONDS):
            await self.job
