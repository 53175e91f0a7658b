"""The calls of the InfoLink dialect, under ``/api/v1``, with and without ``.jsp``.

Every answer has HTTP status 200 and says in its body whether it is an error.
"""

import contextlib
import datetime as dt
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from middlewared import CallError, Context
from middlewared.http import JsonResponse
from middlewared_dialects.bodies import read_body, read_form, read_json
from middlewared_dialects.entrance import (
    entered,
    make_token,
    no_token,
    prove_client,
    prove_user,
)
from middlewared_dialects.gateway import Gateway
from middlewared_dialects.infolink.documents import (
    Activity,
    Failure,
    Message,
    Started,
    Success,
    activity_of,
    job_id_of,
    results_of,
    status_of,
    zone_of,
)
from middlewared_dialects.infolink.publication import (
    RUN_SCENARIO,
    Infolink,
    InfolinkPublication,
    choose,
    params_of,
)
from middlewared_dialects.infolink.requests import MAX_LOOKED, ExecuteJob, Wanted
from middlewared_dialects.paths import WHOLE
from middlewared_dialects.problems import (
    DialectError,
    MethodNotAllowed,
    Problem,
    sentence_of,
    to_be_told,
)
from middlewared_jobs import JobOptions, JobRecord, Phase, State

__all__ = ["ROUTES"]

#: Seconds that an access token is good for, and one to get the next with.
ACCESS_SECONDS = 1800
REFRESH_SECONDS = 14 * 86400
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
#: Jobs that the activity log reads at a time.
PAGE = 500

Jobs = Gateway[InfolinkPublication]
Call = Callable[[Request], Awaitable[Any]]


def _flag(value: bool | str, name: str) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise DialectError(Problem.INVALID, f"{name} is {value!r}, expected true or false.")


def _answering(call: Call) -> Callable[[Request], Awaitable[Response]]:
    """Put what a call gives, or why it gives nothing, into the envelope."""

    async def answer(request: Request) -> Response:
        try:
            found: Any = Success(await call(request))
        except Exception as exc:  # noqa: BLE001 - it has a shape of its own
            found = Failure(Message(sentence_of(to_be_told(exc))))
        return JsonResponse(found, headers={"Cache-Control": "no-store"})

    return answer


def _query(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise DialectError(Problem.INVALID, f"{name} parameter is required.")
    return value


@contextlib.asynccontextmanager
async def _sender(request: Request, api_key: str | None) -> AsyncIterator[Context]:
    """Let the sender in, by its header or by its API key.

    Raises:
        DialectError: it is not good, or missing.
    """
    try:
        async with entered(request, bearer=api_key) as context:
            yield context
    except DialectError as exc:
        if exc.problem is Problem.UNAUTHENTICATED and api_key is None:
            raise DialectError(exc.problem, "apiKey parameter is required.") from None
        raise


def _gateway(context: Context) -> tuple[Jobs, Infolink]:
    found = context.get(Infolink)
    return Gateway(context, found), found


async def _execute(request: Request) -> Any:
    wanted = read_json(await read_body(request), ExecuteJob)
    is_async = _flag(wanted.is_async, "isAsync")
    no_schema = _flag(wanted.no_result_schema, "noResultSchema")
    async with _sender(request, wanted.api_key) as context:
        gateway, published = _gateway(context)
        chosen = choose(published, str(wanted.app_id), wanted.operation)
        await _check_new(gateway, wanted.job_id)
        options = JobOptions(key=wanted.job_id, app_id=str(wanted.app_id))
        params = params_of(wanted.operation)
        record = await gateway.submit(chosen, params, options)
        if is_async:
            return Started(job_id_of(record))
        record = await gateway.wait(record)
    if record.state is not State.SUCCESS:
        text = record.error or f"Job {job_id_of(record)} was stopped."
        raise DialectError(Problem.INTERNAL, text)
    return {"results": results_of(record, schema=not no_schema)}


async def _check_new(gateway: Jobs, job_id: str | None) -> None:
    """Refuse an id that a job has already."""
    if job_id is None:
        return
    with contextlib.suppress(DialectError):
        await gateway.find(job_id)
        raise CallError(f"Job {job_id} exists already.", errno.EEXIST)


async def _find(gateway: Jobs, request: Request) -> JobRecord:
    app, job_id = _query(request, "appId"), _query(request, "jobId")
    record, published = await gateway.find_chosen(job_id)
    if published.options.app != app:
        raise DialectError(Problem.NOT_FOUND, f"There is no job {job_id!r}")
    return record


async def _status(request: Request) -> Any:
    async with _sender(request, request.query_params.get("apiKey")) as context:
        gateway, _ = _gateway(context)
        return status_of(await _find(gateway, request))


async def _stop(request: Request) -> Any:
    async with _sender(request, request.query_params.get("apiKey")) as context:
        gateway, _ = _gateway(context)
        record = await _find(gateway, request)
        if record.final:
            return {"status": "already completed"}
        if record.phase is Phase.ABORTING:
            return {"status": "already being stopped"}
        await gateway.abort(record)
        return {"status": "stop started"}


def _wanted(query: Mapping[str, str]) -> tuple[Wanted, dt.tzinfo, list[Any]]:
    try:
        wanted = msgspec.convert(dict(query), Wanted, strict=False)
        zone = zone_of(wanted.time_zone)
        filters: list[Any] = []
        for name, operator in (("before", "<="), ("after", ">")):
            text = getattr(wanted, name)
            if text is not None:
                moment = dt.datetime.fromisoformat(text).replace(tzinfo=zone)
                shown = moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat()
                filters.append(["time_created.$date", operator, shown])
    except (ValueError, OverflowError) as exc:  # msgspec.ValidationError, too
        raise DialectError(Problem.INVALID, str(exc)) from None
    return wanted, zone, filters


async def _activity_log(request: Request) -> Any:
    wanted, zone, filters = _wanted(request.query_params)
    async with _sender(request, wanted.api_key) as context:
        gateway, published = _gateway(context)
        log: list[Activity] = []
        # What runs comes first, then the newest.
        for ended in ("=", "!="):
            conditions = [["time_finished", ended, None], *filters]
            async for record in _newest(gateway, published, conditions):
                found = published.get(record.method)
                if found is None or len(log) == wanted.limit:
                    break
                activity = activity_of(record, found.options, zone)
                if wanted.fits(activity):
                    log.append(activity)
        return log


async def _newest(
    gateway: Jobs, published: Infolink, conditions: Sequence[Any]
) -> AsyncIterator[JobRecord]:
    for offset in range(0, MAX_LOOKED, PAGE):
        page = await gateway.list(
            published.methods, conditions, offset=offset, limit=PAGE
        )
        for record in page.records:
            yield record
        if len(page.records) < PAGE:
            return


async def _scenarios(request: Request) -> Any:
    lineage = _flag(request.query_params.get("withLineage", False), "withLineage")
    async with _sender(request, request.query_params.get("apiKey")) as context:
        _, published = _gateway(context)
        app = request.query_params.get("appId")
        found = []
        for one in published:
            options = one.options
            with contextlib.suppress(CallError):
                one.method.access.check(context.credentials)
                if options.op == RUN_SCENARIO and app in (None, options.app):
                    entry: dict[str, Any] = {
                        "name": options.scenario,
                        "appId": options.app,
                        "title": options.shown_title,
                        "description": one.method.doc.partition("\n")[0],
                        "parameters": list(one.method.params.names),
                    }
                    found.append(entry | ({"lineage": []} if lineage else {}))
        return found


async def _token(request: Request) -> Response:
    """Make an access token (RFC 6749, sections 4.3, 4.4 and 6)."""
    try:
        form = read_form(await read_body(request))
        client, secret = form.get("client_id", ""), form.get("client_secret", "")
        match form.get("grant_type"):
            case "client_credentials":
                who = await prove_client(request, client, secret)
            case "password":
                await prove_client(request, client, secret)
                name, password = form.get("username", ""), form.get("password", "")
                who = await prove_user(request, name, password)
            case "refresh_token":
                refresh = form.get("refresh_token", "")
                who = await prove_client(request, refresh, refresh)
            case _:
                return JsonResponse({"error": "unsupported_grant_type"}, 400)
    except DialectError as exc:
        return no_token(exc)
    made = {
        "access_token": make_token(request, who, ACCESS_SECONDS),
        "refresh_token": make_token(request, who, REFRESH_SECONDS),
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS,
    }
    return JsonResponse(made, headers={"Cache-Control": "no-store"})


def _routes(name: str, call: Call, method: str) -> list[BaseRoute]:
    async def called(request: Request) -> Any:
        allowed = ("GET", "HEAD") if method == "GET" else (method,)
        if request.method not in allowed:
            raise MethodNotAllowed(request.method)
        return await call(request)

    endpoint = _answering(called)
    paths = (f"/api/v1/{name}", f"/api/v1/{name}.jsp")
    return [Route(path, endpoint, methods=METHODS) for path in paths]


async def _nothing(request: Request) -> Any:
    text = f"There is no call {request.path_params['rest']!r}."
    raise DialectError(Problem.NOT_FOUND, text)


ROUTES: list[BaseRoute] = [
    *_routes("executeJob", _execute, "POST"),
    *_routes("getJobStatus", _status, "GET"),
    *_routes("stopJob", _stop, "GET"),
    *_routes("stop", _stop, "GET"),
    *_routes("getActivityLog", _activity_log, "GET"),
    *_routes("getScenarios", _scenarios, "GET"),
    Route("/api/v1/oauth2/token", _token, methods=["POST"]),
    Route(f"/api/v1/{{rest:{WHOLE}}}", _answering(_nothing), methods=METHODS),
]
