"""Immediate handlers: run to their end without a task, one call or many together."""

from collections.abc import Callable, Coroutine, Sequence
from types import CoroutineType
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from middlewared import jsonrpc
from middlewared.batch import Answered
from middlewared.call import Call
from middlewared.context import Context
from middlewared.figures import CallFigures
from middlewared.jsonrpc import Requests
from middlewared.outcomes import finish_later, report
from middlewared.plugin import Executor, Method
from middlewared.registry import Registry
from middlewared.session import ClientSession
from middlewared.tasks import Tasks

__all__ = ["Immediate"]

#: In place of what a handler returns that has not.
RUNNING = object()


class _Plain(msgspec.Struct, frozen=True):
    """A method of which nothing but rights and params keeps a call from being run.

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


class _Broken(NamedTuple):
    """What ended a run of handlers too early.

    Attributes:
        value: what the handler returned, `RUNNING` when it raised.
        error: what was raised, by it or by the encoder.
    """

    value: Any
    error: BaseException


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
            name: _Plain(
                method,
                method.results.direct,
                registry.figures[name],
                method.params.decode(b"") is not None,
            )
            for name, method in registry.methods.items()
            if method.executor is Executor.IMMEDIATE and method.access.read_only
        }

    def run(self, call: Call) -> None:
        """Run a handler and answer; a result that is put off is awaited in a task."""
        method = call.method
        coroutine = method.params.call(method.handler, call.context, call.values)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            if isinstance(stop.value, CoroutineType):
                self._put_off(call, stop.value)
            else:
                call.finish(stop.value)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
            report(call, exc)
        else:
            coroutine.close()
            report(call, _suspended(method))

    def _put_off(self, call: Call, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks.start(finish_later(call, work), name=f"call {call.method.name}")

    def run_together(
        self, session: ClientSession, requests: Requests, answered: Answered
    ) -> int:
        """Run handlers from the first request on, up to one that asks for more.

        That is a method that is not immediate, not there, not allowed or audited,
        params that do not fit, and whatever a session asks for that is not logged in.

        Returns:
            How many were run: they are counted, and are or will be answered.
        """
        place, count = 0, len(requests.methods)
        while place < count:
            plain = self._plain.get(requests.methods[place])
            who = session.credentials
            if plain is None or who is None or not plain.method.access.allows(who):
                break
            rest = requests.after(place) if place else requests
            done = self._run_alike(session, plain, rest, answered)
            if not done:
                break
            place += done
        return place

    def _run_alike(
        self, session: ClientSession, plain: _Plain, rest: Requests, answered: Answered
    ) -> int:
        """Run one method as often as it is asked for in a row.

        Returns:
            How often; 0 when the params of the first one do not fit.
        """
        context, results = session.context, list[bytes]()
        if rest.params is not None:
            run = _run_with_params(
                session, plain, rest.methods, rest.params, results.append
            )
        elif plain.bare:
            run = _run_bare(session, plain, rest.methods, results.append)
        else:
            return 0
        broken: _Broken | None = None
        try:
            run.send(None)
        except StopIteration as stop:
            broken = stop.value
        else:
            run.close()
            broken = _Broken(RUNNING, _suspended(plain.method))
        done = len(results)
        if done:
            numbers = rest.numbers[:done]
            text = jsonrpc.render_results(results, numbers)
            if len(text) <= self._max_answer:
                plain.figures.ok += done
                answered(text, done)
            else:
                for result, number in zip(results, numbers, strict=True):
                    call = self._call(session, context, plain, number, answered)
                    call.finish_encoded(result)
        if broken is not None:
            number = rest.numbers[done]
            self._end(self._call(session, context, plain, number, answered), broken)
            done += 1
        return done

    def _call(
        self,
        session: ClientSession,
        context: Context,
        plain: _Plain,
        number: Raw,
        answered: Answered,
    ) -> Call:
        values: list[Any] = []  # the handler has run
        return Call(
            plain.method,
            values,
            bytes(number),
            context,
            session,
            answered,
            self._max_answer,
            plain.figures,
        )

    def _end(self, call: Call, broken: _Broken) -> None:
        if broken.value is RUNNING:
            report(call, broken.error)
        elif isinstance(broken.value, CoroutineType):
            self._put_off(call, broken.value)
        else:
            call.finish(broken.value)


def _suspended(method: Method) -> RuntimeError:
    return RuntimeError(f"{method.name} is immediate but suspended")


# What follows is stepped once for many handlers: an await costs half of what it costs
# to step each of them. Rights are those of the context, which a login replaces.


async def _run_bare(
    session: ClientSession,
    plain: _Plain,
    methods: Sequence[str],
    take: Callable[[bytes], object],
) -> _Broken | None:
    """Run handlers without params; end where another method or login begins."""
    handler, encode, name = plain.method.handler, plain.encode, methods[0]
    context = session.context
    value: Any = RUNNING
    try:
        for asked in methods:
            if asked != name or session.context is not context:
                break
            value = RUNNING
            value = await handler(context)
            take(encode(value))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
        return _Broken(value, exc)
    return None


async def _run_with_params(
    session: ClientSession,
    plain: _Plain,
    methods: Sequence[str],
    params: Sequence[Raw],
    take: Callable[[bytes], object],
) -> _Broken | None:
    """Run handlers; end where another method or login begins, or params do not fit."""
    handler, encode, name = plain.method.handler, plain.encode, methods[0]
    decode, call = plain.method.params.decode, plain.method.params.call
    context = session.context
    value: Any = RUNNING
    try:
        for asked, raw in zip(methods, params, strict=True):
            if asked != name or session.context is not context:
                break
            values, value = decode(bytes(raw)), RUNNING
            if values is None:
                break
            value = await call(handler, context, values)
            take(encode(value))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
        return _Broken(value, exc)
    return None
