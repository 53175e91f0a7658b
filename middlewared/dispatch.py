"""From a message to running handlers, and from their outcome to the answer."""

import asyncio
import errno
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from middlewared import jsonrpc
from middlewared.audit import Trail
from middlewared.batch import (
    BATCH_SLICE,
    Answered,
    Batch,
    Ran,
    join_answers,
    wake_next,
)
from middlewared.call import Call, InnerCall, Respond
from middlewared.clock import Clock
from middlewared.context import Context, Services
from middlewared.errors import (
    CallError,
    InvalidRequest,
    MethodNotFound,
    ParseError,
    RpcError,
    TooManyCalls,
)
from middlewared.figures import CallFigures
from middlewared.immediate import Immediate
from middlewared.jsonrpc import Element, read_requests
from middlewared.outcomes import finish_later, report
from middlewared.plugin import Executor, Method
from middlewared.registry import Registry
from middlewared.session import ClientSession
from middlewared.settings import Settings
from middlewared.strangers import Strangers
from middlewared.tasks import Tasks

__all__ = ["Dispatcher"]

# Looking a member up in its enum takes 0.1 us.
IMMEDIATE, ASYNC = Executor.IMMEDIATE, Executor.ASYNC
THREAD, DEFERRED = Executor.THREAD, Executor.DEFERRED

#: Why a request never comes to a method, by the code of the error.
REFUSALS = {
    ParseError.code: "parse_error",
    InvalidRequest.code: "invalid_request",
    MethodNotFound.code: "method_not_found",
    TooManyCalls.code: "too_many",
}


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
            trail.note_call(method.name, context.credentials, origin, None, exc)
        raise


def _bind_extended(
    session: ClientSession, method: Method, params: list[Any] | dict[str, Any]
) -> list[Any] | None:
    """Check rights and bind decoded params; None leaves both to the complete way."""
    args, named = ([], params) if isinstance(params, dict) else (params, {})
    try:
        method.access.check(session.credentials)
        return method.params.bind(args, named)
    except CallError:
        return None


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
        self._immediate = Immediate(self._registry, self._tasks, self._max_answer)

    def receive(self, session: ClientSession, raw: bytes) -> None:
        """Handle one message of a connection; its answer goes through the session."""
        first = raw[:1]
        if first == b"{" or (first != b"[" and raw.lstrip()[:1] != b"["):
            self._receive_one(session, raw, session.send, batched=False)
        else:
            self._receive_batch(session, raw, session.send)

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
        requests = read_requests(raw)
        if requests is None:
            try:
                jsonrpc.split_batch(raw)
            except (ParseError, InvalidRequest) as exc:
                self._count_refused(exc)
                respond(jsonrpc.render_error(exc, b"", with_trace=False))
                return
        if session.undispatched + len(raw) > self._max_undispatched:
            respond(self._refuse_batch(jsonrpc.split_batch(raw)))
            return
        ran: bytes | Ran | None = None
        has_slot = session.calls < self._max_calls
        if requests and has_slot and len(requests) <= BATCH_SLICE:
            ran = self._immediate.run_front(session, requests)
        if isinstance(ran, bytes):
            respond(ran)
            if session.waiting:
                wake_next(session, self._max_calls)
            return
        Batch(session, self, respond, self._max_calls).begin(raw, requests, ran)

    def start(self, session: ClientSession, element: bytes, respond: Respond) -> bool:
        """Start an element of a batch, and tell whether it is or will be answered."""
        return self._receive_one(session, element, respond, batched=True)

    def start_together(
        self,
        session: ClientSession,
        requests: Sequence[Element],
        answered: Answered,
        ran: Ran | None = None,
    ) -> int:
        """Run and answer them; the first of them may have run.

        Returns:
            How many; all of them are or will be answered.
        """
        return self._immediate.answer_together(session, requests, answered, ran)

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
        plain = jsonrpc.read_plain(raw)
        if plain is not None:
            name, params, number = plain
            if self._immediate.answer(session, name, params, number, respond):
                return bool(number)
            method = self._registry.methods.get(name)
            # What may not, or does not fit, is left to the complete way.
            if method is not None and method.access.allows(session.credentials):
                values = method.params.decode(params)
                if values is not None:
                    self._begin(session, method, values, number, respond, batched)
                    return bool(number)
        return self._receive_slowly(session, raw, respond, batched)

    def _receive_slowly(
        self, session: ClientSession, raw: bytes, respond: Respond, batched: bool
    ) -> bool:
        given_up = jsonrpc.read_cancelled(raw)
        if given_up:
            call = session.in_flight.get(given_up)
            if call is not None:
                call.cancel()
            return False
        extended = jsonrpc.read_extended(raw)
        if extended is not None:
            name, params, number = extended
            found = self._registry.methods.get(name)
            values = None if found is None else _bind_extended(session, found, params)
            if found is not None and values is not None:
                self._begin(session, found, values, number, respond, batched)
                return bool(number)
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
        executor = method.executor
        holds_slot = executor is ASYNC or executor is THREAD
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
            session,
            respond if number else None,
            self._max_answer,
            figures,
            session.options.legacy_jobs,
        )
        if not method.access.read_only:
            call.audit(self._trail)
        if holds_slot:
            session.calls += 1
        if number and executor is not IMMEDIATE:
            call.track(session)
        self._run(call)

    def _run(self, call: Call) -> None:
        executor = call.method.executor
        if executor is IMMEDIATE:
            self._immediate.run(call)
        elif executor is DEFERRED:
            self._defer(call)
        else:
            name = f"call {call.method.name}"
            task = self._tasks.start(self._await(call), name=name)
            if executor is ASYNC and call.method.access.read_only:
                # Any other may change something: half of it would be worse. Not at
                # once, since a task that has not begun would never answer.
                loop = asyncio.get_running_loop()
                call.on_cancel(partial(loop.call_soon, task.cancel))

    def _defer(self, call: Call) -> None:
        runner = self._registry.runner
        if runner is None:
            report(call, CallError("No job manager is running", errno.EBUSY))
            return
        call.entrust()
        try:
            runner.accept(call)
        except Exception as exc:  # noqa: BLE001 - a border: the caller is told
            report(call, exc)

    async def _await(self, call: Call) -> None:
        """Run a handler in this task, or in a thread, and answer."""
        method = call.method
        run = partial(method.params.call, method.handler, call.context, call.values)
        try:
            if method.executor is THREAD:
                work = anyio.to_thread.run_sync(run, limiter=self._threads)
            else:
                work = run()
            await finish_later(call, work)
        finally:
            if call.session is not None:
                call.session.release()

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
        call = InnerCall(found, values, b"", context, outcome=outcome)
        if not found.access.read_only:
            call.audit(self._trail)
        self._run(call)
        return await outcome
