"""``core.bulk``: one method with many params, in turn (protocol page, 7)."""

import errno
import string
from collections.abc import Sequence
from typing import Any

import msgspec

from middlewared import (
    CallError,
    Example,
    Plugin,
    Secret,
    ValidationError,
    ValidationErrors,
    ejson,
)
from middlewared.access import SYSTEM
from middlewared.context import Services
from middlewared.errors import errname, error_number
from middlewared.plugin import Method
from middlewared.registry import Registry
from middlewared.results import holds_secret
from middlewared_jobs.access import no_such_job
from middlewared_jobs.body import secret_texts
from middlewared_jobs.current_job import Job
from middlewared_jobs.decorator import job
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.scrubbing import scrub
from middlewared_jobs.spec import JobFunction, showing
from middlewared_jobs.submission import Submission
from middlewared_jobs.succeeding import check_succeeded
from middlewared_jobs.texts import sendable, sendable_repr

__all__ = ["BulkEntry", "add_bulk", "describe_call", "shown_params"]

NAME = "core.bulk"
NULL = msgspec.Raw(b"null")


class BulkEntry(msgspec.Struct, frozen=True):
    """What became of one call of a bulk.

    Attributes:
        job_id: its job, null when there is none.
        result: what it returned, null when it failed.
        error: why it failed, null when it did not.
    """

    job_id: int | None
    result: msgspec.Raw | Secret[msgspec.Raw]
    error: str | None


def shown_params(services: Services, values: Sequence[Any]) -> list[Any]:
    """Redact in the params of a bulk what is secret in those of its method.

    What does not fit the method is hidden whole, if the method takes a secret.
    """
    method = services.get(Registry).methods.get(values[0])
    if method is None or not _takes_secret(method):
        return list(values)
    shown = [_shown(method, params) for params in values[1]]
    return [values[0], shown, *values[2:]]


def _takes_secret(method: Method) -> bool:
    return any(map(holds_secret, method.params.types))


def _shown(method: Method, params: list[Any]) -> Any:
    try:
        return ejson.to_wire(method.params.bind(params, {}))
    except ValidationErrors:
        return ejson.REDACTED


def describe_call(template: str, params: Sequence[Any]) -> str:
    """Put params into the braces of a text: ``{}`` and ``{0}``, nothing else.

    The text is the caller's: all else that ``str.format`` can do could take long, or
    look where nobody should. A text that does not fit is given as it is.
    """
    parts, count = [], 0
    try:
        for text, field, spec, conversion in string.Formatter().parse(template):
            parts.append(text)
            if field is None:
                continue
            if spec or conversion or field.startswith("-"):
                return template
            value = params[int(field or count)]
            parts.append(value if isinstance(value, str) else _json(value))
            count += 1
    except (ValueError, IndexError):
        return template
    return "".join(parts)


def _json(value: Any) -> str:
    return ejson.encode(value).decode()


class _Bulk:
    """The calls of one bulk, one after the other; none of them fails the others."""

    def __init__(self, job: Job, method: Method, template: str | None) -> None:
        self._job = job
        self._method = method
        self._template = template

    async def run(self, calls: Sequence[list[Any]]) -> list[BulkEntry]:
        """Make the calls."""
        values = [self._method.name, calls]
        shown = shown_params(self._job.context.services, values)[1]
        found = []
        for number, params in enumerate(calls):
            words = f"{number} / {len(calls)}"
            if self._template is not None:
                words += f": {describe_call(self._template, shown[number])}"
            self._job.set_progress(100 * number / len(calls), words)
            found.append(await self._call(number, params))
        return found

    async def _call(self, number: int, params: list[Any]) -> BulkEntry:
        started: list[int] = []
        result, error = NULL, None
        try:
            if isinstance(self._method.deferred, JobFunction):
                encoded = await self._run_job(params, started)
            else:
                encoded = await self._run_method(params)
            result = msgspec.Raw(encoded)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the entry says it
            error = sendable(exc) or sendable_repr(exc)
            self._job.error_item(str(number), errname(error_number(exc)), error)
        secret = error is None and self._method.results.secret
        return BulkEntry(
            job_id=started[0] if started else None,
            result=Secret(result) if secret else result,
            error=error,
        )

    async def _run_method(self, params: list[Any]) -> bytes:
        """Call a method that is no job; its error may quote what it was given."""
        texts: list[str] = []
        if _takes_secret(self._method):
            texts = secret_texts(self._method.params.bind(params, {}))
        try:
            value = await self._job.context.call(self._method.name, *params)
        except Exception as exc:
            raise scrub(exc, texts) from exc
        return msgspec.json.encode(value)

    async def _run_job(self, params: list[Any], started: list[int]) -> bytes:
        """Run a job as a child, and note its id as soon as there is one."""
        context = self._job.context
        jobs, parent = context.get(Jobs), self._job.id
        values = self._method.params.bind(params, {})
        wish = Submission(self._method, values, context.credentials, parent=parent)
        number = (await jobs.submit(wish)).id
        started.append(number)
        child = jobs.live.get(number)
        try:
            record = await jobs.wait_for(jobs.live[parent], number)
        except CallError as exc:
            if child is not None:  # it would wait for ever
                jobs.abort(child, SYSTEM.username, reason=exc.text, force=True)
            raise
        if record is None:
            raise no_such_job(number)
        check_succeeded(record, child)
        clear = None if child is None else child.clear
        return bytes(record.result) if clear is None else clear


def add_bulk(plugin: Plugin) -> None:
    """Declare the method on the plugin."""

    @plugin.method(
        namespace="core",
        authenticated=True,
        examples=[
            Example(
                "two jobs, one after the other",
                ["demo.noop", [["one"], ["two"]], "say {0}"],
            )
        ],
    )
    @showing(shown_params)
    @job(lock="bulk:{method}", abortable=True, description="Bulk of {method}")
    async def bulk(
        job: Job, method: str, params: list[list[Any]], description: str | None = None
    ) -> list[BulkEntry]:
        """Call *method* with each of *params*, one call after the other.

        Calls of job methods are children of this job. A call that fails, or is
        aborted, is told in its entry, and the next one follows. *description* is what
        the progress says of a call, with its params in the place of ``{0}``.
        """
        found = job.context.get(Registry).methods.get(method)
        if found is None:
            text = f"Method {method!r} does not exist"
            raise ValidationError("method", text, errno.ENOENT)
        if method == NAME:
            raise ValidationError("method", f"{NAME} cannot be called in bulk")
        if not found.access.allows(job.context.credentials):
            raise CallError("Not authorized", errno.EPERM)
        return await _Bulk(job, found, description).run(params)
