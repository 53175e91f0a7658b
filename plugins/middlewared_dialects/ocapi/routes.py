"""The resources of the OCAPI dialect, under ``/dw/data/v17_2`` and the site prefix."""

import base64
import binascii
from collections.abc import Mapping
from email.message import Message
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from middlewared import Context, ejson
from middlewared.errors import RpcError
from middlewared.http import JsonResponse
from middlewared.settings import Settings
from middlewared_dialects.bodies import read_body, read_form
from middlewared_dialects.entrance import (
    entered,
    make_token,
    no_token,
    prove_client,
)
from middlewared_dialects.gateway import Gateway
from middlewared_dialects.ocapi.documents import (
    VERSION,
    Document,
    execution_of,
    read_version,
    with_state,
)
from middlewared_dialects.ocapi.faults import (
    Fault,
    execution_not_found,
    fault_document,
    fault_of,
    job_fault,
    job_not_found,
    malformed,
)
from middlewared_dialects.ocapi.publication import Ocapi, OcapiPublication
from middlewared_dialects.ocapi.searching import (
    MAX_COUNT,
    Compiler,
    SearchRequest,
    sort_keys,
)
from middlewared_dialects.ocapi.selector import (
    Selection,
    SelectorError,
    parse_selection,
)
from middlewared_dialects.ocapi.xmlform import read_xml, write_xml
from middlewared_dialects.paths import WHOLE
from middlewared_dialects.problems import DialectError, to_be_told
from middlewared_dialects.publications import Published
from middlewared_dialects.settings import DialectSettings
from middlewared_dialects.texts import params_from_texts
from middlewared_jobs import JobRecord

__all__ = ["ROUTES"]

PREFIXES = ("/dw/data", "/s/-/dw/data")
#: As documented, and as the command line tool asks.
TOKEN_PATHS = ("/dw/oauth2/access_token", "/dwsso/oauth2/access_token")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
OVERRIDES = ("PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
XML_TYPES = ("application/xml", "text/xml")
TOKEN_SECONDS = 1800
COUNT_DEFAULT = 25

T = TypeVar("T")


class Parameter(msgspec.Struct):
    """A parameter of an execution."""

    name: str
    value: str = ""


class Visit:
    """One request, by somebody who is let in."""

    def __init__(
        self, request: Request, context: Context, form: "Form", version: str
    ) -> None:
        self.request = request
        self.form = form
        self.version = version
        self.published = context.get(Ocapi)
        self.gateway = Gateway(context, self.published)
        self._settings = context.get(DialectSettings)
        self._now = context.clock.time_ms()

    def _document(
        self, record: JobRecord, published: Published[OcapiPublication]
    ) -> Document:
        names = published.method.params.names
        return execution_of(record, published.options, names, self._now)

    def _job(self, job_id: str) -> Published[OcapiPublication]:
        found = self.published.find_job(job_id)
        if found is None:
            raise job_not_found(job_id)
        return found

    async def list_executions(self, job_id: str) -> Document:
        """List the executions of a job, the newest first."""
        published = self._job(job_id)
        start = self._number("start", 0, None)
        count = self._number("count", COUNT_DEFAULT, MAX_COUNT)
        page = await self.gateway.list([published.name], offset=start, limit=count)
        data = [self._document(record, published) for record in page.records]
        document: Document = {
            "_v": VERSION,
            "_type": "job_execution_result",
            "count": len(data),
            "data": data,
        }
        if start + count < page.total:
            document["next"] = self._url(start + count, count)
        before = _before(start, count, page.total)
        if before is not None:
            document["previous"] = self._url(before, count)
        return document | self.form.echo() | {"start": start, "total": page.total}

    def _number(self, name: str, default: int, most: int | None) -> int:
        text = self.request.query_params.get(name)
        if text is None:
            return default
        least = 0 if most is None else 1
        fits = text.isascii() and text.isdecimal() and len(text) < 10  # noqa: PLR2004 - any integer
        if not fits or int(text) < least or (most is not None and int(text) > most):
            expected = f"a number from {least}" + (f" to {most}" if most else "")
            raise malformed(name, text, expected)
        return int(text)

    def _url(self, start: int, count: int) -> str:
        settings: Settings = self.request.state.services.get(Settings)
        url = self.request.url
        path = self.request.scope["path"].removeprefix(settings.base_path)
        query = dict(self.request.query_params) | {"start": start, "count": count}
        return (
            f"{url.scheme}://{url.netloc}{settings.base_path}{path}?{urlencode(query)}"
        )

    async def execute(self, job_id: str) -> Document:
        """Execute a job."""
        published = self._job(job_id)
        texts = _parameters(self.form.body())
        params = params_from_texts(published.method.params, texts)
        try:
            running = await self.gateway.list(
                [published.name], [["time_finished", "=", None]], limit=1
            )
            if running.total:
                text = f"Job with id '{job_id}' is already running."
                raise Fault(400, "JobAlreadyRunningException", text, jobId=job_id)
            record = await self._start(published, params)
        except (DialectError, RpcError) as exc:
            status = self._settings.job_execution_exception_status
            raise job_fault(exc, job_id, status) from None
        return with_state(self._document(record, published))

    async def _start(
        self, published: Published[OcapiPublication], params: dict[str, Any]
    ) -> JobRecord:
        """Start afresh, or go on with the last execution if that is wanted."""
        if published.options.restart:
            last = await self.gateway.list([published.name], limit=1)
            if last.records:
                return await self.gateway.restart(last.records[0])
        return await self.gateway.submit(published, params)

    async def show(self, job_id: str, number: str) -> Document:
        """Show one execution."""
        record, published = await self._find(job_id, number)
        return with_state(self._document(record, published))

    async def delete(self, job_id: str, number: str) -> None:
        """Delete an execution that has ended."""
        record, published = await self._find(job_id, number)
        wanted = self.request.headers.get("x-dw-resource-state")
        state = with_state(self._document(record, published))["_resource_state"]
        if wanted is not None and wanted != state:
            text = "The resource has changed since it was read."
            raise Fault(409, "ResourceStateConflictException", text)
        if not record.final:
            text = f"Job execution with id '{number}' is not finished."
            kind = "JobExecutionNotFinishedException"
            raise Fault(403, kind, text, executionId=number)
        await self.gateway.delete(record)

    async def _find(
        self, job_id: str, number: str
    ) -> tuple[JobRecord, Published[OcapiPublication]]:
        published = self.published.find_job(job_id)
        if published is None:
            raise execution_not_found(number)
        try:
            return await self.gateway.find(number, [published.name])
        except DialectError:
            raise execution_not_found(number) from None

    async def search(self) -> Document:
        """Search the executions of all jobs."""
        asked = self.form.read(SearchRequest)
        check_expand(",".join(asked.expand))
        if asked.select is not None:
            self.form.select(asked.select)
        filters = Compiler(self.published).compile(asked.query)
        try:
            page = await self.gateway.list(
                self.published.methods,
                filters,
                offset=asked.start,
                limit=asked.count,
                order_by=sort_keys(asked.sorts),
            )
        except RpcError as exc:
            text = f"The query cannot be run: {exc}"
            raise Fault(400, "MalformedQueryException", text) from None
        hits = [self._hit(record) for record in page.records]
        document: Document = {
            "_v": VERSION,
            "_type": "job_execution_search_result",
            "count": len(hits),
            "hits": hits,
        }
        if asked.start + asked.count < page.total:
            document["next"] = _result_page(asked.start + asked.count, asked.count)
        before = _before(asked.start, asked.count, page.total)
        if before is not None:
            document["previous"] = _result_page(before, asked.count)
        query = msgspec.to_builtins(asked.query)
        document["query"] = {n: v for n, v in query.items() if v is not None}
        return document | self.form.echo() | {"start": asked.start, "total": page.total}

    def _hit(self, record: JobRecord) -> Document:
        published = self.published.get(record.method)
        assert published is not None  # noqa: S101 - only these are listed
        return self._document(record, published)


def _before(start: int, count: int, total: int) -> int | None:
    """Say where the page before begins; None when there is nothing on it."""
    last = min(start, total)
    return max(0, last - count) if last else None


def _result_page(start: int, count: int) -> Document:
    return {"_type": "result_page", "count": count, "start": start}


def _parameters(body: Any) -> dict[str, str]:
    """Read the parameters of an execution: a list, or a system job's own members."""
    if body is None or body == "":
        return {}
    if not isinstance(body, dict):
        raise Fault(400, "BodyDecodingException", "The body is no object.")
    listed = body.get("parameters")
    if listed is None:
        return {
            name: value if isinstance(value, str) else ejson.encode(value).decode()
            for name, value in body.items()
            if not name.startswith("_")
        }
    try:
        found = msgspec.convert(listed, list[Parameter], strict=False)
    except msgspec.ValidationError as exc:
        raise Fault(400, "BodyDecodingException", f"parameters: {exc}") from None
    return {parameter.name.strip(): parameter.value for parameter in found}


def _media(text: str) -> tuple[str, str]:
    """Read a content type: the media type and its character set, in lower case."""
    message = Message()
    message["content-type"] = text
    charset = message.get_content_charset("")
    return text.partition(";")[0].strip().lower(), charset


def check_expand(text: str) -> None:
    """Let nothing be expanded, since there is nothing to expand.

    Raises:
        Fault: something shall be.
    """
    values = [value for value in text.strip("()").split(",") if value.strip()]
    if values:
        message = f"Expand value '{values[0]}' is not known."
        raise Fault(400, "InvalidExpandValueException", message)


class Form:
    """In which form a request came, and in which its answer goes.

    Raises:
        Fault: the form is not known.
    """

    def __init__(self, request: Request, raw: bytes) -> None:
        media, charset = _media(request.headers.get("content-type", ""))
        query = request.query_params
        self._raw = raw
        self.xml = query.get("format") == "xml"
        self._selection: Selection | None = None
        self._selected = ""
        if raw and media in XML_TYPES:
            self.xml = True
        elif raw and media == "application/json":
            self.xml = False
        elif raw:
            text = f"Media type '{media}' is not supported."
            raise Fault(415, "UnsupportedMediaTypeException", text)
        if raw and charset not in ("", "utf-8"):
            text = f"Character set '{charset}' is not supported, expected UTF-8."
            raise Fault(415, "UnsupportedMediaTypeException", text)
        if query.get("format", "json") not in ("json", "xml"):
            raise malformed("format", query["format"], "json or xml")
        check_expand(query.get("expand", ""))
        selector = query.get("select")
        if selector is not None:
            self.select(selector)

    def select(self, text: str) -> None:
        """Want only some members.

        Raises:
            Fault: the selector cannot be read.
        """
        try:
            self._selection = parse_selection(text)
        except SelectorError:
            kind = "MalformedSelectorException"
            message = f"Selector '{text}' cannot be read."
            raise Fault(400, kind, message, selector=text) from None
        self._selected = text

    def echo(self) -> Document:
        """Give the selector, for documents that repeat it."""
        return {"select": self._selected} if self._selection is not None else {}

    def body(self) -> Any:
        """Decode the body; None when there is none.

        Raises:
            Fault: it cannot be decoded.
        """
        if not self._raw:
            return None
        try:
            return read_xml(self._raw) if self.xml else msgspec.json.decode(self._raw)
        except (ValueError, RecursionError) as exc:
            raise Fault(400, "BodyDecodingException", str(exc)) from None

    def read(self, kind: type[T]) -> T:
        """Decode the body as a struct.

        Raises:
            Fault: it does not fit.
        """
        try:
            return msgspec.convert(self.body(), kind, strict=not self.xml)
        except msgspec.ValidationError as exc:
            raise Fault(400, "BodyDecodingException", str(exc)) from None

    def cut(self, document: Document) -> Document:
        """Give what of a document is wanted."""
        if self._selection is None:
            return document
        found: Document = self._selection.of(document)
        # What was selected is always said, where it is said at all.
        said = {n: v for n, v in self.echo().items() if n in document}
        return found | said


def _render(document: Document, status: int, *, xml: bool) -> Response:
    headers = {
        "Cache-Control": "no-cache,no-store,must-revalidate",
        "Expires": "Thu, 01-Jan-1970 00:00:00 GMT",
        "Content-Type": f"application/{'xml' if xml else 'json'};charset=UTF-8",
    }
    body = write_xml(document) if xml else msgspec.json.encode(document)
    return Response(body, status, headers=headers)


def _method(request: Request) -> str:
    """Give the method that is meant (``x-dw-http-method-override``).

    Raises:
        Fault: it cannot be meant.
    """
    named = request.headers.get("x-dw-http-method-override")
    named = named or request.query_params.get("method")
    if named is None:
        return request.method
    if request.method != "POST" or named.upper() not in OVERRIDES:
        text = f"Method '{named}' cannot be put in the place of {request.method}."
        raise Fault(400, "IllegalHttpMethodOverrideException", text)
    return named.upper()


async def _serve(visit: Visit, method: str, parts: list[str]) -> Response:
    xml, form = visit.form.xml, visit.form
    if parts and parts[0].lower() in ("jobs", "job_execution_search"):
        parts = [parts[0].lower(), *parts[1:]]
    document: Document
    match (method, parts):
        case ("GET" | "HEAD", ["jobs", job_id, "executions"]):
            document = form.cut(await visit.list_executions(job_id))
        case ("POST", ["jobs", job_id, "executions"]):
            document = form.cut(await visit.execute(job_id))
        case ("GET" | "HEAD", ["jobs", job_id, "executions", number]):
            document = form.cut(await visit.show(job_id, number))
        case ("DELETE", ["jobs", job_id, "executions", number]):
            await visit.delete(job_id, number)
            return Response(status_code=204)
        case ("POST", ["job_execution_search"]):
            document = await visit.search()
            document["hits"] = [form.cut(hit) for hit in document["hits"]]
        case (_, ["jobs", _, "executions"] | ["jobs", _, "executions", _]) | (
            _,
            ["job_execution_search"],
        ):
            text = f"Method '{method}' is not allowed here."
            raise Fault(405, "MethodNotAllowedException", text)
        case _:
            raise Fault(404, "NotFoundException", "There is no such resource.")
    answer = _render(_versioned(document, visit.version), 200, xml=xml)
    if method == "HEAD" and visit.request.method != "HEAD":
        answer.body = b""
        answer.headers["content-length"] = "0"
    return answer


def _versioned(document: Document, version: str) -> Document:
    """Say in a document, and in those that it lists, which version was asked for."""
    for name in ("data", "hits"):
        if name in document:
            document[name] = [one | {"_v": version} for one in document[name]]
    return document | {"_v": version}


async def _answer(request: Request) -> Response:
    xml = request.query_params.get("format") == "xml"
    try:
        version, _, rest = request.path_params["rest"].partition("/")
        asked = read_version(version)
        if asked is None:
            text = f"Version '{version}' is not served, expected v17_2 or later."
            raise Fault(400, "InvalidVersionException", text, version=version)  # noqa: TRY301 - told as the others
        method = _method(request)
        form = Form(request, await read_body(request))
        xml = form.xml
        async with entered(request) as context:
            parts = [part for part in rest.split("/") if part]
            return await _serve(Visit(request, context, form, asked), method, parts)
    except Fault as exc:
        fault = exc
    except Exception as exc:  # noqa: BLE001 - it has a shape of its own
        fault = fault_of(to_be_told(exc))
    answer = _render(fault_document(fault), fault.status, xml=xml)
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = f"{fault.retry_after}"
    return answer


async def _token(request: Request) -> Response:
    """Make an access token for a client (RFC 6749, section 4.4)."""
    try:
        form = read_form(await read_body(request))
        if form.get("grant_type") != "client_credentials":
            return JsonResponse({"error": "unsupported_grant_type"}, 400)
        client, secret = _basic(request.headers, form)
        who = await prove_client(request, client, secret)
    except DialectError as exc:
        return no_token(exc, "Basic")
    made = {
        "access_token": make_token(request, who, TOKEN_SECONDS),
        "token_type": "Bearer",
        "expires_in": TOKEN_SECONDS - 1,
    }
    return JsonResponse(made, headers={"Cache-Control": "no-store"})


def _basic(headers: Mapping[str, str], form: Mapping[str, str]) -> tuple[str, str]:
    """Give id and secret of a client, from the header or the form."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    client, _, secret = text.partition(":")
    return client, secret


ROUTES: list[BaseRoute] = [
    *(Route(path, _token, methods=["POST"]) for path in TOKEN_PATHS),
    *(
        Route(f"{prefix}/{{rest:{WHOLE}}}", _answer, methods=METHODS)
        for prefix in PREFIXES
    ),
]
