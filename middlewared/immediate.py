"""Immediate handlers: run to their end without a task, one call or many together."""

import inspect
from collections.abc import Callable, Sequence
from types import CoroutineType
from typing import Any

import msgspec

from middlewared import jsonrpc
from middlewared.batch import Answered, Ran
from middlewared.call import Call, Respond
from middlewared.context import Context
from middlewared.figures import CallFigures
from middlewared.jsonrpc import Bare, Element
from middlewared.outcomes import finish_later, report
from middlewared.params import NO_PARAMS
from middlewared.plugin import Executor, Method
from middlewared.registry import Registry
from middlewared.session import ClientSession
from middlewared.tasks import Tasks

__all__ = ["Immediate"]

#: In place of a value where there is none.
NOTHING = object()


class _Plain(msgspec.Struct, frozen=True):
    """A method of which only rights and params keep a call from being answered.

    Attributes:
        method: it is immediate, and not audited.
        handler: runs it.
        encode: see `Results.direct`.
        figures: what is counted of it.
        bare: it may be called without params.
        open: every login may call it.
    """

    method: Method
    handler: Callable[..., Any]
    encode: Callable[[Any], bytes]
    figures: CallFigures
    bare: bool
    open: bool

    @classmethod
    def of(
        cls, method: Method, handler: Callable[..., Any], figures: CallFigures
    ) -> "_Plain":
        """Look at a method once."""
        bare = method.params.decode(b"") is not None
        access = method.access
        everybody = access.public or access.authenticated
        encode = method.results.direct
        return cls(method, handler, encode, figures, bare, everybody)


class _Raised:
    """What a handler raised, in place of what it returns."""

    __slots__ = ("_errors",)

    def __init__(self, error: BaseException) -> None:
        self._errors = [error]

    def take(self) -> BaseException:
        """Give it away, once: its frames hold this, which may not hold it."""
        return self._errors.pop()


class Immediate:
    """Runs immediate handlers, which may not suspend.

    Args:
        registry: the methods, and what is counted of them.
        tasks: has those that put their answer off.
        max_answer: bytes of a result.
    """

    def __init__(self, registry: Registry, tasks: Tasks, max_answer: int) -> None:
        self._tasks = tasks
        self._max_answer = max_answer
        self._handlers = {
            name: _as_function(method)
            for name, method in registry.methods.items()
            if method.executor is Executor.IMMEDIATE
        }
        self._plain = {
            name: _Plain.of(registry.methods[name], handler, registry.figures[name])
            for name, handler in self._handlers.items()
            if registry.methods[name].access.read_only
        }

    def run(self, call: Call) -> None:
        """Run a handler and answer; a result that is put off is awaited in a task."""
        method = call.method
        handler = self._handlers[method.name]
        try:
            value = method.params.call(handler, call.context, call.values)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
            value = _Raised(exc)
        self._end(call, value)

    def _end(self, call: Call, value: Any) -> None:
        if type(value) is _Raised:
            report(call, value.take())
        elif isinstance(value, CoroutineType):
            work = finish_later(call, value)
            self._tasks.start(work, name=f"call {call.method.name}")
        else:
            call.finish(value)

    def answer(  # noqa: C901 - functions for its parts would cost as much as they do
        self,
        session: ClientSession,
        name: str,
        params: bytes,
        number: bytes,
        respond: Respond,
    ) -> bool:
        """Run the handler of one request and answer, if it asks for nothing more.

        What would be more is said at `answer_together`. Text is as `read_plain` has it.

        Returns:
            Whether it was run: it is counted, and is or will be answered unless it is
            a notification.
        """
        plain, who = self._plain.get(name), session.credentials
        if plain is None or who is None:
            return False
        if not plain.open and not plain.method.access.allows(who):
            return False
        context, value, result = session.context, NOTHING, None
        values = None
        if params not in NO_PARAMS:
            values = plain.method.params.decode(params)
            if values is None:
                return False
        elif not plain.bare:
            return False
        try:
            if values is None:
                value = plain.handler(context)
            else:
                value = plain.method.params.call(plain.handler, context, values)
            result = plain.encode(value)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
            if value is NOTHING:
                value = _Raised(exc)
        if result is None or len(result) > self._max_answer:
            call = self._call(session, context, plain, number, respond)
            self._end(call, value)
            return True
        plain.figures.ok += 1
        if number:
            respond(jsonrpc.render_result(result, number))
        return True

    def run_front(
        self, session: ClientSession, each: Sequence[Element]
    ) -> bytes | Ran | None:
        """Run the handlers of requests from the first on that have its method.

        Returns:
            The answer of the batch, when those were all requests and ask for nothing
            more: they are counted. Else what has run, for `answer_together`; None when
            nothing has.
        """
        first = each[0]
        plain, who = self._plain.get(first.method), session.credentials
        if plain is None or who is None:
            return None
        if not plain.open and not plain.method.access.allows(who):
            return None
        context = session.context
        results: list[bytes] = []
        if type(first) is not Bare:
            last = _run_with_params(session, plain, each, results)
        elif plain.bare:
            last = _run_bare(session, plain, each, results)
        else:
            return None
        if last is NOTHING:
            if not results:
                return None
            if len(results) == len(each):
                text = jsonrpc.render_results(results, each)
                if len(text) <= self._max_answer + 2:
                    plain.figures.ok += len(results)
                    return text
        return Ran(plain, context, results, last)

    def answer_together(
        self,
        session: ClientSession,
        each: Sequence[Element],
        answered: Answered,
        ran: Ran | None = None,
    ) -> int:
        """Run the handlers of requests from the first on, up to one that asks for more.

        That is a method that is not immediate, not there, not allowed or audited,
        params that do not fit, and whatever a session asks for that is not logged in.

        Args:
            session: whose they are.
            each: they.
            answered: gets the answers.
            ran: what `run_front` gave for them.

        Returns:
            How many were run: they are counted, and are or will be answered.
        """
        done, count = 0, len(each)
        while done < count:
            found = ran or self.run_front(session, each)
            if found is None:
                break
            if isinstance(found, bytes):
                answered(found[1:-1], len(each))
                return count
            place = self._answer(session, found, each, answered)
            done, each, ran = done + place, each[place:], None
        return done

    def _answer(
        self,
        session: ClientSession,
        ran: Ran,
        each: Sequence[Element],
        answered: Answered,
    ) -> int:
        """Answer the first of some requests, which have run; say how many that are."""
        plain, context, results = ran.method, ran.context, ran.results
        done = len(results)
        if done:
            text = jsonrpc.render_results(results, each[:done])[1:-1]
            if len(text) <= self._max_answer:
                plain.figures.ok += done
                answered(text, done)
            else:
                for result, request in zip(results, each, strict=False):
                    number = jsonrpc.encode_id(request.id)
                    call = self._call(session, context, plain, number, answered)
                    call.finish_encoded(result)
        if ran.last is not NOTHING:
            number = jsonrpc.encode_id(each[done].id)
            call = self._call(session, context, plain, number, answered)
            self._end(call, ran.last)
            done += 1
        return done

    def _call(
        self,
        session: ClientSession,
        context: Context,
        plain: _Plain,
        number: bytes,
        respond: Respond,
    ) -> Call:
        """Make the call of a handler that has run, which has no use for its values."""
        return Call(
            plain.method,
            [],
            number,
            context,
            session,
            respond if number else None,
            self._max_answer,
            plain.figures,
        )


def _as_function(method: Method) -> Callable[..., Any]:
    """Give a handler as a function that returns what it returns."""
    handler = method.handler
    if not inspect.iscoroutinefunction(handler):
        return handler

    def step(*args: Any, **named: Any) -> Any:
        coroutine = handler(*args, **named)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        coroutine.close()
        raise RuntimeError(f"{method.name} is immediate but suspended")

    return step


# What follows adds encoded results, and returns what the last handler did when that is
# something else, `NOTHING` most often. Rights count as long as the login does for which
# they were looked at.


def _run_bare(
    session: ClientSession,
    plain: _Plain,
    each: Sequence[Element],
    results: list[bytes],
) -> Any:
    """Run handlers without params; end where another method or login begins."""
    handler, encode, name = plain.handler, plain.encode, each[0].method
    context, who = session.context, session.credentials
    value, text, same = NOTHING, b"", NOTHING
    try:
        for request in each:
            if request.method != name or session.credentials is not who:
                break
            value = NOTHING
            value = handler(context)
            if value is not same:
                text = encode(value)
                # Only what cannot change is the same.
                same = value if type(value) is str else NOTHING
            results.append(text)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
        return _Raised(exc) if value is NOTHING else value
    return NOTHING


def _run_with_params(
    session: ClientSession,
    plain: _Plain,
    each: Sequence[Any],
    results: list[bytes],
) -> Any:
    """Run handlers; end where another method or login begins, or params do not fit."""
    handler, encode, name = plain.handler, plain.encode, each[0].method
    decode, call = plain.method.params.decode, plain.method.params.call
    context, who, value = session.context, session.credentials, NOTHING
    try:
        for request in each:
            if request.method != name or session.credentials is not who:
                break
            values, value = decode(bytes(request.params)), NOTHING
            if values is None:
                break
            value = call(handler, context, values)
            results.append(encode(value))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
        return _Raised(exc) if value is NOTHING else value
    return NOTHING
