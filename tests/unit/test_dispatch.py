"""From a message to a handler, and from its outcome to the answer."""

import asyncio
import os
import random
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from middlewared import CallError, Context, Credentials, Event, Origin, Plugin, Secret
from middlewared.broadcast import Parcel
from middlewared.dispatch import Dispatcher
from middlewared.errors import MethodNotFound, NotAuthenticated, ValidationErrors
from middlewared.events import Subscriber
from middlewared.results import later
from middlewared.session import ClientSession
from middlewared.testing import RunningServer, running_server

wire = Plugin("wire")
threads: list[int] = []


class Rude(Exception):
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Trap(dict[str, Any]):
    """Cannot be encoded, in a way of its own."""

    def items(self) -> Any:
        raise LookupError("trap")


@wire.method(public=True, immediate=True)
async def at_once(ctx: Context, value: Any = None) -> Any:
    """Return *value* at once."""
    return value


@wire.method(public=True)
async def soon(ctx: Context, value: Any = None) -> Any:
    """Return *value* after a while."""
    await anyio.lowlevel.checkpoint()
    return value


@wire.method(public=True)
def threaded(ctx: Context, value: Any = None) -> Any:
    """Return *value* from a thread."""
    threads.append(threading.get_ident())
    return value


@wire.method(public=True, immediate=True)
async def suspends(ctx: Context) -> None:
    """Do what an immediate handler must not."""
    await anyio.lowlevel.checkpoint()


@wire.method(public=True, immediate=True)
async def puts_off(ctx: Context, value: str) -> str:
    """Answer with what takes time, or fail in it."""

    async def work() -> str:
        await anyio.lowlevel.checkpoint()
        if value == "fail":
            raise CallError("put off", 5)
        if value == "cancel":
            raise asyncio.CancelledError
        return value

    return later(work())


@wire.method(public=True)
async def leaves(ctx: Context) -> None:
    """Behave like a script."""
    sys.exit(3)


@wire.method(public=True, immediate=True)
async def leaves_at_once(ctx: Context) -> None:
    """Behave like a script."""
    sys.exit(3)


@wire.method(public=True)
def leaves_in_a_thread(ctx: Context) -> None:
    """Behave like a script."""
    sys.exit(3)


@wire.method(public=True)
async def rude(ctx: Context) -> None:
    """Raise something that cannot be shown."""
    raise Rude


@wire.method(public=True)
async def trap(ctx: Context) -> Any:
    """Return something that cannot be encoded."""
    return Trap(a=1)


@wire.method(public=True)
async def group(ctx: Context) -> None:
    """Fail in a task group."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.lowlevel.checkpoint)
        raise CallError("inside", 5)


@wire.method(public=True)
async def cancelled(ctx: Context) -> None:
    """Cancel itself."""
    raise asyncio.CancelledError


@wire.method(public=True)
async def timed(ctx: Context) -> str:
    """Use a scope of anyio."""
    with anyio.move_on_after(0.001):
        await anyio.sleep_forever()
    return "in time"


@wire.method(public=True, read_only=True)
async def looks(ctx: Context) -> None:
    """Look at something for ever."""
    await anyio.sleep_forever()


@wire.method(public=True)
async def changes(ctx: Context) -> str:
    """Change something that must not be left half done."""
    await anyio.sleep(0.05)
    return "changed"


@wire.method(public=True)
async def spills(ctx: Context, word: Secret[str]) -> None:
    """Fail with an exception that quotes the secret."""
    raise ValueError(f"{word.get()} is wrong")


@wire.method
async def secret(ctx: Context, value: int) -> int:
    """Return *value* to full admins."""
    return value


class Outlet:
    """Where the frames of a session end."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.more = anyio.Event()

    def send(self, frame: bytes) -> None:
        start = {126: 4, 127: 10}.get(frame[1], 2)  # the length, and 2 or 8 bytes of it
        self.answers.append(msgspec.json.decode(frame[start:]))
        self.more.set()

    def send_event(self, event: Event, subscriber: Subscriber) -> None:
        self.send(event.frame_for(subscriber))

    def send_parcel(self, parcel: Parcel) -> None:
        for _, frame in parcel.items:
            self.send(frame)

    def send_as(self, event: Event, subscriber: Subscriber, key: object) -> None:
        self.send(event.frame_for(subscriber))

    async def wait_writable(self) -> None:
        pass

    def identify(self, *, anonymous: bool) -> None:
        pass

    async def next(self) -> Any:
        """Wait for one answer."""
        with anyio.fail_after(20):
            while not self.answers:
                self.more = anyio.Event()
                await self.more.wait()
        return self.answers.pop(0)


class World:
    """A dispatcher with one session."""

    def __init__(self, running: RunningServer) -> None:
        self.running = running
        self.outlet = Outlet()
        services = running.app.services
        self.dispatcher = services.get(Dispatcher)
        self.session = ClientSession(services, self.outlet, Origin())

    def send(self, message: Any) -> None:
        raw = message if isinstance(message, bytes) else msgspec.json.encode(message)
        self.dispatcher.receive(self.session, raw)

    async def ask(self, method: str, *params: Any) -> Any:
        self.send(request(method, *params))
        return await self.outlet.next()

    def login(self, *roles: str) -> None:
        self.session.login(
            Credentials(
                type="LOGIN_PASSWORD",
                account_id=None,
                username="x",
                roles=frozenset(roles),
                login_id="x",
                login_at=0,
            )
        )


def request(method: str, *params: Any, number: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[RunningServer]:
    async with running_server(wire, max_calls=10, send_queue_limit=2**20) as server:
        yield server


@pytest.fixture
async def world(running: RunningServer) -> World:
    return World(running)


@pytest.mark.parametrize("method", ["wire.at_once", "wire.soon", "wire.threaded"])
async def test_handler_of_every_kind_is_answered(world: World, method: str) -> None:
    """At once, in a task, in a thread."""
    value = {"a": [1, None, "x"]}
    expected = {"jsonrpc": "2.0", "result": value, "id": 1}
    assert await world.ask(method, value) == expected


async def test_immediate_answer_is_there_when_receive_returns(world: World) -> None:
    """It takes no tick of the loop."""
    world.send(request("wire.at_once", 5))
    assert world.outlet.answers == [{"jsonrpc": "2.0", "result": 5, "id": 1}]


async def test_plain_function_runs_in_another_thread(world: World) -> None:
    """It may block without holding up the loop."""
    await world.ask("wire.threaded")
    assert threads[-1] != threading.get_ident()


async def test_scopes_of_anyio_work_in_handlers(world: World) -> None:
    """A task of its own makes them work."""
    assert (await world.ask("wire.timed"))["result"] == "in time"


async def test_immediate_handler_that_suspends_is_an_error(world: World) -> None:
    """Its author learns it in the first test."""
    world.login("FULL_ADMIN")
    error = (await world.ask("wire.suspends"))["error"]
    assert "wire.suspends is immediate but suspended" in error["data"]["reason"]


async def test_immediate_handler_may_put_its_answer_off(world: World) -> None:
    """What it returns then is awaited; it fails like any other."""
    assert (await world.ask("wire.puts_off", "x"))["result"] == "x"
    error = (await world.ask("wire.puts_off", "fail"))["error"]
    assert error["data"]["reason"] == "[EIO] put off"
    error = (await world.ask("wire.puts_off", "cancel"))["error"]
    assert error["data"]["errname"] == "EBUSY"


@pytest.mark.parametrize(
    "method", ["wire.leaves", "wire.leaves_at_once", "wire.leaves_in_a_thread"]
)
async def test_handler_that_exits_does_not_end_the_server(
    world: World, method: str
) -> None:
    """``sys.exit`` in a handler is its failure, not ours."""
    error = (await world.ask(method))["error"]
    assert error["code"] == -32001
    assert error["data"]["trace"]["class"] == "SystemExit"
    assert (await world.ask("core.ping"))["result"] == "pong"


@pytest.mark.parametrize("method", ["wire.rude", "wire.trap"])
async def test_what_cannot_be_shown_is_answered_all_the_same(
    world: World, method: str
) -> None:
    """No caller waits for ever."""
    assert (await world.ask(method))["error"]["code"] == -32603


async def test_failure_in_a_task_group_is_an_error(world: World) -> None:
    """An exception group is an exception."""
    error = (await world.ask("wire.group"))["error"]
    assert error["code"] == -32001


async def test_handler_that_cancels_itself_is_answered(world: World) -> None:
    """Also then the slot is free again."""
    for _ in range(20):  # more than max_calls
        assert "error" in await world.ask("wire.cancelled")
    assert world.session.calls == 0


@pytest.mark.parametrize("size", [2**19 - 100, 2**19 + 100])
async def test_answer_over_the_send_limit_is_emsgsize(world: World, size: int) -> None:
    """An answer that could not be sent is not tried."""
    answer = await world.ask("wire.at_once", "x" * size)
    if size < 2**19:
        assert len(answer["result"]) == size
    else:
        assert answer["error"]["data"]["errname"] == "EMSGSIZE"


async def test_slot_is_free_after_every_outcome(world: World) -> None:
    """Success, failure and a refusal of params leave none behind."""
    for method in ("wire.soon", "wire.rude", "wire.trap", "wire.threaded"):
        for _ in range(15):
            await world.ask(method)
    for _ in range(15):
        await world.ask("wire.soon", 1, 2, 3)
    assert world.session.calls == 0
    assert world.session.undispatched == 0


async def test_notification_over_max_calls_is_dropped_silently(world: World) -> None:
    """It has nobody to tell."""
    note = {"jsonrpc": "2.0", "method": "wire.soon"}
    for _ in range(30):
        world.send(note)
    assert world.session.calls == 10
    world.send(request("wire.at_once", 1))
    assert await world.outlet.next() == {"jsonrpc": "2.0", "result": 1, "id": 1}
    assert world.outlet.answers == []


async def test_batch_waits_for_its_last_answer(world: World) -> None:
    """One message for all, whatever ran where."""
    methods = ["wire.at_once", "wire.soon", "wire.threaded", "nowhere", "wire.rude"]
    world.send([request(m, number=n) for n, m in enumerate(methods)])
    answers = await world.outlet.next()
    assert sorted(answer["id"] for answer in answers) == [0, 1, 2, 3, 4]
    assert world.outlet.answers == []


async def test_long_batch_lets_others_in_between(world: World) -> None:
    """A batch is worked off in slices."""
    world.send([request("wire.at_once", number=n) for n in range(1000)])
    other = World(world.running)
    other.send(request("core.ping"))
    assert other.outlet.answers
    assert not world.outlet.answers
    assert len(await world.outlet.next()) == 1000


async def test_batch_of_a_client_that_left_is_run_to_its_end(world: World) -> None:
    """A client may send its notifications and go."""
    before = len(threads)
    world.send([{"jsonrpc": "2.0", "method": "wire.threaded"}] * 25)
    world.session.close()
    with anyio.fail_after(20):
        while len(threads) < before + 25:  # noqa: ASYNC110 - nobody is told
            await anyio.sleep(0.01)
    assert len(threads) == before + 25


def given_up(number: Any) -> dict[str, Any]:
    params = {"id": number}
    return {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": params}


@pytest.mark.parametrize("number", [7, "x", 0, "", -1.5, "\N{SNOWMAN}"])
async def test_call_that_changes_nothing_is_given_up(world: World, number: Any) -> None:
    """It is answered with ECANCELED; one in the same moment too."""
    for _ in range(2):
        world.send(request("wire.looks", number=number))
        world.send(given_up(number))
        await anyio.lowlevel.checkpoint()
        error = (await world.outlet.next())["error"]
        assert error["data"]["errname"] == "ECANCELED"
        assert (world.session.calls, world.session.in_flight) == (0, {})
    # In a batch as well.
    world.send([request("wire.looks", number=1), given_up(1)])
    (answer,) = await world.outlet.next()
    assert answer["error"]["data"]["errname"] == "ECANCELED"


@pytest.mark.parametrize("method", ["wire.changes", "wire.threaded", "wire.at_once"])
async def test_other_calls_go_on(world: World, method: str) -> None:
    """Half a change is worse; and a thread cannot be stopped."""
    world.send(request(method))
    world.send(given_up(1))
    world.send(given_up(1))
    assert "result" in await world.outlet.next()
    assert world.session.in_flight == {}


async def test_giving_up_is_a_notification(world: World) -> None:
    """Nothing answers it; with an id it is no method; malformed, it is nothing."""
    world.send(request("wire.looks", number=5))
    for params in ({"id": 6}, {"id": "5"}, {}, [5], {"id": [5]}):
        world.send({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": params})
    world.send({**given_up(5), "id": 9})
    answer = await world.outlet.next()
    assert (answer["id"], answer["error"]["code"]) == (9, -32601)
    assert list(world.session.in_flight) == [b"5"]
    world.send(given_up(5))
    assert (await world.outlet.next())["id"] == 5


async def test_newer_call_of_an_id_is_the_one_that_is_given_up(world: World) -> None:
    """Who uses an id twice is answered twice."""
    world.send(request("wire.changes", number=5))
    world.send(request("wire.looks", number=5))
    world.send(given_up(5))
    answers = [await world.outlet.next(), await world.outlet.next()]
    assert sorted("result" in answer for answer in answers) == [False, True]
    assert world.session.in_flight == {}


async def test_login_counts_from_the_next_message_on(world: World) -> None:
    """Rights are looked at when a call is made."""
    assert (await world.ask("wire.secret", 1))["error"]["data"]["error"] == 207
    world.login("SOME_ROLE")
    error = (await world.ask("wire.secret", "x"))["error"]
    assert (error["code"], error["data"]["error"]) == (-32001, 13)
    world.login("FULL_ADMIN")
    assert (await world.ask("wire.secret", 1))["result"] == 1
    assert (await world.ask("wire.secret", "x"))["error"]["code"] == -32602
    world.session.login(None)
    assert (await world.ask("wire.secret", 1))["error"]["data"]["error"] == 207


async def test_traceback_goes_to_full_admins_only(world: World) -> None:
    """The five keys go to everybody."""
    for roles, shown in (((), False), (("SOME_ROLE",), False), (("FULL_ADMIN",), True)):
        world.session.login(None)
        if roles:
            world.login(*roles)
        for method in ("wire.group", "wire.leaves"):
            data = (await world.ask(method))["error"]["data"]
            assert list(data) == ["error", "errname", "reason", "trace", "extra"]
            assert list(data["trace"]) == ["class", "formatted", "repr"]
            assert ("Traceback" in data["trace"]["formatted"]) is shown
            assert ("Traceback" in str(data)) is shown


# Whatever comes.

SEEDS = [
    b'{"jsonrpc":"2.0","id":1,"method":"core.ping"}',
    b'{"jsonrpc":"2.0","id":"a","method":"wire.at_once","params":[1,"x",null]}',
    b'{"jsonrpc":"2.0","id":2.5,"method":"wire.soon","params":{"value":{"a":[1]}}}',
    b'{"jsonrpc":"2.0","method":"wire.at_once","params":[{"$date":1}]}',
    b'[{"jsonrpc":"2.0","id":1,"method":"core.ping"},{"jsonrpc":"2.0","id":2}]',
    b'[1,{"jsonrpc":"2.0","method":"core.ping"},[],{"result":1,"id":3}]',
    b'{"jsonrpc":"2.0","id":null,"method":"core.set_options","params":[{}]}',
    b'{"jsonrpc":"2.0","id":4,"method":"core.subscribe","params":["x:{}"]}',
]
CRUMBS = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u",
    b"$",
    b"0",
    b"-",
    b"e9",
]


def mutate(chance: random.Random) -> bytes:
    """Break a message a little."""
    raw = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randrange(1, 5)):
        place = chance.randrange(len(raw) + 1)
        match chance.randrange(4):
            case 0:
                del raw[place : place + chance.randrange(1, 6)]
            case 1:
                raw[place:place] = chance.choice(CRUMBS)
            case 2:
                raw[place:place] = bytes(raw[place : place + chance.randrange(1, 30)])
            case _:
                raw[place : place + 1] = bytes([chance.randrange(32, 127)])
    return bytes(raw)


def check_answer(answer: Any) -> None:
    """Check one response (JSON-RPC 2.0, section 5)."""
    assert set(answer) in ({"jsonrpc", "result", "id"}, {"jsonrpc", "error", "id"})
    assert answer["jsonrpc"] == "2.0"
    assert not isinstance(answer["id"], (bool, list, dict))
    if "error" in answer:
        assert answer["error"]["code"] in {-32700, -32600, -32601, -32602, -32001}


@pytest.mark.timeout(600)
async def test_whatever_comes_is_answered_as_the_specification_says(
    world: World,
) -> None:
    """Nothing that a client sends raises, and there is one answer at most."""
    chance = random.Random(11)  # noqa: S311 - the same messages every time
    for _ in range(100_000 if os.environ.get("SOAK") else 4000):
        raw = mutate(chance)
        world.send(raw)
        while world.session.calls:
            await anyio.lowlevel.checkpoint()
        assert len(world.outlet.answers) <= 1, raw
        for answer in world.outlet.answers:
            assert answer != [], raw
            for element in answer if isinstance(answer, list) else [answer]:
                check_answer(element)
        world.outlet.answers.clear()


# Calls from inside.


async def test_inner_call_returns_plain_values(world: World) -> None:
    """As a client would see them."""
    call = world.running.context.call
    assert await call("wire.soon", {"a": (1, 2)}) == {"a": [1, 2]}
    assert await call("core.ping") == "pong"


async def test_inner_call_raises_what_was_wrong(world: World) -> None:
    """Unknown, unfit, forbidden or failed."""
    context = world.running.context
    with pytest.raises(MethodNotFound):
        await context.call("nowhere")
    with pytest.raises(ValidationErrors):
        await context.call("wire.secret", "x")
    with pytest.raises(BaseExceptionGroup):
        await context.call("wire.group")
    with pytest.raises(NotAuthenticated):
        await world.session.context.call("wire.secret", 1)


async def test_inner_call_of_a_job_waits_for_its_end(world: World) -> None:
    """It gives the job's result, not its number."""
    assert await world.running.context.call("demo.noop", [1, 2]) == [1, 2]


async def test_answers_are_counted(world: World) -> None:
    """By method and outcome; what never comes to a method, by the reason."""
    figures = world.dispatcher._registry.figures
    at_once, soon = figures["wire.at_once"], figures["wire.soon"]
    before = at_once.ok, soon.ok, dict(world.dispatcher.refused)
    await world.ask("wire.at_once", 1)
    world.send({"jsonrpc": "2.0", "method": "wire.at_once"})
    await world.ask("wire.soon", 1)
    await world.ask("wire.soon", 1, 2)
    await world.ask("wire.rude")
    await world.ask("wire.nothing")
    world.send(b"{")
    await world.outlet.next()
    world.send(b"[]")
    await world.outlet.next()
    assert (at_once.ok, soon.ok) == (before[0] + 2, before[1] + 1)
    assert soon.failed["invalid"] >= 1
    assert figures["wire.rude"].failed["error"] >= 1
    after = world.dispatcher.refused
    grown = {name: after[name] - before[2][name] for name in after}
    assert grown == {
        "method_not_found": 1,
        "parse_error": 1,
        "invalid_request": 1,
        "too_many": 0,
    }
    await world.running.context.call("wire.at_once", 1)
    assert at_once.ok == before[0] + 2  # calls from inside are nobody's


async def test_log_does_not_quote_secrets(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in a method that takes secrets is logged without its text."""
    answer = await world.ask("wire.spills", "hush")
    assert answer["error"]["data"]["reason"] == "hush is wrong"
    assert "wire.spills failed: ValueError" in caplog.text
    assert "in spills" in caplog.text
    assert "hush" not in caplog.text
