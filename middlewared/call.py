"""One request on its way from the message to the answer."""

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from middlewared import jsonrpc
from middlewared.access import Credentials
from middlewared.audit import Note, Trail, show_params
from middlewared.context import Context
from middlewared.errors import CallError, InternalError
from middlewared.figures import CallFigures
from middlewared.plugin import Method
from middlewared.session import ClientSession

__all__ = ["Call", "InnerCall", "Respond"]

Respond = Callable[[bytes], None]

logger = logging.getLogger(__name__)


class Call:
    """One request on its way: who asked, for what, and where the answer goes.

    Attributes:
        method: what is called.
        values: bound values in signature order.
        id: id of the request byte for byte, empty for a notification.
        context: the rights it runs with; its session may be None.
        legacy_jobs: a job call is answered at once, with the job's id.
        cancelled: the client has given the answer up.
    """

    __slots__ = (
        "_cancel",
        "_figures",
        "_limit",
        "_note",
        "_respond",
        "cancelled",
        "context",
        "id",
        "legacy_jobs",
        "method",
        "session",
        "values",
    )

    def __init__(
        self,
        method: Method,
        values: list[Any],
        number: bytes,
        context: Context,
        session: ClientSession | None = None,
        respond: Respond | None = None,
        limit: int = 0,
        figures: CallFigures | None = None,
    ) -> None:
        self.method = method
        self.values = values
        self.id = number
        self.context = context
        self.session = session
        self.legacy_jobs = session is not None and session.options.legacy_jobs
        self._respond = respond
        self._limit = limit
        self._figures = figures
        self._note: Note | None = None
        self._cancel: Callable[[], object] | None = None
        self.cancelled = False

    def audit(self, trail: Trail) -> None:
        """Have written down how it ends, with the params as they are now."""
        method, session = self.method, self.context.session
        later = method.deferred is not None  # the runner has its own record
        self._note = trail.begin(
            method.name,
            self.context.credentials,
            None if session is None else session.origin,
            None if later else show_params(method.params.types, self.values),
        )

    def hand_over(self) -> None:
        """Write nothing down: the runner has taken it, and does that itself."""
        self._note = None

    def _end(self, exc: BaseException | None) -> None:
        note, self._note = self._note, None
        if note is not None:
            note.end(exc)

    def track(self, session: ClientSession) -> None:
        """Let the client give the call up until it is answered."""
        session.in_flight[self.id] = self
        respond = self._respond

        def answer(payload: bytes) -> None:
            # Both know the call: nothing is left for the garbage collector.
            self._respond = self._cancel = None
            if session.in_flight.get(self.id) is self:
                del session.in_flight[self.id]
            if respond is not None:
                respond(payload)

        self._respond = answer

    def on_cancel(self, end: Callable[[], object]) -> None:
        """Say what ends the call early; it is answered all the same, by its end."""
        self._cancel = end
        if self.cancelled:
            end()

    def cancel(self) -> None:
        """End the call early if something can; nothing happens otherwise."""
        self.cancelled = True
        if self._cancel is not None:
            self._cancel()

    @property
    def credentials(self) -> Credentials | None:
        """Who calls."""
        return self.context.credentials

    @property
    def message_id(self) -> Any:
        """The id as a value, `msgspec.UNSET` for a notification."""
        return msgspec.json.decode(self.id) if self.id else msgspec.UNSET

    def finish(self, value: Any) -> None:
        """Answer with what the handler returned; once."""
        if self._note is not None:
            self._end(None)
        try:
            encoded = self.method.results.encode(value)
        except Exception:  # a border: objects may fail in ways of their own
            logger.exception("the result of %s cannot be encoded", self.method.name)
            self.fail(InternalError())
        else:
            self.finish_encoded(encoded)

    def finish_encoded(self, result: bytes) -> None:
        """Answer with a result that is encoded already; once."""
        if len(result) > self._limit:
            self.fail(
                CallError(
                    f"The answer has {len(result)} bytes, the limit is {self._limit}",
                    errno.EMSGSIZE,
                )
            )
            return
        if self._figures is not None:
            self._figures.ok += 1
        if self._respond is not None:
            self._respond(jsonrpc.render_result(result, self.id))

    def fail(self, exc: BaseException) -> None:
        """Answer with an error; once. Full admins get the traceback."""
        self._end(exc)
        if self._figures is not None:
            self._figures.fail(exc)
        if self._respond is None:
            return
        who = self.context.credentials
        full = who is not None and who.full_admin
        try:
            answer = jsonrpc.render_error(exc, self.id, with_trace=full)
        except Exception:  # a border: an exception may fail to describe itself
            logger.exception("the error of %s cannot be shown", self.method.name)
            answer = jsonrpc.render_error(InternalError(), self.id, with_trace=False)
        self._respond(answer)


class InnerCall(Call):
    """A call from inside the server: its answer is a future."""

    __slots__ = ("_outcome",)

    def __init__(
        self,
        method: Method,
        values: list[Any],
        context: Context,
        outcome: asyncio.Future[Any],
    ) -> None:
        super().__init__(method, values, b"", context)
        self._outcome = outcome

    def finish_encoded(self, result: bytes) -> None:
        """Give the plain result to whoever awaits it."""
        if not self._outcome.done():
            self._outcome.set_result(msgspec.json.decode(result))

    def fail(self, exc: BaseException) -> None:
        """Raise where the call is awaited."""
        self._end(exc)
        if not self._outcome.done():
            self._outcome.set_exception(exc)
