"""The resources of the Webex dialect, under ``/v1``.

One endpoint finds the family in the path, so that each refusal has its shape.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from middlewared import Context
from middlewared.http import JsonResponse
from middlewared.settings import Settings
from middlewared_dialects.bodies import read_body, read_json
from middlewared_dialects.entrance import entered
from middlewared_dialects.gateway import Gateway
from middlewared_dialects.organisation import Organisation
from middlewared_dialects.paths import WHOLE
from middlewared_dialects.problems import (
    DialectError,
    MethodNotAllowed,
    Problem,
    to_be_told,
)
from middlewared_dialects.publications import Published
from middlewared_dialects.spelling import read_webex_id
from middlewared_dialects.webex.documents import (
    Rendering,
    error_item,
    errors_page,
    failure_item,
)
from middlewared_dialects.webex.families import FAMILIES, INVITES, Family
from middlewared_dialects.webex.publication import Webex, WebexPublication
from middlewared_dialects.webex.refusals import UnsupportedMedia, refusal
from middlewared_jobs import JobOptions, JobRecord

__all__ = ["ROUTES"]

PREFIX = "/v1/telephony/config/jobs"
INVITES_PATH = "/v1/identity/organizations/{org}/jobs/sendActivationEmails"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
#: Jobs on a page, by default and at most.
LIST_DEFAULT, LIST_MAX = 20, 200


class Visit:
    """One request for a family, by somebody who is let in."""

    def __init__(
        self,
        request: Request,
        context: Context,
        published: Published[WebexPublication],
        target: str | None,
    ) -> None:
        self.request = request
        self.published = published
        self.family = published.options.of
        self.target = target
        self.gateway = Gateway(context, context.get(Webex))
        organisation = context.get(Organisation)
        self._organisation = organisation
        self.rendering = Rendering(self.family, organisation, context.clock.time_ms())

    async def start(self) -> Response:
        """Start a job, or only check what it would do."""
        body = await self._body()
        options = self.published.options
        context = self.gateway.context
        if options.validate and _only_validates(body):
            checked = await context.call(options.validate, body)
            return JsonResponse({"response": {"usersList": checked}}, 200)
        params = {options.body: body} if options.body else body
        chosen = JobOptions(
            target_customer=self.target,
            tracking_id=self.request.headers.get("TrackingID"),
        )
        record = await self.gateway.submit(self.published, params, chosen)
        job = self.rendering.started(record)
        answer = {"response": job | {"jobDetails": job}} if self.family.wrapped else job
        return JsonResponse(answer, self.family.start or 202)

    async def _body(self) -> dict[str, Any]:
        raw = await read_body(self.request)
        if not raw and self.family is INVITES:
            return {}
        media = self.request.headers.get("content-type", "")
        if media.partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMedia(media)
        return read_json(raw, dict[str, Any])

    async def list_jobs(self) -> Response:
        """List the jobs of the family, newest first."""
        start, most = self._page(LIST_DEFAULT, LIST_MAX)
        filters: list[Any] = []
        if self.target is not None:
            mine = ["target_customer", "=", self.target]
            own = ["target_customer", "=", None]
            default = self.target == self._organisation.id
            filters = [["OR", [mine, own]] if default else mine]
        page = await self.gateway.list(
            [self.published.name], filters, offset=start, limit=most
        )
        items = [
            self.rendering.listed(record, await self._executions(record))
            for record in page.records
        ]
        answer = JsonResponse({"items": items})
        self._link_next(answer, start, most, page.total)
        return answer

    async def show(self, number: str) -> Response:
        """Show one job."""
        record = await self._find(number)
        shown = self.rendering.by_id(record, await self._executions(record))
        return JsonResponse(shown)

    async def errors(self, number: str) -> Response:
        """List the items that a job could not do."""
        record = await self._find(number)
        most = self.family.errors_max
        start, limit = self._page(most, most)
        found = await self.gateway.item_errors(record, start, limit)
        items = [error_item(record, error) for error in found]
        total = record.item_errors
        if not items and not start and record.error is not None:
            items, total = [failure_item(record)], 1
        answer = JsonResponse(errors_page(items, start, limit, total))
        self._link_next(answer, start, limit, total)
        return answer

    async def change(self, number: str, action: str) -> Response:
        """Pause a job, resume it, or abandon it."""
        record = await self._find(number)
        if action == "abandon":
            await self.gateway.abort(record)
        elif self.family.pause is None:
            raise DialectError(
                Problem.NOT_FOUND, f"Jobs of {self.family.path} cannot be paused"
            )
        elif action == "pause":
            await self.gateway.pause(record)
        elif record.final:
            await self.gateway.restart(record)
        else:
            await self.gateway.resume(record)
        return Response(status_code=self.family.pause or 202)

    async def _find(self, number: str) -> JobRecord:
        record, _ = await self.gateway.find(number, [self.published.name])
        return record

    async def _executions(self, record: JobRecord) -> Sequence[JobRecord]:
        """Give the executions of a job's instance up to it, the oldest first."""
        if not record.is_restart:
            return [record]
        filters = [["instance", "=", record.instance], ["id", "<=", record.id]]
        page = await self.gateway.list(
            [self.published.name], filters, limit=1000, order_by=["id"]
        )
        return page.records

    def _page(self, default: int, most: int) -> tuple[int, int]:
        """Read ``start`` and ``max``; too large a page is cut without a word."""
        numbers = []
        for name, fallback in (("start", 0), ("max", default)):
            text = self.request.query_params.get(name, f"{fallback}")
            if not (text.isascii() and text.isdecimal()) or len(text) > 9:  # noqa: PLR2004 - fits any integer
                raise DialectError(
                    Problem.INVALID, f"{name} is {text!r}, expected a number"
                )
            numbers.append(int(text))
        return numbers[0], max(1, min(numbers[1], most))

    def _link_next(self, answer: Response, start: int, most: int, total: int) -> None:
        """Point to the next page, if there is one (RFC 8288)."""
        if start + most >= total:
            return
        settings: Settings = self.request.state.services.get(Settings)
        url = self.request.url
        query = dict(self.request.query_params) | {
            "start": f"{start + most}",
            "max": f"{most}",
        }
        path = self.request.scope["path"].removeprefix(settings.base_path)
        target = (
            f"{url.scheme}://{url.netloc}{settings.base_path}{path}?{urlencode(query)}"
        )
        answer.headers["Link"] = f'<{target}>; rel="next"'


def _only_validates(body: dict[str, Any]) -> bool:
    lists = body.get("usersList")
    return isinstance(lists, list) and any(
        isinstance(entry, dict) and entry.get("validate") is True for entry in lists
    )


def _split(path: str) -> tuple[Family, list[str]]:
    """Find the family that a path begins with, and what follows.

    Raises:
        DialectError: NOT_FOUND.
    """
    parts = path.strip("/").split("/")
    for length in (1, 2):
        family = FAMILIES.get("/".join(parts[:length]))
        if family is not None and family is not INVITES:
            return family, parts[length:]
    raise DialectError(Problem.NOT_FOUND, f"There is no resource {path!r}")


def _organization(text: str | None) -> str | None:
    """Read the id of the organisation that jobs work on.

    Raises:
        DialectError: INVALID.
    """
    if text is None:
        return None
    found = read_webex_id(text)
    if found is None or found[0] != "ORGANIZATION":
        raise DialectError(Problem.INVALID, f"orgId is {text!r}, expected an id")
    return found[1]


async def _serve(visit: Visit, rest: list[str]) -> Response:
    method, family = visit.request.method, visit.family
    match ("GET" if method == "HEAD" else method, rest):
        case ("POST", []) if family.start is not None:
            return await visit.start()
        case ("GET", []) if family.listed:
            return await visit.list_jobs()
        case ("GET", [number]) if family is not INVITES:
            return await visit.show(number)
        case ("GET", [number, "status"]) if family is INVITES:
            return await visit.show(number)
        case ("GET", [number, "errors"]):
            return await visit.errors(number)
        case (
            "POST",
            [number, "actions", "pause" | "resume" | "abandon" as action, "invoke"],
        ):
            return await visit.change(number, action)
        case (_, [] | [_] | [_, "errors" | "status"] | [_, "actions", _, "invoke"]):
            raise MethodNotAllowed(method)
    raise DialectError(Problem.NOT_FOUND, "There is no such resource")


async def _answer(request: Request, path: str, target: str | None) -> Response:
    family: Family | None = None
    try:
        family, rest = _split(path) if path != INVITES.path else (INVITES, [])
        if family is INVITES:
            below = request.path_params.get("rest", "")
            rest = [part for part in below.split("/") if part]
        async with entered(request) as context:
            published = context.get(Webex).of_family(family)
            if published is None:
                raise DialectError(Problem.NOT_FOUND, f"Nothing runs {family.path}")  # noqa: TRY301 - told as the others
            org = target or request.query_params.get("orgId")
            visit = Visit(request, context, published, _organization(org))
            return await _serve(visit, rest)
    except Exception as exc:  # noqa: BLE001 - it has a shape of its own
        return refusal(to_be_told(exc), family)


async def _jobs(request: Request) -> Response:
    return await _answer(request, request.path_params["rest"], None)


async def _invites(request: Request) -> Response:
    return await _answer(request, INVITES.path, request.path_params["org"])


async def _nothing(request: Request) -> Response:
    text = f"There is no resource {request.scope['path']!r}"
    return refusal(DialectError(Problem.NOT_FOUND, text), None)


ROUTES: list[BaseRoute] = [
    Route(f"{PREFIX}/{{rest:{WHOLE}}}", _jobs, methods=METHODS),
    Route(INVITES_PATH, _invites, methods=METHODS),
    Route(f"{INVITES_PATH}/{{rest:{WHOLE}}}", _invites, methods=METHODS),
    Route(f"/v1/{{rest:{WHOLE}}}", _nothing, methods=METHODS),
]
