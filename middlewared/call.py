"""One request on its way from the message to the answer."""

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from middlewared import jsonrpc
from middlewared.access import Credentials
from middlewared.audit import Trail, show_params
from middlewared.context import Context
from middlewared.errors import CallError, InternalError
from middlewared.figures import CallFigures
from middlewared.plugin import Method
from middlewared.session import ClientSession

__all__ = ["Call", "InnerCall", "Respond"]

Respond = Callable[[bytes], None]

logger = logging.getLogger(__name__)


class Call(msgspec.Struct, eq=False):
    """One request on its way: who asked, for what, and where the answer goes.

    Attributes:
        method: what is called.
        values: bound values in signature order.
        id: id of the request byte for byte, empty for a notification.
        context: the rights it runs with; its session may be None.
        session: whose connection it came by.
        respond: takes the answer; None for a notification, and once a call is answered
            that could be given up.
        limit: bytes that the answer may have.
        figures: where it is counted.
        legacy_jobs: a job call is answered at once, with the job's id.
        cancelled: the client has given the answer up.
    """

    method: Method
    values: list[Any]
    id: bytes
    context: Context
    session: ClientSession | None = None
    respond: Respond | None = None
    limit: int = 0
    figures: CallFigures | None = None
    legacy_jobs: bool = False
    cancelled: bool = False
    _cancel: Callable[[], object] | None = None
    _tracked: bool = False
    _entrusted: bool = False
    _trail: Trail | None = None
    _shown: bytes | None = None

    def audit(self, trail: Trail) -> None:
        """Have written down how it ends, with the params as they are now."""
        self._trail = trail
        if self.method.deferred is None:  # else the runner has its own record
            self._shown = show_params(self.method.params.types, self.values)

    def entrust(self) -> None:
        """Count it with what a runner has to take over, see `ClientSession.entrust`."""
        if self.session is not None:
            self.session.entrust()
            self._entrusted = True

    def _leave(self) -> None:
        if self._entrusted and self.session is not None:
            self._entrusted = False
            self.session.taken_over()

    def hand_over(self) -> None:
        """Write nothing down: the runner has taken it, and does that itself."""
        self._trail = None
        self._leave()

    def _note(self, exc: BaseException | None) -> None:
        trail, self._trail = self._trail, None
        if trail is None:
            return
        session, who = self.context.session, self.context.credentials
        origin = None if session is None else session.origin
        trail.note_call(self.method.name, who, origin, self._shown, exc)

    def track(self, session: ClientSession) -> None:
        """Let the client give the call up until it is answered."""
        session.in_flight[self.id] = self
        self._tracked = True

    def _answer(self, payload: bytes) -> None:
        respond = self.respond
        if respond is None:
            return
        if self._tracked:
            # What ends it early knows the call: nothing is left for the collector.
            self.respond = None
            if self._cancel is not None:
                self._cancel = None
            session = self.session
            if session is not None and session.in_flight.get(self.id) is self:
                del session.in_flight[self.id]
        respond(payload)

    def on_cancel(self, end: Callable[[], object]) -> None:
        """Say what ends the call early; it is answered all the same, by its end."""
        if self.respond is None:
            return  # nobody can give it up: what ends it would only know the call
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
        if self._trail is not None:
            self._note(None)
        try:
            encoded = self.method.results.encode(value)
        except Exception:  # a border: objects may fail in ways of their own
            logger.exception("the result of %s cannot be encoded", self.method.name)
            self.fail(InternalError())
        else:
            self.finish_encoded(encoded)

    def finish_encoded(self, result: bytes) -> None:
        """Answer with a result that is encoded already; once."""
        if len(result) > self.limit:
            self.fail(
                CallError(
                    f"The answer has {len(result)} bytes, the limit is {self.limit}",
                    errno.EMSGSIZE,
                )
            )
            return
        if self.figures is not None:
            self.figures.ok += 1
        if self.respond is not None:
            self._answer(jsonrpc.render_result(result, self.id))

    def fail(self, exc: BaseException) -> None:
        """Answer with an error; once. Full admins get the traceback."""
        self._note(exc)
        self._leave()
        if self.figures is not None:
            self.figures.fail(exc)
        if self.respond is None:
            return
        who = self.context.credentials
        full = who is not None and who.full_admin
        try:
            answer = jsonrpc.render_error(exc, self.id, with_trace=full)
        except Exception:  # a border: an exception may fail to describe itself
            logger.exception("the error of %s cannot be shown", self.method.name)
            answer = jsonrpc.render_error(InternalError(), self.id, with_trace=False)
        self._answer(answer)


class InnerCall(Call, eq=False, kw_only=True):
    """A call from inside the server.

    Attributes:
        outcome: resolved with its answer.
    """

    outcome: asyncio.Future[Any]

    def finish_encoded(self, result: bytes) -> None:
        """Give the plain result to whoever awaits it."""
        if not self.outcome.done():
            self.outcome.set_result(msgspec.json.decode(result))

    def fail(self, exc: BaseException) -> None:
        """Raise where the call is awaited."""
        self._note(exc)
        if not self.outcome.done():
            self.outcome.set_exception(exc)
