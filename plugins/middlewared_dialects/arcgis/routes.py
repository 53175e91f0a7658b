"""The resources of the ArcGIS Mission dialect, under ``/arcgis/rest``.

Each answers GET and POST, as HTML by default or as JSON (``f``), and errors with HTTP
status 200 and an error object.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from middlewared import Context
from middlewared.context import Services
from middlewared.settings import Settings
from middlewared_dialects.arcgis.documents import failed, job_id_of, job_of, root_of
from middlewared_dialects.arcgis.pages import Link, page
from middlewared_dialects.arcgis.publication import Arcgis, ArcgisPublication
from middlewared_dialects.bodies import read_body, read_form
from middlewared_dialects.entrance import entered, make_token, prove_client, prove_user
from middlewared_dialects.gateway import Gateway
from middlewared_dialects.paths import WHOLE
from middlewared_dialects.problems import (
    STATUS,
    DialectError,
    MethodNotAllowed,
    Problem,
    problem_of,
    sentence_of,
    to_be_told,
)
from middlewared_dialects.publications import Published
from middlewared_dialects.texts import params_from_texts
from middlewared_jobs import JobRecord, State

__all__ = ["ROUTES"]

ROOT = "/arcgis/rest"
FORM = "application/x-www-form-urlencoded"
NOT_SERVED = ["PUT", "PATCH", "DELETE"]
METHODS = ["GET", "POST", *NOT_SERVED]
#: Minutes that a token is good for, by default and at most.
TOKEN_MINUTES = 60
MAX_TOKEN_MINUTES = 14 * 24 * 60
MAX_LISTED = 10_000

_API_KEY = re.compile(r"\d+-[A-Za-z0-9]+")
_CALLBACK = re.compile(r"[A-Za-z_$][\w$.]{0,100}")
#: Fields of a request that are no params of an operation.
_CONTROL = frozenset({"f", "token", "async", "callback"})


class Answer(msgspec.Struct):
    """What a resource has to say, in whatever format is asked for.

    Attributes:
        title: heading of its page.
        document: what it is.
        links: pages around it.
        fields: of the form on its page.
        action: path where the form goes.
        live: it changes by itself.
    """

    title: str
    document: Any
    links: list[Link] = []
    fields: list[str] = []
    action: str = ""
    live: bool = False


class Asked:
    """A request: its fields, from the query and the form, and its format."""

    def __init__(self, request: Request, fields: Mapping[str, str]) -> None:
        self.request = request
        self.fields = fields
        self.format = fields.get("f", "html").lower()
        settings: Settings = request.state.services.get(Settings)
        self._base = settings.base_path

    def path(self, path: str, **fields: Any) -> str:
        """Give the path of a resource as clients see it, with the token if there is."""
        token = self.fields.get("token")
        query = fields | ({"token": token} if token else {})
        return f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")

    @property
    def base_url(self) -> str:
        """Where the server is."""
        url = self.request.url
        return f"{url.scheme}://{url.netloc}{self._base}"

    def check_format(self) -> None:
        """Let the formats pass that there are.

        Raises:
            DialectError: INVALID.
        """
        if self.format not in ("html", "json", "pjson"):
            text = f"f is {self.format!r}, expected html, json or pjson"
            raise DialectError(Problem.INVALID, text)

    @contextlib.asynccontextmanager
    async def sender(self) -> AsyncIterator[Gateway[ArcgisPublication]]:
        """Let the sender in.

        Raises:
            DialectError: it is not good, or missing.
        """
        header = self.request.headers.get("X-Esri-Authorization", "")
        scheme, _, value = header.partition(" ")
        bearer = value if scheme.lower() == "bearer" else self.fields.get("token")
        async with entered(self.request, bearer=bearer) as context:
            yield Gateway(context, context.get(Arcgis))


Resource = Callable[[Asked], Awaitable[Answer | Response]]


def _answering(resource: Resource) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        fields = dict(request.query_params)
        asked = Asked(request, fields)
        try:
            _check_method(request.method)
            if request.method == "POST":
                form = read_form(await _form_of(request))
                # What a person left empty on a page takes nothing from the query.
                given = {name: value for name, value in form.items() if value}
                asked = Asked(request, fields | given)
            asked.check_format()
            found = await resource(asked)
        except Exception as exc:  # noqa: BLE001 - it has a shape of its own
            found = _refusal(asked, to_be_told(exc))
        return found if isinstance(found, Response) else _rendered(asked, found)

    return answer


def _check_method(method: str) -> None:
    """Let pass what the service knows.

    Raises:
        MethodNotAllowed: another.
    """
    if method in NOT_SERVED:
        raise MethodNotAllowed(method)


async def _form_of(request: Request) -> bytes:
    """Read a body that has to be a form, when it says what it is."""
    media = request.headers.get("content-type", FORM).partition(";")[0].strip()
    if media.lower() != FORM:
        text = f"Content-Type is {media!r}, expected {FORM}"
        raise DialectError(Problem.INVALID, text)
    return await read_body(request)


def _refusal(asked: Asked, exc: Exception) -> Answer:
    problem, text = problem_of(exc), sentence_of(exc)
    code = 405 if isinstance(exc, MethodNotAllowed) else STATUS[problem]
    if problem is Problem.UNAUTHENTICATED:
        sent = asked.fields.get("token") or asked.request.headers.get("Authorization")
        code, text = (498, "Invalid token.") if sent else (499, "Token required.")
        return Answer(
            text,
            failed(code, text),
            fields=["username", "password"],
            action=asked.path(f"{ROOT}/generateToken"),
        )
    links = [(asked.path(ROOT), "Root")]
    return Answer("Error", failed(code, text), links=links)


def _rendered(asked: Asked, answer: Answer) -> Response:
    headers = {"Cache-Control": "no-store"}
    encoded = msgspec.json.encode(answer.document)
    callback = asked.fields.get("callback")
    if asked.format == "html":
        shown = page(
            answer.title,
            msgspec.to_builtins(answer.document),
            links=answer.links,
            fields=answer.fields,
            action=answer.action,
            live=answer.live,
        )
        # Without a referrer, browsers send forms with the origin "null".
        headers["Referrer-Policy"] = "same-origin"
        return Response(shown, media_type="text/html", headers=headers)
    if asked.format == "pjson":
        pretty = msgspec.json.format(encoded, indent=1)
        return Response(pretty, media_type="text/plain", headers=headers)
    if callback and _CALLBACK.fullmatch(callback):
        script = b"%b(%b);" % (callback.encode(), encoded)
        return Response(script, media_type="application/javascript", headers=headers)
    return Response(encoded, media_type="application/json", headers=headers)


async def _root(asked: Asked) -> Answer:
    links = [(asked.path(f"{ROOT}/jobs"), "Jobs")]
    services: Services = asked.request.state.services
    for published in services.get(Arcgis):
        path = published.options.operation
        links.append((asked.path(f"{ROOT}/{path}"), path))
    return Answer("ArcGIS REST", root_of(asked.base_url), links=links)


async def _jobs(asked: Asked) -> Answer:
    number = asked.fields.get("num", "100")
    if not number.isdecimal() or not 0 < int(number) <= MAX_LISTED:
        text = f"num is {number!r}, expected 1 to {MAX_LISTED}"
        raise DialectError(Problem.INVALID, text)
    async with asked.sender() as gateway:
        shown = gateway.context.get(Arcgis)
        order = "-id" if asked.fields.get("sortByDate") == "true" else "id"
        page = await gateway.list(shown.methods, limit=int(number), order_by=[order])
        ids = [job_id_of(record) for record in page.records]
        document: dict[str, Any] = {"asyncJobs": ids}
        if asked.fields.get("detail") == "true":
            full = [_document(record, shown) for record in page.records]
            document = {"asyncJobs": full, "total": page.total}
    links = [(asked.path(ROOT), "Root")]
    links += [(asked.path(f"{ROOT}/jobs/{number}"), number) for number in ids]
    return Answer("Jobs", document, links=links)


def _document(record: JobRecord, shown: Arcgis) -> Any:
    published = shown.get(record.method)
    assert published is not None  # noqa: S101 - only these are listed
    return job_of(record, published.options)


async def _job(asked: Asked) -> Answer:
    async with asked.sender() as gateway:
        record, published = await gateway.find(asked.request.path_params["id"])
    return _shown_job(asked, record, published)


def _shown_job(
    asked: Asked, record: JobRecord, published: Published[ArcgisPublication]
) -> Answer:
    number = job_id_of(record)
    links = [(asked.path(ROOT), "Root"), (asked.path(f"{ROOT}/jobs"), "Jobs")]
    if not record.final:
        links.append((asked.path(f"{ROOT}/jobs/{number}/cancel"), "Cancel"))
    document = job_of(record, published.options)
    return Answer(f"Job {number}", document, links=links, live=not record.final)


async def _cancel(asked: Asked) -> Answer:
    async with asked.sender() as gateway:
        record, _ = await gateway.find(asked.request.path_params["id"])
        if record.final:
            text = f"Unable to cancel job :[{job_id_of(record)}]"
            document = {"status": "error", "messages": [text], "code": 500}
            return Answer("Cancel", document, links=_back(asked, record))
        await gateway.abort(record)
    return Answer("Cancel", {"status": "success"}, links=_back(asked, record))


def _back(asked: Asked, record: JobRecord) -> list[Link]:
    number = job_id_of(record)
    return [(asked.path(f"{ROOT}/jobs/{number}"), f"Job {number}")]


async def _operation(asked: Asked) -> Answer:
    path = asked.request.path_params["operation"].rstrip("/")
    if not path:
        return await _root(asked)
    services: Services = asked.request.state.services
    published = services.get(Arcgis).find_operation(path)
    if published is None:
        raise DialectError(Problem.NOT_FOUND, f"There is no resource {path!r}")
    params = published.method.params
    if asked.request.method == "GET" and asked.format == "html":
        fields = [*params.names, "async", "token"]
        here = asked.path(f"{ROOT}/{path}")
        links = [(asked.path(ROOT), "Root")]
        document = {"operation": published.options.type}
        return Answer(path, document, links=links, fields=fields, action=here)
    texts = {n: v for n, v in asked.fields.items() if n not in _CONTROL and v}
    async with asked.sender() as gateway:
        record = await gateway.submit(published, params_from_texts(params, texts))
        if asked.fields.get("async", "false").lower() == "true":
            return _started(asked, record)
        record = await gateway.wait(record)
    if record.state is not State.SUCCESS:
        text = record.error or "Job was cancelled."
        raise DialectError(Problem.INTERNAL, text)
    result = msgspec.json.decode(record.result)
    document = {"status": "success", "results": result, **record.attributes}
    return Answer(path, document, links=_back(asked, record))


def _started(asked: Asked, record: JobRecord) -> Answer:
    number = job_id_of(record)
    url = f"{asked.base_url}{ROOT}/jobs/{number}"
    document = {"jobId": number, "jobUrl": url, "status": "success"}
    return Answer("Started", document, links=_back(asked, record))


async def _generate_token(asked: Asked) -> Answer | Response:
    fields = asked.fields
    if asked.request.method != "POST":
        if asked.format == "html":
            action = asked.path(f"{ROOT}/generateToken")
            return Answer(
                "Generate token", {}, fields=["username", "password"], action=action
            )
        text = "Credentials are sent with POST, in the body"
        raise DialectError(Problem.INVALID, text)
    minutes = fields.get("expiration", f"{TOKEN_MINUTES}")
    if not minutes.isdecimal() or not 0 < int(minutes) <= MAX_TOKEN_MINUTES:
        text = f"expiration is {minutes!r}, expected minutes up to {MAX_TOKEN_MINUTES}"
        raise DialectError(Problem.INVALID, text)
    name, password = fields.get("username", ""), fields.get("password", "")
    request = asked.request
    try:
        prove = prove_client if _API_KEY.fullmatch(password) else prove_user
        who = await prove(request, name, password)
    except DialectError as exc:
        if exc.problem is not Problem.UNAUTHENTICATED:
            raise
        details = ["Invalid username or password."]
        return Answer("Error", failed(400, "Unable to generate token.", details))
    token = make_token(request, who, 60 * int(minutes))
    if asked.format == "html":
        home = Asked(request, {"token": token})
        return RedirectResponse(home.path(f"{ROOT}/jobs"), 303)
    clock = Context(request.state.services).clock
    expires = clock.time_ms() + 60_000 * int(minutes)
    secure = bool(request.state.origin.secure)
    return Answer("Token", {"token": token, "expires": expires, "ssl": secure})


def _route(path: str, resource: Resource) -> Route:
    return Route(f"{ROOT}{path}", _answering(resource), methods=METHODS)


ROUTES: list[BaseRoute] = [
    _route("", _root),
    _route("/jobs", _jobs),
    _route("/jobs/", _jobs),
    _route("/jobs/{id}", _job),
    _route("/jobs/{id}/cancel", _cancel),
    _route("/generateToken", _generate_token),
    Route(
        "/arcgis/tokens/generateToken",
        _answering(_generate_token),
        methods=METHODS,
    ),
    _route(f"/{{operation:{WHOLE}}}", _operation),
]
