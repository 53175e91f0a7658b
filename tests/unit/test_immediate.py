"""Immediate handlers, one by one and many together: both ways give the same."""

import gc
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.test_dispatch import Outlet

from middlewared import CallError, Context, Credentials, Origin, Plugin
from middlewared.access import SYSTEM
from middlewared.batch import BATCH_SLICE, Answered, Ran
from middlewared.call import Respond
from middlewared.context import Services
from middlewared.dispatch import Dispatcher
from middlewared.immediate import Immediate
from middlewared.jsonrpc import Element
from middlewared.registry import Registry
from middlewared.results import later
from middlewared.session import ClientSession
from middlewared.testing import RunningServer, running_server

EXAMPLES = 2000 if os.environ.get("SOAK") else 120
LIMIT = 2**20

near = Plugin("near")
#: What handlers did, in order.
seen: list[Any] = []
#: What one of them returns each time.
grown: list[int] = []


class Odd(msgspec.Struct):
    """Holds a number that JSON may not have."""

    size: float


@near.method(authenticated=True, read_only=True, immediate=True)
async def echo(ctx: Context, value: Any = None) -> Any:
    """Return *value*."""
    seen.append(("echo", value, ctx.credentials))
    return value


@near.method(authenticated=True, read_only=True, immediate=True)
def needs(ctx: Context, count: int, name: str = "x") -> str:
    """Ask for a param."""
    seen.append(("needs", count, name))
    return name * count


@near.method(authenticated=True, read_only=True, immediate=True)
async def number(ctx: Context, size: float = 0.5) -> Odd:
    """Return a number, for which JSON has no form when it is large."""
    return Odd(size * 1e308)


@near.method(authenticated=True, read_only=True, immediate=True)
def lies(ctx: Context) -> int:
    """Return something else than it says."""
    return {1, 2}  # type: ignore[return-value]  # on purpose


@near.method(authenticated=True, read_only=True, immediate=True)
def grows(ctx: Context, by: int = 1) -> list[int]:
    """Return what changes after it was returned."""
    grown.extend(range(by))
    return grown


@near.method(authenticated=True, read_only=True, immediate=True)
async def broken(ctx: Context) -> str:
    """Return what cannot be encoded."""
    return object()  # type: ignore[return-value]  # on purpose


@near.method(authenticated=True, read_only=True, immediate=True)
def nothing(ctx: Context) -> int:
    """Return what stands for nothing elsewhere."""
    return msgspec.UNSET  # type: ignore[return-value]  # on purpose


@near.method(authenticated=True, read_only=True, immediate=True)
def fails(ctx: Context, how: str = "call") -> None:
    """Raise something."""
    if how == "exit":
        raise SystemExit(3)
    raise CallError("no", 5) if how == "call" else LookupError(how)


@near.method(authenticated=True, read_only=True, immediate=True)
async def suspends(ctx: Context) -> None:
    """Do what it may not do."""
    await anyio.lowlevel.checkpoint()


@near.method(authenticated=True, read_only=True, immediate=True)
def puts_off(ctx: Context, value: str = "late") -> str:
    """Answer later."""

    async def work() -> str:
        await anyio.lowlevel.checkpoint()
        return value

    return later(work())


@near.method(authenticated=True, read_only=True, immediate=True)
async def large(ctx: Context, size: int = LIMIT // 2 + 1) -> str:
    """Return more than may be sent."""
    return "x" * size


@near.method(authenticated=True, read_only=True, immediate=True)
def leave(ctx: Context, often: int = 1) -> bool:
    """Log out."""
    assert ctx.session is not None
    seen.append(("leave", ctx.credentials))
    ctx.session.login(None)
    return True


@near.method(authenticated=True, read_only=True, immediate=True)
async def gone(ctx: Context) -> str:
    """End as if the client had gone."""
    assert isinstance(ctx.session, ClientSession)
    seen.append("gone")
    ctx.session.close()
    return "gone"


@near.method(authenticated=True, immediate=True)
async def writes(ctx: Context, value: int = 0) -> int:
    """Change something: it is audited."""
    seen.append(("writes", value))
    return value


@near.method(roles=["SOME"], read_only=True, immediate=True)
async def guarded(ctx: Context) -> str:
    """Ask for a role."""
    return "in"


@near.method(immediate=True)
async def admins(ctx: Context) -> str:
    """Ask for everything."""
    return "in"


@near.method(authenticated=True, read_only=True)
async def soon(ctx: Context, value: int = 0) -> int:
    """Return *value* after a while."""
    seen.append(("soon", value))
    await anyio.lowlevel.checkpoint()
    return value


class Nothing(Immediate):
    """Leaves everything to the way that all other calls take."""

    def answer(
        self,
        session: ClientSession,
        name: str,
        params: bytes,
        number: bytes,
        respond: Respond,
    ) -> bool:
        return False

    def run_front(
        self, session: ClientSession, each: Sequence[Element]
    ) -> bytes | Ran | None:
        return None

    def answer_together(
        self,
        session: ClientSession,
        each: Sequence[Element],
        answered: Answered,
        ran: Ran | None = None,
    ) -> int:
        return 0


class Slow(Dispatcher):
    """Takes no short way."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._immediate = Nothing(self._registry, self._tasks, self._max_answer)


class Counting(Dispatcher):
    """Says how many elements were not answered together with others."""

    alone = 0

    def start(self, session: ClientSession, element: bytes, respond: Respond) -> bool:
        self.alone += 1
        return super().start(session, element, respond)


@dataclass
class Found:
    """What came of a message, and what is left of it."""

    answers: list[Any]
    done: list[Any]
    figures: dict[str, tuple[int, dict[str, int]]]
    refused: dict[str, int]
    credentials: Credentials | None
    left: tuple[int, int, int]


def figures_of(registry: Registry) -> dict[str, tuple[int, dict[str, int]]]:
    return {name: (one.ok, dict(one.failed)) for name, one in registry.figures.items()}


async def take(
    running: RunningServer, dispatcher: Dispatcher, raw: bytes, roles: frozenset[str]
) -> Found:
    """Have a dispatcher handle a message of a new session."""
    services = running.app.services
    registry = services.get(Registry)
    for one in registry.figures.values():
        one.ok, one.failed = 0, {}
    dispatcher.refused = dict.fromkeys(dispatcher.refused, 0)
    seen.clear()
    grown.clear()
    outlet = Outlet()
    session = ClientSession(services, outlet, Origin())
    if roles:
        session.login(
            Credentials(
                type="LOGIN_PASSWORD",
                account_id=None,
                username="x",
                roles=roles - {"LOGIN"},
                login_id="x",
                login_at=0,
            )
        )
    dispatcher.receive(session, raw)
    with anyio.fail_after(20):
        while session.calls or session.waiting:
            await anyio.lowlevel.checkpoint()
    # What is put off takes a few ticks; what is never answered must not come, either.
    for _ in range(12):
        await anyio.lowlevel.checkpoint()
    left = (session.calls, session.undispatched, len(session.waiting))
    return Found(
        [without_traces(answer) for answer in outlet.answers],
        list(seen),
        figures_of(registry),
        dispatcher.refused,
        session.credentials,
        left,
    )


def without_traces(answer: Any) -> Any:
    """Leave the text of tracebacks out: it names the lines that called the handler."""
    for one in answer if isinstance(answer, list) else [answer]:
        trace = (one.get("error", {}).get("data") or {}).get("trace")
        if trace:
            trace["formatted"] = trace["formatted"].splitlines()[-1:]
    return answer


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[RunningServer]:
    async with running_server(near, max_calls=4, send_queue_limit=LIMIT) as server:
        yield server


NAMES = [
    *(
        f"near.{name}"
        for name in (
            "echo",
            "needs",
            "number",
            "lies",
            "broken",
            "nothing",
            "fails",
            "grows",
            "suspends",
            "puts_off",
            "large",
            "leave",
            "gone",
            "writes",
            "guarded",
            "admins",
            "soon",
        )
    ),
    "core.ping",
]
PARAMS = [
    *("[]", "{}", "[ ]", "null", "5", "[1]", "[2,3]", '["a"]', '{"value":1}'),
    *('{"count":2}', '{"count":2,"name":"é"}', '{"nope":1}', "[2]", "[1e308]"),
    *('{"value":{"$date":1}}', '["exit"]', '["else"]', '{"how":"else"}', "[[1,{}]]"),
    *('{"size":600000}', "[NaN]", "[1,2,3]"),
]
#: Most clients have these.
IDS = [
    *("1", "1", "2", "0", "100", "18446744073709551616", "9" * 30),
    *('"a"', '"a,b"', '"]"', '"é"', '"\x7f\u2028"', '"-0"', "-7"),
]
ODD_IDS = [
    *("-0", "1.0", "1e2", "-1.5", "null", '"\\u0061"', '"\\n"', '"\\ud800"'),
    *("9" * 400, "9" * 4000, "1e400", "true", "[1]", "{}"),
]
ODD = [
    *("1", '"x"', "[]", "{}", "null", '{"jsonrpc":"2.0","result":1,"id":1}'),
    *('{"jsonrpc":"2.0","method":1,"id":1}', '{"method":"core.ping","id":1}'),
    *('{"jsonrpc":"1.0","method":"core.ping","id":1}',),
    *('{"jsonrpc":"2.0","method":"","id":7}', '{"jsonrpc":"2.0","id":8}'),
    *('{"jsonrpc":"2.0","method":"core.ping","id":1,"extra":[1]}',),
    *('{"jsonrpc":"2.0","method":"core.ping","id":1,"id":2}',),
    *('{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}',),
    *('{"jsonrpc":"2.0","method":"nowhere.at_all","id":[]}',),
    *('{"jsonrpc":"2.0","method":"nowhere.at_all","id":3}',),
]

method = st.sampled_from(NAMES) | st.sampled_from(["core.ping", "near.echo"])


@st.composite
def element(draw: st.DrawFn, *, plain: bool, ids: Sequence[str]) -> str:
    """Draw a request, or something close to one unless it shall be plain."""
    if not plain and draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(ODD))
    members = ['"jsonrpc":"2.0"', f'"method":"{draw(method)}"']
    if draw(st.booleans()):
        members.append(f'"params":{draw(st.sampled_from(PARAMS))}')
    if plain or draw(st.integers(0, 9)):
        members.append(f'"id":{draw(st.sampled_from(ids))}')
    return "{" + ",".join(draw(st.permutations(members))) + "}"


def repeated(elements: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """Draw lists in which the same stands several times in a row."""
    run = st.tuples(elements, st.integers(1, 4))
    return st.lists(run, max_size=6).map(
        lambda runs: [one for one, times in runs for _ in range(times)]
    )


anything = element(plain=False, ids=IDS + ODD_IDS)
batches = (
    repeated(element(plain=True, ids=IDS))
    | repeated(element(plain=True, ids=IDS + ODD_IDS[:8]))
    | repeated(anything)
)
roles = st.sampled_from(
    [
        *(frozenset[str](), frozenset({"LOGIN"}), frozenset({"SOME"})),
        *(frozenset({"READONLY_ADMIN"}), frozenset({"FULL_ADMIN"})),
    ]
)


@pytest.mark.timeout(600)
@given(elements=batches, roles=roles)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_batch_is_answered_as_its_elements_would_be(
    running: RunningServer, elements: list[str], roles: frozenset[str]
) -> None:
    """Answers, their order, what handlers see, figures, rights, limits: the same."""
    raw = f"[{','.join(elements)}]".encode()
    services = running.app.services
    short = await take(running, Dispatcher(services), raw, roles)
    assert short == await take(running, Slow(services), raw, roles)
    assert short.left == (0, 0, 0)


@pytest.mark.timeout(600)
@given(raw=anything.map(str.encode), roles=roles)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_request_is_answered_as_it_would_be_the_long_way(
    running: RunningServer, raw: bytes, roles: frozenset[str]
) -> None:
    """The short way is no other one."""
    services = running.app.services
    short = await take(running, Dispatcher(services), raw, roles)
    assert short == await take(running, Slow(services), raw, roles)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", ["", ',"id":1'])
async def test_every_method_is_answered_as_it_would_be_the_long_way(
    running: RunningServer, name: str, number: str
) -> None:
    """With each of the params, as a notification and not."""
    services = running.app.services
    for params in PARAMS:
        raw = f'{{"jsonrpc":"2.0","method":"{name}","params":{params}{number}}}'
        for who in (frozenset({"SOME"}), frozenset({"FULL_ADMIN"})):
            short = await take(running, Dispatcher(services), raw.encode(), who)
            slow = await take(running, Slow(services), raw.encode(), who)
            assert short == slow, raw


PING = b'{"jsonrpc":"2.0","id":%d,"method":"core.ping"}'
ECHO = b'{"jsonrpc":"2.0","id":%d,"method":"near.echo","params":[%d]}'
SOON = b'{"jsonrpc":"2.0","id":%d,"method":"near.soon"}'


def batch_of(*elements: bytes) -> bytes:
    numbered = [one.replace(b"%d", b"%d" % n) for n, one in enumerate(elements)]
    return b"[" + b",".join(numbered) + b"]"


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ([PING], 1),
        ([PING] * 20, 20),
        ([PING, ECHO] * 10, 20),
        ([PING, PING, SOON, ECHO], 2),
        ([SOON, PING], 0),
        ([PING] * BATCH_SLICE, BATCH_SLICE),
        ([ECHO] * (BATCH_SLICE * 3 + 1), BATCH_SLICE * 3 + 1),
        ([PING, SOON] * BATCH_SLICE, 1),
    ],
)
async def test_plain_calls_are_run_together(
    running: RunningServer, elements: list[bytes], expected: int
) -> None:
    """Else the property would hold for want of anything to compare."""
    dispatcher = Counting(running.app.services)
    found = await take(running, dispatcher, batch_of(*elements), frozenset({"SOME"}))
    assert dispatcher.alone == len(elements) - expected
    (answers,) = found.answers
    assert sorted(one["id"] for one in answers) == list(range(len(elements)))


async def test_long_batch_gives_way_after_each_slice(running: RunningServer) -> None:
    """However cheap its elements are."""
    dispatcher, outlet = Dispatcher(running.app.services), Outlet()
    session = ClientSession(running.app.services, outlet, Origin())
    session.login(SYSTEM)
    seen.clear()
    dispatcher.receive(session, batch_of(*[ECHO] * (BATCH_SLICE * 2 + 5)))
    assert len(seen) == BATCH_SLICE
    assert session.undispatched > 0
    await anyio.lowlevel.checkpoint()
    assert len(seen) == BATCH_SLICE * 2
    await anyio.lowlevel.checkpoint()
    assert (len(seen), session.undispatched) == (BATCH_SLICE * 2 + 5, 0)
    assert len(outlet.answers) == 1


async def test_rights_end_where_a_handler_ends_them(running: RunningServer) -> None:
    """The rest of the batch is a stranger's."""
    leave = PING.replace(b"core.ping", b"near.leave")
    found = await take(
        running,
        Dispatcher(running.app.services),
        batch_of(ECHO, leave, ECHO, PING),
        frozenset({"FULL_ADMIN"}),
    )
    (answers,) = found.answers
    assert [one.get("result") for one in answers] == [0, True, None, "pong"]
    assert answers[2]["error"]["data"]["error"] == 207
    assert found.credentials is None


FAILS = b'{"jsonrpc":"2.0","id":%d,"method":"near.fails","params":["else"]}'
BARE_FAILS = b'{"jsonrpc":"2.0","id":%d,"method":"near.fails"}'


@pytest.mark.parametrize(
    "raw",
    [
        FAILS,
        BARE_FAILS,
        PING,
        batch_of(PING, PING),
        batch_of(BARE_FAILS, BARE_FAILS),
        batch_of(FAILS, ECHO, FAILS),
    ],
)
async def test_answers_leave_no_circles(running: RunningServer, raw: bytes) -> None:
    """What was raised holds frames, which may not hold it."""
    dispatcher, outlet = Dispatcher(running.app.services), Outlet()
    session = ClientSession(running.app.services, outlet, Origin())
    session.login(SYSTEM)
    dispatcher.receive(session, raw.replace(b"%d", b"1"))
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            dispatcher.receive(session, raw.replace(b"%d", b"1"))
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert len(outlet.answers) == 4
