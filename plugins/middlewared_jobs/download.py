"""``GET /_download/ID?auth_token=T``: the log of a job as a file."""

from urllib.parse import quote

import anyio
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from middlewared import CallError, Context
from middlewared.context import Services
from middlewared_auth import Tokens
from middlewared_jobs.access import check_readable
from middlewared_jobs.jobs import Jobs

__all__ = ["ROUTE"]


def _refuse(status: int, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status_code=status)


async def download(request: Request) -> Response:
    """Send the log of a job once, for the token of ``core.job_download_logs``."""
    services: Services = request.state.services
    text = request.path_params["id"]
    if not (text.isascii() and text.isdecimal()):
        return _refuse(404, f"No download {text!r}")
    number = int(text)
    who = services.get(Tokens).take(
        request.query_params.get("auth_token", ""),
        request.state.origin,
        attrs={"job": number},
    )
    if who is None:
        return _refuse(401, "The token is missing, used, expired or for another job")
    record = await services.get(Jobs).get(number)
    if record is None:
        return _refuse(404, f"Job {number} does not exist")
    try:
        # What a token is for is chosen by who asks for it: it proves no right.
        check_readable(Context(services, None, who), record)
    except CallError as exc:
        return _refuse(403, exc.text)
    path = anyio.Path(record.logs_path or "")
    if record.logs_path is None or not await path.is_file():
        return _refuse(410, "Log file was removed")
    name = quote(request.query_params.get("filename", f"{number}.log"), safe="")
    return FileResponse(
        path,
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f"attachment; filename*=utf-8''{name}",
            "Cache-Control": "no-store",
        },
    )


ROUTE = Route("/_download/{id}", download, methods=["GET", "POST"])
