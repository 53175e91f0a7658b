"""``/_download/ID?auth_token=T``: log, result or output of a job over HTTP."""

from pathlib import Path

import anyio
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from middlewared import CallError, Context
from middlewared.context import Services
from middlewared_jobs.access import check_readable
from middlewared_jobs.delivery import attachment, guard_send, refuse
from middlewared_jobs.downloads import Downloads
from middlewared_jobs.jobs import Jobs

__all__ = ["ROUTE", "GuardedFile", "KeptFile", "KeptResult"]


class GuardedFile(FileResponse):
    """A file as it is now, in parts if asked for; given up when nobody takes it.

    Args:
        path: the file.
        headers: of the answer.
        stall: seconds that the client may take nothing.
    """

    def __init__(self, path: str, headers: dict[str, str], stall: float) -> None:
        super().__init__(path, headers=headers, media_type=headers["Content-Type"])
        self._stall = stall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        guarded = guard_send(Request(scope), send, self._stall)
        await super().__call__(scope, receive, guarded)


class KeptFile:
    """A file of a job, its log or a large result, once.

    Args:
        job: the job.
        path: the file.
        filename: what the client shall call it.
        stall: seconds that the client may take nothing.
        removed: what to answer when it is not there any more.
    """

    again = False

    def __init__(
        self, job: int, path: Path, filename: str, *, stall: float, removed: str
    ) -> None:
        self.job = job
        self._path = path
        self._filename = filename
        self._stall = stall
        self._removed = removed

    async def answer(self, request: Request) -> Response:
        """Send the file as it is now."""
        if not await anyio.Path(self._path).is_file():
            return refuse(410, self._removed)
        return GuardedFile(str(self._path), attachment(self._filename), self._stall)

    def close(self) -> None:
        """Leave the file where it is."""


class KeptResult:
    """The result of a job from its record, once."""

    again = False

    def __init__(self, job: int, filename: str) -> None:
        self.job = job
        self._filename = filename

    async def answer(self, request: Request) -> Response:
        """Send the result."""
        services: Services = request.state.services
        record = await services.get(Jobs).get(self.job)
        if record is None:
            return refuse(404, f"Job {self.job} does not exist")
        return Response(bytes(record.result), headers=attachment(self._filename))

    def close(self) -> None:
        """Leave the record as it is."""


async def download(request: Request) -> Response:
    """Send what the token is for, if its owner may see the job."""
    text = request.path_params["id"]
    if not (text.isascii() and text.isdecimal()):
        return refuse(404, f"No download {text!r}")
    return await _answer(request, int(text))


async def _answer(request: Request, number: int) -> Response:
    services: Services = request.state.services
    downloads = services.get(Downloads)
    token = request.query_params.get("auth_token", "")
    found = downloads.find(token)
    if request.method == "HEAD" and found is not None and not found.again:
        return refuse(405, "What can be fetched once cannot be looked at before")
    who = downloads.identify(number, token, request.state.origin)
    if who is None:
        return refuse(401, "The token is missing, used, expired or for another job")
    record = await services.get(Jobs).get(number)
    if record is None:
        return refuse(404, f"Job {number} does not exist")
    try:
        # What a token is for is chosen by who asks for it: it proves no right.
        check_readable(Context(services, None, who), record)
    except CallError as exc:
        return refuse(403, exc.text)
    found = downloads.take(number, token)
    if found is None:
        return refuse(410, "It is not on offer: fetched already, expired, or never was")
    return await found.answer(request)


ROUTE = Route("/_download/{id}", download, methods=["GET", "POST"])
