"""Immediate handlers: run to their end without a task, one call or many together."""

from collections.abc import Callable, Coroutine, Sequence
from types import CoroutineType
from typing import Any

import msgspec
from msgspec import Raw

from middlewared import jsonrpc
from middlewared.batch import Answered
from middlewared.call import Call, Respond
from middlewared.context import Context
from middlewared.figures import CallFigures
from middlewared.jsonrpc import Requests
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
        encode: see `Results.direct`.
        figures: what is counted of it.
        bare: it may be called without params.
    """

    method: Method
    encode: Callable[[Any], bytes]
    figures: CallFigures
    bare: bool

    @classmethod
    def of(cls, method: Method, figures: CallFigures) -> "_Plain":
        """Look at a method once."""
        bare = method.params.decode(b"") is not None
        return cls(method, method.results.direct, figures, bare)


class _Raised:
    """What a handler raised, in place of what it returns."""

    __slots__ = ("_errors",)

    def __init__(self, error: BaseException) -> None:
        self._errors = [error]

    def take(self) -> BaseException:
        """Give it away, once: its frames hold this, which may not hold it."""
        return self._errors.pop()


class Immediate:
    """Steps immediate handlers, which may not suspend.

    Args:
        registry: the methods, and what is counted of them.
        tasks: has those that put their answer off.
        max_answer: bytes of a result.
    """

    def __init__(self, registry: Registry, tasks: Tasks, max_answer: int) -> None:
        self._tasks = tasks
        self._max_answer = max_answer
        self._plain = {
            name: _Plain.of(method, registry.figures[name])
            for name, method in registry.methods.items()
            if method.executor is Executor.IMMEDIATE and method.access.read_only
        }

    def run(self, call: Call) -> None:
        """Run a handler and answer; a result that is put off is awaited in a task."""
        method = call.method
        handler = method.params.call(method.handler, call.context, call.values)
        self._end(call, _step(handler, method))

    def _end(self, call: Call, value: Any) -> None:
        if type(value) is _Raised:
            report(call, value.take())
        elif isinstance(value, CoroutineType):
            work = finish_later(call, value)
            self._tasks.start(work, name=f"call {call.method.name}")
        else:
            call.finish(value)

    def answer(
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
        if plain is None or who is None or not plain.method.access.allows(who):
            return False
        method, context = plain.method, session.context
        if params in NO_PARAMS:
            if not plain.bare:
                return False
            handler = method.handler(context)
        else:
            values = method.params.decode(params)
            if values is None:
                return False
            handler = method.params.call(method.handler, context, values)
        value = _step(handler, method)
        result = None
        if type(value) is not _Raised:
            try:
                result = plain.encode(value)
            except Exception:  # noqa: BLE001 - the call below meets it again
                result = None
        if result is None or len(result) > self._max_answer:
            call = self._call(session, context, plain, number, respond)
            self._end(call, value)
            return True
        plain.figures.ok += 1
        if number:
            respond(jsonrpc.render_result(result, number))
        return True

    def answer_together(
        self, session: ClientSession, requests: Requests, answered: Answered
    ) -> int:
        """Run the handlers of requests from the first on, up to one that asks for more.

        That is a method that is not immediate, not there, not allowed or audited,
        params that do not fit, and whatever a session asks for that is not logged in.

        Returns:
            How many were run: they are counted, and are or will be answered.
        """
        place, count = 0, len(requests.methods)
        while place < count:
            plain, who = self._plain.get(requests.methods[place]), session.credentials
            if plain is None or who is None or not plain.method.access.allows(who):
                break
            rest = requests.after(place) if place else requests
            done = self._answer_alike(session, plain, rest, answered)
            if not done:
                break
            place += done
        return place

    def _answer_alike(
        self, session: ClientSession, plain: _Plain, rest: Requests, answered: Answered
    ) -> int:
        """Run one method as often as it is asked for in a row.

        Returns:
            How often; 0 when the params of the first one do not fit.
        """
        context = session.context
        results: list[bytes] = []
        if rest.params is not None:
            run = _run_with_params(session, plain, rest.methods, rest.params, results)
        elif plain.bare:
            run = _run_bare(session, plain, rest.methods, results)
        else:
            return 0
        last = _step(run, plain.method)
        done = len(results)
        if done:
            numbers = rest.numbers[:done]
            text = jsonrpc.render_results(results, numbers)
            if len(text) <= self._max_answer:
                plain.figures.ok += done
                answered(text, done)
            else:
                for result, number in zip(results, numbers, strict=True):
                    call = self._call(session, context, plain, bytes(number), answered)
                    call.finish_encoded(result)
        if last is not NOTHING:
            number = rest.numbers[done]
            call = self._call(session, context, plain, bytes(number), answered)
            self._end(call, last)
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


def _step(handler: Coroutine[Any, Any, Any], method: Method) -> Any:
    """Run a handler to its end; give what it returns, or `_Raised`."""
    try:
        handler.send(None)
    except StopIteration as stop:
        return stop.value
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
        return _Raised(exc)
    handler.close()
    return _Raised(RuntimeError(f"{method.name} is immediate but suspended"))


# What follows is stepped once for many handlers: an await costs half of what it costs
# to step each of them. It adds encoded results, and returns what the last handler did
# when that is something else, `NOTHING` most often. Rights count as long as the login
# does for which they were looked at.


async def _run_bare(
    session: ClientSession,
    plain: _Plain,
    methods: Sequence[str],
    results: list[bytes],
) -> Any:
    """Run handlers without params; end where another method or login begins."""
    handler, encode, name = plain.method.handler, plain.encode, methods[0]
    context, who, value = session.context, session.credentials, NOTHING
    try:
        for asked in methods:
            if asked != name or session.credentials is not who:
                break
            value = NOTHING
            value = await handler(context)
            results.append(encode(value))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
        return _Raised(exc) if value is NOTHING else value
    return NOTHING


async def _run_with_params(
    session: ClientSession,
    plain: _Plain,
    methods: Sequence[str],
    params: Sequence[Raw],
    results: list[bytes],
) -> Any:
    """Run handlers; end where another method or login begins, or params do not fit."""
    handler, encode, name = plain.method.handler, plain.encode, methods[0]
    decode, call = plain.method.params.decode, plain.method.params.call
    context, who, value = session.context, session.credentials, NOTHING
    try:
        for asked, raw in zip(methods, params, strict=True):
            if asked != name or session.credentials is not who:
                break
            values, value = decode(bytes(raw)), NOTHING
            if values is None:
                break
            value = await call(handler, context, values)
            results.append(encode(value))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
        return _Raised(exc) if value is NOTHING else value
    return NOTHING
