"""``POST /_upload``: starts a job with files, which it reads as they come.

The body is multipart: first a part ``data``, the JSON ``{"method", "params"}``, then
one to five parts ``file`` (protocol page, section 7).
"""

import errno
from typing import Any

import anyio
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from middlewared import CallError, Context, ejson
from middlewared.http import JsonResponse
from middlewared.httpsession import http_session
from middlewared.plugin import Method
from middlewared_jobs.delivery import refuse
from middlewared_jobs.feed import Feed
from middlewared_jobs.multipart import (
    Multipart,
    MultipartError,
    PartBegan,
    PartData,
    Piece,
)
from middlewared_jobs.places import Places
from middlewared_jobs.plumbing import Plumbing
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.starting import UnfitMethod, bind_job, start_job

__all__ = ["UPLOAD", "Uploads"]

#: Parts ``file`` that an upload may have.
MAX_FILES = 5


class Refused(Exception):
    """The upload is not taken, or no further.

    Args:
        status: of the answer.
        text: why, one sentence.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Wanted(msgspec.Struct, frozen=True):
    """The part ``data``.

    Attributes:
        method: full name of a job method that takes an upload.
        params: by position or by name.
    """

    method: str
    params: list[Any] | dict[str, Any] = []


class Uploads(Places):
    """Places for uploads."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, "uploads")


class _Upload:
    """One upload: takes the pieces of its body in their order.

    Attributes:
        job: id of the job, None before the first file.
    """

    def __init__(self, ctx: Context) -> None:
        self.job: int | None = None
        self._ctx = ctx
        self._limit = ctx.settings.max_message
        self._data: bytearray | None = None
        self._call: tuple[Method, list[Any]] | None = None
        self._feed: Feed | None = None
        self._files = 0

    async def take(self, piece: Piece) -> None:
        """Take a piece.

        Raises:
            Refused: it is not what should come now, or the job is refused.
        """
        match piece:
            case PartBegan():
                await self._begin(piece)
            case PartData(data) if self._feed is not None:
                await self._feed.write(data)
            case PartData(data):
                self._collect(data)
            case _ if self._feed is not None:
                self._feed.finish_file()
            case _:
                self._call = self._bind()

    async def _begin(self, part: PartBegan) -> None:
        wanted = "data" if self._data is None else "file"
        if part.name != wanted:
            raise Refused(405, f"Part {part.name!r}, expected {wanted!r}")
        if self._data is None:
            self._data = bytearray()
            return
        self._files += 1
        if self._files > MAX_FILES:
            raise Refused(405, f"More than {MAX_FILES} files")
        if self._feed is None:
            await self._start(part.filename)
        else:
            self._feed.begin_file(part.filename)

    def _collect(self, data: bytes) -> None:
        assert self._data is not None  # noqa: S101 - the part has begun
        self._data += data
        if len(self._data) > self._limit:
            raise Refused(413, f"Part 'data' has more than {self._limit} bytes")

    def _bind(self) -> tuple[Method, list[Any]]:
        try:
            value = ejson.decode(bytes(self._data or b""))
            wanted = msgspec.convert(value, Wanted)
        except msgspec.ValidationError as exc:
            raise Refused(422, f"Part 'data': {exc}") from None
        except ValueError as exc:
            raise Refused(400, f"Part 'data' is no JSON: {exc}") from None
        try:
            return bind_job(self._ctx, wanted.method, wanted.params, "input")
        except UnfitMethod as exc:
            raise Refused(422, exc.text) from None
        except CallError as exc:
            status = 403 if exc.errno == errno.EACCES else 412
            raise Refused(status, str(exc).strip()) from None

    async def _start(self, filename: str) -> None:
        """Start the job with its first file."""
        assert self._call is not None  # noqa: S101 - part data has ended
        method, values = self._call
        self._feed = Feed()
        self._feed.begin_file(filename)
        try:
            plumbing = Plumbing(feed=self._feed)
            self.job = await start_job(self._ctx, method, values, plumbing)
        except CallError as exc:
            raise Refused(412, str(exc).strip()) from None

    def finish(self) -> int:
        """Tell the job that everything is there; give its id.

        Raises:
            Refused: there was no file, so there is no job.
        """
        if self.job is None or self._feed is None:
            raise Refused(405, "No part 'file'")
        self._feed.finish()
        return self.job

    def break_off(self, why: str) -> None:
        """Tell the job that the rest does not come."""
        if self._feed is not None:
            self._feed.break_off(why)


async def _receive(request: Request, upload: _Upload, stall: float) -> int:
    """Take the whole body; give the id of the job."""
    multipart = Multipart(request.headers.get("content-type", ""))
    stream = aiter(request.stream())
    while True:
        # Only the client's silence counts, not the time that the job takes.
        with anyio.fail_after(stall):
            chunk = await anext(stream, None)
        if chunk is None:
            break
        for piece in multipart.feed(chunk):
            await upload.take(piece)
    multipart.finish()
    return upload.finish()


async def _answer(request: Request, ctx: Context) -> Response:
    upload = _Upload(ctx)
    why = "the server broke the upload off"
    try:
        number = await _receive(request, upload, ctx.get(JobSettings).transfer_stall)
    except Refused as exc:
        why = f"the upload was refused: {exc}"
        return refuse(exc.status, str(exc))
    except MultipartError as exc:
        why = f"the upload broke off: {exc}"
        return refuse(400, str(exc))
    except ClientDisconnect:
        why = "the client of the upload is gone"
        return Response(status_code=400)  # nobody reads it
    except TimeoutError:
        why = "the client of the upload sent nothing more"
        request.state.cut()
        return Response(status_code=408)  # nobody reads it
    else:
        return JsonResponse({"job_id": number})
    finally:
        upload.break_off(why)


async def upload(request: Request) -> Response:
    """Take an upload; answered when all of it was read, the job may still run."""
    token = request.query_params.get("auth_token")
    try:
        async with http_session(request, token=token) as session:
            if session.credentials is None:
                return refuse(401, "No credentials")
            return await _find_place(request, session.context)
    except HTTPException as exc:
        scheme = request.headers.get("authorization", "token").partition(" ")[0]
        bad_token = exc.status_code == 401 and scheme.lower() == "token"  # noqa: PLR2004
        status = 403 if bad_token else exc.status_code
        return refuse(status, exc.detail.strip())


async def _find_place(request: Request, ctx: Context) -> Response:
    places = ctx.get(Uploads)
    try:
        places.take()
    except CallError as exc:
        return refuse(503, exc.text)
    try:
        return await _answer(request, ctx)
    finally:
        places.give_back()


UPLOAD = [
    Route(path, upload, methods=["POST", "PUT"]) for path in ("/_upload", "/_upload/")
]
