"""From a message to running handlers, and from their outcome to the answer."""

import asyncio
import errno
import logging
import traceback
from collections.abc import Callable, Coroutine
from functools import partial
from types import CoroutineType
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from middlewared import jsonrpc
from middlewared.access import Credentials
from middlewared.audit import Note, Trail, show_params
from middlewared.batch import Batch, Respond, join_answers
from middlewared.clock import Clock
from middlewared.context import Context, Services
from middlewared.errors import (
    CallError,
    InternalError,
    InvalidRequest,
    MethodNotFound,
    ParseError,
    RpcError,
    TooManyCalls,
)
from middlewared.figures import CallFigures
from middlewared.plugin import Executor, Method
from middlewared.registry import Registry
from middlewared.results import holds_secret
from middlewared.session import ClientSession
from middlewared.settings import Settings
from middlewared.strangers import Strangers
from middlewared.tasks import Tasks

__all__ = ["Call", "Dispatcher"]

logger = logging.getLogger(__name__)

#: Why a request never comes to a method, by the code of the error.
REFUSALS = {
    ParseError.code: "parse_error",
    InvalidRequest.code: "invalid_request",
    MethodNotFound.code: "method_not_found",
    TooManyCalls.code: "too_many",
}


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
        *,
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


class _Target:
    """A method as one session may call it; binds params for `jsonrpc.describe`."""

    __slots__ = ("context", "figures", "method", "trail")

    def __init__(
        self, method: Method, context: Context, figures: CallFigures, trail: Trail
    ) -> None:
        self.method = method
        self.context = context
        self.figures = figures
        self.trail = trail

    def bind(self, args: list[Any], named: dict[str, Any]) -> list[Any]:
        """Check the caller's rights, then the params."""
        try:
            _check_access(self.method, self.context, self.trail)
            return self.method.params.bind(args, named)
        except CallError as exc:
            self.figures.fail(exc)
            raise


def _check_access(method: Method, context: Context, trail: Trail) -> None:
    """Let the caller pass; write down who tries to change what is not theirs.

    Raises:
        NotAuthenticated: it needs a login.
        CallError: EACCES, the login lacks the role.
    """
    try:
        method.access.check(context.credentials)
    except CallError as exc:
        if context.credentials is not None and not method.access.read_only:
            origin = None if context.session is None else context.session.origin
            trail.begin(method.name, context.credentials, origin, None).end(exc)
        raise


class Dispatcher:
    """Takes messages, runs handlers, answers.

    Handlers run by their `Executor`. A request is answered exactly once, a
    notification never. The reader of a connection calls `receive`, which never waits.

    Attributes:
        refused: requests that never came to a method, by the reason.
    """

    def __init__(self, services: Services) -> None:
        settings = services.get(Settings)
        self._services = services
        self._registry = services.get(Registry)
        self._tasks = services.get(Tasks)
        self._trail = services.get(Trail)
        self._threads = anyio.CapacityLimiter(settings.sync_threads)
        self._strangers = Strangers(settings.anonymous_calls, services.get(Clock))  # type: ignore[type-abstract]  # by protocol
        self._max_calls = settings.max_calls
        self._max_undispatched = settings.max_undispatched
        self.refused = dict.fromkeys(REFUSALS.values(), 0)
        self._max_answer = settings.send_queue_limit // 2

    def receive(self, session: ClientSession, raw: bytes) -> None:
        """Handle one message of a connection; its answer goes through the session."""
        if raw.lstrip()[:1] == b"[":

            def respond(answer: bytes) -> None:
                if answer:
                    session.send(answer)

            self._receive_batch(session, raw, respond)
        else:
            self._receive_one(session, raw, session.send, batched=False)

    async def exchange(self, session: ClientSession, raw: bytes) -> bytes:
        """Handle one message and wait for its answer.

        Cancelling ends the waiting; what the message asked for goes on.

        Returns:
            Nothing for what is not answered: a notification, or a batch of them.
        """
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def respond(answer: bytes) -> None:
            if not outcome.done():
                outcome.set_result(answer)

        if raw.lstrip()[:1] == b"[":
            self._receive_batch(session, raw, respond)
        elif not self._receive_one(session, raw, respond, batched=False):
            return b""
        return await outcome

    def _receive_batch(
        self, session: ClientSession, raw: bytes, respond: Respond
    ) -> None:
        try:
            elements = jsonrpc.split_batch(raw)
        except (ParseError, InvalidRequest) as exc:
            self._count_refused(exc)
            respond(jsonrpc.render_error(exc, b"", with_trace=False))
            return
        if session.undispatched + len(raw) > self._max_undispatched:
            respond(self._refuse_batch(elements))
            return
        start = partial(self._receive_one, batched=True)
        Batch(session, elements, start, respond, self._max_calls).advance()

    def _refuse_batch(self, elements: list[msgspec.Raw]) -> bytes:
        exc = TooManyCalls(
            f"Maximum size of waiting requests ({self._max_undispatched} bytes) "
            "has exceeded"
        )
        self.refused[REFUSALS[exc.code]] += len(elements)
        numbers = [jsonrpc.read_id(bytes(element)) for element in elements]
        return join_answers(
            [
                jsonrpc.render_error(exc, number, with_trace=False)
                for number in numbers
                if number
            ]
        )

    def _receive_one(
        self, session: ClientSession, raw: bytes, respond: Respond, *, batched: bool
    ) -> bool:
        """Start one request; tell whether it is or will be answered."""
        request = jsonrpc.read_request(raw)
        if request is not None:
            method = self._registry.methods.get(request.method)
            if method is not None:
                values = self._bind(session, method, request)
                if values is not None:
                    number = bytes(request.id)
                    self._begin(session, method, values, number, respond, batched)
                    return bool(number)
        return self._receive_slowly(session, raw, respond, batched)

    def _bind(
        self, session: ClientSession, method: Method, request: jsonrpc.Request
    ) -> list[Any] | None:
        """Check rights and decode params; None leaves both to the complete way."""
        try:
            method.access.check(session.credentials)
            return method.params.decode(request.params)
        except CallError:
            return None

    def _receive_slowly(
        self, session: ClientSession, raw: bytes, respond: Respond, batched: bool
    ) -> bool:
        given_up = jsonrpc.read_cancelled(raw)
        if given_up:
            call = session.in_flight.get(given_up)
            if call is not None:
                call.cancel()
            return False
        description = jsonrpc.describe(raw, partial(self._find, session.context))
        if description.target is not None:
            assert isinstance(description.target, _Target)  # noqa: S101 - _find's type
            method = description.target.method
            self._begin(
                session, method, description.values, description.id, respond, batched
            )
            return bool(description.id)
        if description.error is None:
            return False
        self._count_refused(description.error)
        credentials = session.credentials
        full = credentials is not None and credentials.full_admin
        respond(
            jsonrpc.render_error(description.error, description.id, with_trace=full)
        )
        return True

    def _find(self, context: Context, name: str) -> _Target | None:
        method = self._registry.methods.get(name)
        if method is None:
            return None
        return _Target(method, context, self._registry.figures[name], self._trail)

    def _count_refused(self, exc: RpcError) -> None:
        """Count what never came to a method; what its params say is counted there."""
        reason = REFUSALS.get(exc.code)
        if reason is not None:
            self.refused[reason] += 1

    def _begin(
        self,
        session: ClientSession,
        method: Method,
        values: list[Any],
        number: bytes,
        respond: Respond,
        batched: bool,
    ) -> None:
        figures = self._registry.figures[method.name]
        refusal: RpcError | None = None
        if session.credentials is None:
            refusal = self._strangers.refusal(session.origin, method.name)
        holds_slot = method.executor in (Executor.ASYNC, Executor.THREAD)
        if holds_slot and not batched and session.calls >= self._max_calls:
            refusal = TooManyCalls(
                f"Maximum number of concurrent calls ({self._max_calls}) has exceeded"
            )
        if refusal is not None:
            figures.fail(refusal)
            if number:
                respond(jsonrpc.render_error(refusal, number, with_trace=False))
            return
        call = Call(
            method,
            values,
            number,
            session.context,
            session=session,
            respond=respond if number else None,
            limit=self._max_answer,
            figures=figures,
        )
        if not method.access.read_only:
            call.audit(self._trail)
        if holds_slot:
            session.calls += 1
        if number and method.executor is not Executor.IMMEDIATE:
            call.track(session)
        self._run(call)

    def _run(self, call: Call) -> None:
        match call.method.executor:
            case Executor.IMMEDIATE:
                self._step(call)
            case Executor.DEFERRED:
                self._defer(call)
            case executor:
                name = f"call {call.method.name}"
                task = self._tasks.start(self._await(call), name=name)
                if executor is Executor.ASYNC and call.method.access.read_only:
                    # Any other may change something: half of it would be worse. Not
                    # at once, since a task that has not begun would never answer.
                    loop = asyncio.get_running_loop()
                    call.on_cancel(partial(loop.call_soon, task.cancel))

    def _step(self, call: Call) -> None:
        """Run an immediate handler to its end without a task."""
        method = call.method
        coroutine = method.params.call(method.handler, call.context, call.values)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            if isinstance(stop.value, CoroutineType):
                work = self._finish_later(call, stop.value)
                self._tasks.start(work, name=f"call {method.name}")
            else:
                call.finish(stop.value)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
            self._report(call, exc)
        else:
            coroutine.close()
            self._report(
                call, RuntimeError(f"{method.name} is immediate but suspended")
            )

    def _defer(self, call: Call) -> None:
        runner = self._registry.runner
        if runner is None:
            self._report(call, CallError("No job manager is running", errno.EBUSY))
            return
        try:
            runner.accept(call)
        except Exception as exc:  # noqa: BLE001 - a border: the caller is told
            self._report(call, exc)

    async def _await(self, call: Call) -> None:
        """Run a handler in this task, or in a thread, and answer."""
        method = call.method
        run = partial(method.params.call, method.handler, call.context, call.values)
        try:
            if method.executor is Executor.THREAD:
                work = anyio.to_thread.run_sync(run, limiter=self._threads)
            else:
                work = run()
            await self._finish_later(call, work)
        finally:
            if call.session is not None:
                call.session.release()

    async def _finish_later(self, call: Call, work: Coroutine[Any, Any, Any]) -> None:
        """Await what a handler does, and answer."""
        try:
            value = await work
        except asyncio.CancelledError:
            if not call.cancelled:
                call.fail(CallError("The server stops", errno.EBUSY))
                raise
            call.fail(CallError("The client gave the call up", errno.ECANCELED))
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
            self._report(call, exc)
        else:
            call.finish(value)

    def _report(self, call: Call, exc: BaseException) -> None:
        if not isinstance(exc, RpcError):
            _log_failure(call.method, exc)
        call.fail(exc)

    async def call(self, context: Context, method: str, *params: Any) -> Any:
        """Call a method inside the server, with the rights of *context*.

        Args:
            context: whose rights.
            method: full name.
            params: plain values, as a client would send them.

        Returns:
            The result as plain values; a job method's when the job ends.

        Raises:
            RpcError: what the method raised, or why it could not be called.
        """
        found = self._registry.methods.get(method)
        if found is None:
            raise MethodNotFound
        _check_access(found, context, self._trail)
        values = found.params.bind(params, {})
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call = _InnerCall(found, values, context, outcome)
        if not found.access.read_only:
            call.audit(self._trail)
        self._run(call)
        return await outcome


def _log_failure(method: Method, exc: BaseException) -> None:
    """Log a mistake with its traceback; without a text that may quote secrets."""
    if any(map(holds_secret, method.params.types)):
        lines = "".join(traceback.format_tb(exc.__traceback__))
        logger.error("%s failed: %s\n%s", method.name, type(exc).__name__, lines)
    else:
        logger.error("%s failed", method.name, exc_info=exc)


class _InnerCall(Call):
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
