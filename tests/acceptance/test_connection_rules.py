"""The rules of the connection (design, section 4), with clients that break them.

On uvloop, as the program runs; `tests/unit/test_connection.py` runs on asyncio's loop.
"""

import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from certificates import make_pair
from websockets.asyncio.client import connect as dial
from wire_client import (
    CLOSE,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    WireClient,
    client_frame,
)
from wire_server import WireServer, wire_server

from middlewared import Context, Plugin
from middlewared.sendqueue import Importance

#: Bytes that may wait for one stuck client when newer frames replace older ones: a
#: write that was begun, and what came in one tick.
BOUND = 2**20

#: Calls and frames of a flood.
FLOOD = 100_000 if os.environ.get("SOAK") else 20_000


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def gate_plugin() -> tuple[Plugin, anyio.Event]:
    """Declare methods that wait until the test lets them go on."""
    plugin = Plugin("wire")
    gate = anyio.Event()

    @plugin.method(public=True)
    async def wait(ctx: Context, value: int = 0) -> int:
        """Wait for the gate, then return *value*."""
        await gate.wait()
        return value

    @plugin.method(public=True, immediate=True)
    async def blob(ctx: Context, size: int) -> str:
        """Return so many characters."""
        return "x" * size

    return plugin, gate


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for something inside the server that nobody announces."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - nobody announces it
            await anyio.sleep(0.01)


def backlog(server: WireServer) -> int:
    """Bytes that wait for clients, in all."""
    return sum(connection.backlog for connection in server.connections)


# Rule 1: the reader never awaits work.


async def test_calls_flooded_before_reading_are_all_answered() -> None:
    """A client may pipeline many calls and read the answers only then."""
    async with wire_server() as server:
        client = await server.anonymous()
        first = 10**6
        numbers = range(first, first + FLOOD)
        await client.send_bytes(
            b"".join(
                client_frame(
                    TEXT, b'{"jsonrpc":"2.0","id":%d,"method":"core.ping"}' % number
                )
                for number in numbers
            )
        )
        size = len(b'{"jsonrpc":"2.0","result":"pong","id":1000000}') + 2
        data = await client.read_exactly(size * FLOOD)
        found = [
            int(data[end - 8 : end - 1]) for end in range(size, len(data) + 1, size)
        ]
        assert found == list(numbers)


async def test_call_beyond_max_calls_is_refused_and_names_the_limit() -> None:
    """The next call beyond the limit is -32000; the others are not disturbed."""
    plugin, gate = gate_plugin()
    async with wire_server(plugin, max_calls=3) as server:
        client = await server.anonymous()
        for number in range(5):
            await client.send_json(
                {"jsonrpc": "2.0", "id": number, "method": "wire.wait"}
            )
        refused = [await client.receive(), await client.receive()]
        assert [answer["id"] for answer in refused] == [3, 4]
        assert all(
            answer["error"]
            == {
                "code": -32000,
                "message": "Maximum number of concurrent calls (3) has exceeded",
            }
            for answer in refused
        )
        assert await client.call("core.ping") == "pong"
        gate.set()
        done = [await client.receive() for _ in range(3)]
        assert sorted(answer["id"] for answer in done) == [0, 1, 2]
        assert await client.call("wire.wait", 5) == 5


async def test_limit_of_calls_is_per_connection() -> None:
    """What one client has in flight takes nothing from another."""
    plugin, gate = gate_plugin()
    async with wire_server(plugin, max_calls=1) as server:
        first, second = await server.anonymous(), await server.anonymous()
        for client in (first, second):
            await client.send_json({"jsonrpc": "2.0", "id": 1, "method": "wire.wait"})
        assert await second.call("core.ping") == "pong"
        gate.set()
        for client in (first, second):
            assert (await client.receive())["result"] == 0


async def test_batch_larger_than_max_calls_is_never_refused_for_it() -> None:
    """The elements of a batch wait their turn inside the batch."""
    plugin, gate = gate_plugin()
    async with wire_server(plugin, max_calls=4) as server:
        client = await server.anonymous()
        await client.send_json(
            [
                {"jsonrpc": "2.0", "id": n, "method": "wire.wait", "params": [n]}
                for n in range(50)
            ]
        )
        gate.set()
        answers = await client.receive()
        assert sorted((a["id"], a["result"]) for a in answers) == [
            (n, n) for n in range(50)
        ]


async def test_batches_that_wait_for_one_slot_all_go_on() -> None:
    """A batch that leaves the free slot unused passes it on."""
    plugin, gate = gate_plugin()
    async with wire_server(plugin, max_calls=1) as server:
        client = await server.anonymous()
        await client.send_json({"jsonrpc": "2.0", "id": "w", "method": "wire.wait"})
        for number in range(200):
            ping = {"jsonrpc": "2.0", "id": number, "method": "core.ping"}
            await client.send_json([ping])
        assert await client.call("core.ping") == "pong"  # all were received by now
        gate.set()
        answers = [await client.receive() for _ in range(201)]
        assert answers[0] == {"jsonrpc": "2.0", "result": 0, "id": "w"}
        assert [answer[0]["id"] for answer in answers[1:]] == list(range(200))


async def test_undispatched_requests_are_limited() -> None:
    """A batch over what may wait is answered -32000, element by element."""
    plugin, gate = gate_plugin()
    async with wire_server(plugin, max_calls=1, max_undispatched=10_000) as server:
        client = await server.user()
        call = {"jsonrpc": "2.0", "method": "wire.wait", "id": 7}
        note = {"jsonrpc": "2.0", "method": "wire.wait"}
        await client.send_json([call] * 150)
        await client.send_json([call, note] * 40)
        refused = await client.receive()
        assert len(refused) == 40
        assert all(
            answer["id"] == 7
            and answer["error"]["code"] == -32000
            and "10000 bytes" in answer["error"]["message"]
            for answer in refused
        )
        gate.set()
        assert len(await client.receive()) == 150
        await client.send_json([call] * 40)
        assert len(await client.receive()) == 40


async def test_waiting_for_a_job_holds_no_slot() -> None:
    """A job call in the new style leaves its slot to others."""
    async with wire_server(max_calls=1) as server:
        client = await server.user()
        await client.call("core.set_options", {"legacy_jobs": False})
        for number in range(3):
            await client.send_json(
                {
                    "jsonrpc": "2.0",
                    "id": f"job {number}",
                    "method": "demo.sleep",
                    "params": [0.3],
                }
            )
        assert await client.call("core.get_jobs", [["state", "=", "FAILED"]]) == []
        done = [await client.receive() for _ in range(3)]
        assert {answer["id"] for answer in done} == {"job 0", "job 1", "job 2"}
        assert all(answer["result"] >= 0.29 for answer in done)


# Rule 2: one queue, one write for all that is due.


async def test_answers_of_one_tick_leave_in_one_write() -> None:
    """What is due in one tick arrives as one piece."""
    async with wire_server() as server:
        client = await server.anonymous()
        ping = client_frame(TEXT, b'{"jsonrpc":"2.0","id":1,"method":"core.ping"}')
        await client.send_bytes(ping * 100)
        await client.read_more()
        for _ in range(100):
            frame = await client.receive_frame()
            assert frame.payload == b'{"jsonrpc":"2.0","result":"pong","id":1}'
            assert frame.opcode == TEXT
        assert client.buffered == 0


async def test_events_of_one_tick_leave_in_one_write() -> None:
    """32 events published together arrive as one piece, in their order."""
    async with wire_server() as server:
        client = await server.watcher()
        for number in range(32):
            server.publish(number, "added", msg="added")
        await client.read_more()
        found = [await client.receive() for _ in range(32)]
        assert [event["params"]["id"] for event in found] == list(range(32))
        assert client.buffered == 0


# Rule 4: a slow client costs bounded memory.


async def test_client_that_never_reads_is_dropped_while_others_see_everything() -> None:
    """It is aborted after ``send_stall``, its backlog stays small until then."""
    async with wire_server(send_stall=1.0) as server:
        other = await server.watcher()
        stuck = await server.watcher(receive_buffer=4096)
        peak = sent = 0
        start = time.monotonic()
        while len(server.connections) == 2:
            assert time.monotonic() - start < PATIENCE
            for _ in range(20):
                sent += 1
                server.publish(
                    sent % 10, str(sent), importance=Importance.NEWEST, size=1000
                )
            for seen in range(sent - 19, sent + 1):
                event = await other.receive()
                assert event["params"]["fields"]["what"] == str(seen)
            peak = max(peak, backlog(server))
        assert 0.9 < time.monotonic() - start < 10
        assert peak < BOUND
        with pytest.raises(EOFError):
            await stuck.read_exactly(1 << 30)
        traffic = server.running.server.traffic
        assert traffic.aborted == {"stalled": 1}
        assert traffic.events == 2 * sent
        assert 0 < traffic.conflated < sent
        assert traffic.sent > sent * 1000


async def test_client_that_never_reads_its_answers_is_dropped() -> None:
    """Answers count like events: a stuck caller does not stay."""
    plugin, _ = gate_plugin()
    async with wire_server(plugin, send_stall=1.0) as server:
        stuck = await server.anonymous(receive_buffer=4096)
        call = b'{"jsonrpc":"2.0","id":1,"method":"wire.blob","params":[100000]}'
        await stuck.send_bytes(client_frame(TEXT, call) * 50)
        await until(lambda: backlog(server) > 10**6)
        await until(lambda: not server.connections)


async def test_queue_over_its_limit_drops_the_client_at_once() -> None:
    """Over ``send_queue_limit`` nobody waits for ``send_stall``."""
    async with wire_server(send_queue_limit=300_000, send_stall=600.0) as server:
        other = await server.watcher()
        await server.watcher(receive_buffer=4096)
        peak = 0
        for number in range(10_000):
            server.publish(number, "added", msg="added", size=1000)
            assert (await other.receive())["params"]["id"] == number
            peak = max(peak, backlog(server))
            if len(server.connections) == 1:
                break
        assert len(server.connections) == 1
        assert peak < 600_000
        assert server.running.server.traffic.aborted == {"queue_full": 1}


async def read_slowly(client: WireClient, seconds: float) -> None:
    """Take a little every now and then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await client.read_more(4096)
        await anyio.sleep(0.1)  # being slow is what is tested


def check_moves(events: list[tuple[int, str]], jobs: int) -> None:
    """Check that every job was added, ended, and never went back."""
    by_job: dict[int, list[str]] = {number: [] for number in range(jobs)}
    for number, what in events:
        by_job[number].append(what)
    order = ["added", "running", *(f"progress {n}" for n in range(20)), "success"]
    for whats in by_job.values():
        assert whats[0] == "added"
        assert whats[-1] == "success"
        assert whats == sorted(whats, key=order.index)


async def publish_jobs(server: WireServer, jobs: int, size: int) -> None:
    """Publish the moves of some jobs, as the job manager does."""
    for number in range(jobs):
        server.publish(number, "added", msg="added", size=size)
    await anyio.lowlevel.checkpoint()
    for number in range(jobs):
        server.publish(number, "running", importance=Importance.MOVE, size=size)
    for step in range(20):
        await anyio.lowlevel.checkpoint()
        for number in range(jobs):
            server.publish(
                number, f"progress {step}", importance=Importance.NEWEST, size=size
            )
    for number in range(jobs):
        server.publish(number, "success", size=size)


async def fall_behind(server: WireServer) -> int:
    """Publish until the only client is behind; say how many events that took."""
    sent = 0
    while backlog(server) < 64 * 1024:
        server.publish(-1, "filler", size=10_000)
        sent += 1
        await anyio.lowlevel.checkpoint()
    return sent


async def receive_moves(client: WireClient, jobs: int) -> list[tuple[int, str]]:
    """Read events until every job has ended."""
    events: list[tuple[int, str]] = []
    ended = 0
    while ended < jobs:
        fields = (await client.receive())["params"]["fields"]
        events.append((fields["id"], fields["what"]))
        ended += fields["what"] == "success"
    return events


async def test_slow_reader_that_progresses_is_kept_and_sees_every_end() -> None:
    """Slow is no reason to be dropped, whatever ``send_stall`` says."""
    async with wire_server(
        send_stall=2.0, ping_interval=1.0, ping_timeout=2.0
    ) as server:
        client = await server.watcher(receive_buffer=4096)
        await publish_jobs(server, 100, 2000)
        await read_slowly(client, 5.0)
        assert len(server.connections) == 1
        events = await receive_moves(client, 100)
        check_moves(events, 100)
        assert len(events) < 100 * 23  # progress gave way: it was behind
        await client.send_bytes(client_frame(PONG))
        assert await client.call("core.ping") == "pong"


async def test_running_gives_way_only_above_the_limit() -> None:
    """ADDED and the end are never dropped, RUNNING only when nothing else helps."""
    async with wire_server(send_queue_limit=650_000) as server:
        client = await server.watcher(receive_buffer=4096)
        fillers = await fall_behind(server)
        await publish_jobs(server, 100, 2500)
        for _ in range(fillers):
            await client.receive()
        events = await receive_moves(client, 100)
        check_moves(events, 100)
        running = sum(what == "running" for _, what in events)
        assert running < 100


async def test_below_the_limit_running_is_kept() -> None:
    """A client that is behind but not over the limit sees every move."""
    async with wire_server() as server:
        client = await server.watcher(receive_buffer=4096)
        fillers = await fall_behind(server)
        await publish_jobs(server, 100, 2500)
        for _ in range(fillers):
            await client.receive()
        events = await receive_moves(client, 100)
        check_moves(events, 100)
        assert sum(what == "running" for _, what in events) == 100


async def test_who_keeps_up_sees_every_event() -> None:
    """Conflation begins only when a socket is behind."""
    async with wire_server() as server:
        fast = await server.watcher()
        await server.watcher(receive_buffer=4096)  # one that does not
        for number in range(2000):
            server.publish(
                number % 7, str(number), importance=Importance.NEWEST, size=500
            )
            event = await fast.receive()
            assert event["params"]["fields"]["what"] == str(number)


async def test_ping_flood_without_reading_costs_bounded_memory() -> None:
    """Only the newest pong waits for a client that is behind (RFC 6455, 5.5.3)."""
    async with wire_server() as server:
        client = await server.anonymous(receive_buffer=4096)
        peak = 0
        for start in range(0, FLOOD, 1000):
            await client.send_bytes(
                b"".join(
                    client_frame(PING, b"%0120d" % number)
                    for number in range(start, start + 1000)
                )
            )
            peak = max(peak, backlog(server))
        assert peak < BOUND
        payload = b""
        while payload != b"%0120d" % (FLOOD - 1):
            frame = await client.receive_frame()
            assert frame.opcode == PONG
            assert frame.payload > payload
            payload = frame.payload
        assert await client.call("core.ping") == "pong"


# Keepalive.


async def test_silent_client_is_pinged_and_stays_when_it_answers() -> None:
    """A ping comes after ``ping_interval`` of silence; a pong is a sign of life."""
    async with wire_server(
        ping_interval=0.3, ping_timeout=5.0, send_stall=0.4
    ) as server:
        client = await server.anonymous()
        for _ in range(4):
            frame = await client.receive_frame()
            assert frame.opcode == PING
            await client.send_bytes(client_frame(PONG, frame.payload))
        assert await client.call("core.ping") == "pong"


async def test_client_that_answers_no_ping_is_dropped() -> None:
    """A client whose kernel lives but that shows no sign of life does not stay."""
    async with wire_server(
        ping_interval=0.3, ping_timeout=0.3, send_stall=0.4
    ) as server:
        client = await server.anonymous()
        start = time.monotonic()
        await until(lambda: not server.connections)
        assert time.monotonic() - start > 0.5
        with pytest.raises(EOFError):
            await client.read_exactly(1 << 20)
        assert server.running.server.traffic.aborted == {"silent": 1}


async def test_client_that_only_calls_is_never_pinged() -> None:
    """Whoever sends is alive; it needs no ping."""
    async with wire_server(ping_interval=1.0, send_stall=0.2) as server:
        client = await server.anonymous()
        heard = start = time.monotonic()
        while time.monotonic() - start < 2.5:
            await client.send_text('{"jsonrpc":"2.0","id":1,"method":"core.ping"}')
            opcode = (await client.receive_frame()).opcode
            # On a machine that stands still for a second, a ping is right.
            assert opcode == TEXT or time.monotonic() - heard > 0.9
            heard = time.monotonic()
            await anyio.sleep(0.1)  # the pace of the client


# Half-closed, closed and vanished clients.


async def test_half_closed_client_is_let_go() -> None:
    """A client that will send no more is no client."""
    async with wire_server() as server:
        client = await server.anonymous()
        client.sock.shutdown(socket.SHUT_WR)
        await client.wait_end()
        await until(lambda: not server.connections)


async def test_half_closed_client_that_does_not_read_is_dropped() -> None:
    """What waits for it does not keep it."""
    plugin, _ = gate_plugin()
    async with wire_server(plugin, send_stall=0.5) as server:
        client = await server.anonymous(receive_buffer=4096)
        call = b'{"jsonrpc":"2.0","id":1,"method":"wire.blob","params":[100000]}'
        await client.send_bytes(client_frame(TEXT, call) * 50)
        await until(lambda: backlog(server) > 10**6)
        client.sock.shutdown(socket.SHUT_WR)
        await until(lambda: not server.connections)


async def test_client_that_closes_but_does_not_read_is_dropped() -> None:
    """A closing handshake that cannot end is ended."""
    plugin, _ = gate_plugin()
    async with wire_server(plugin, send_stall=0.5, close_timeout=0.5) as server:
        client = await server.anonymous(receive_buffer=4096)
        call = b'{"jsonrpc":"2.0","id":1,"method":"wire.blob","params":[100000]}'
        await client.send_bytes(client_frame(TEXT, call) * 50)
        await client.send_bytes(client_frame(CLOSE, struct.pack("!H", 1000)))
        await until(lambda: not server.connections)


async def test_client_that_closes_gets_its_close_back() -> None:
    """The handshake of RFC 6455, 5.5.1; what was due before it is still sent."""
    async with wire_server() as server:
        client = await server.anonymous()
        await client.send_bytes(
            client_frame(TEXT, b'{"jsonrpc":"2.0","id":1,"method":"core.ping"}')
            + client_frame(CLOSE, struct.pack("!H", 1000) + b"bye")
        )
        assert (await client.receive())["result"] == "pong"
        assert await client.receive_close() == (1000, "bye")
        await client.wait_end()
        await until(lambda: not server.connections)


async def test_client_that_vanishes_takes_nothing_with_it() -> None:
    """A reset in the middle of calls leaves the server as it was."""
    plugin, gate = gate_plugin()
    async with wire_server(plugin) as server:
        other = await server.anonymous()
        client = await server.anonymous()
        for number in range(10):
            await client.send_json(
                {"jsonrpc": "2.0", "id": number, "method": "wire.wait"}
            )
        await other.call("core.ping")
        linger = struct.pack("ii", 1, 0)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.close()
        await until(lambda: len(server.connections) == 1)
        gate.set()
        assert await other.call("wire.wait", 3) == 3


async def test_subscriptions_end_with_the_connection() -> None:
    """Nothing listens to a collection once its only client is gone."""
    async with wire_server() as server:
        client = await server.watcher()
        client.close()
        await until(lambda: not server.connections)
        server.publish(1, "added")  # to nobody
        again = await server.watcher()
        server.publish(2, "added")
        assert (await again.receive())["params"]["id"] == 2


async def test_connections_over_the_limit_are_refused() -> None:
    """The upgrade is answered 503 and the others stay."""
    async with wire_server(max_connections=2) as server:
        first = await server.anonymous()
        await server.anonymous()
        with pytest.raises(ConnectionRefusedError, match="503"):
            await server.anonymous()
        assert await first.call("core.ping") == "pong"


# Rule 5: shutdown has a deadline.


async def test_shutdown_closes_with_1012_and_does_not_wait_for_a_stuck_client() -> None:
    """A client that does not read delays the end by ``close_timeout`` at most."""
    plugin, _ = gate_plugin()
    ended = anyio.Event()

    async def say_goodbye(client: WireClient) -> None:
        assert await client.receive_close() == (1012, "The server restarts")
        await client.send_bytes(client_frame(CLOSE, struct.pack("!H", 1012)))
        await client.wait_end()
        ended.set()

    async with anyio.create_task_group() as group:
        async with wire_server(plugin, close_timeout=0.5) as server:
            good = await WireClient.open(server.tcp)
            stuck = await WireClient.open(server.tcp, receive_buffer=4096)
            call = b'{"jsonrpc":"2.0","id":1,"method":"wire.blob","params":[100000]}'
            await stuck.send_bytes(client_frame(TEXT, call) * 50)
            await until(lambda: backlog(server) > 10**6)
            group.start_soon(say_goodbye, good)
            start = time.monotonic()
        assert time.monotonic() - start < 5
        await ended.wait()
    good.close()
    stuck.close()


# Looking after them.


@pytest.mark.parametrize("shared", [False, True])
async def test_memory_for_all_clients_together_is_bounded(
    monkeypatch: pytest.MonkeyPatch, *, shared: bool
) -> None:
    """Whom most waits for is disconnected, unless what waits is the same for many."""
    if shared:
        monkeypatch.setattr("middlewared.server._resident_bytes", lambda: 0)
    plugin, _ = gate_plugin()
    limits = {"send_total_limit": 15 * 10**6, "send_stall": 600.0}
    async with wire_server(plugin, **limits) as server:
        clients = [await server.anonymous(receive_buffer=4096) for _ in range(3)]
        call = b'{"jsonrpc":"2.0","id":1,"method":"wire.blob","params":[100000]}'
        for client, calls in zip(clients, (20, 300, 60), strict=True):
            await client.send_bytes(client_frame(TEXT, call) * calls)
        if shared:
            await until(lambda: backlog(server) > 25 * 10**6)
            server.running.server.look_after_connections(anyio.current_time())
        else:
            await until(lambda: len(server.connections) < 3)
            await clients[1].wait_end()
        assert len(server.connections) == (3 if shared else 2)


async def test_server_outlives_clients_that_vanish_while_it_looks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also in the moment when TLS knows of the end and the connection does not yet."""
    pair = make_pair(tmp_path)
    async with wire_server(**pair.settings) as server:
        url, trust = server.running.ws_url, pair.trust()
        for _ in range(20):
            client = await dial(url, ssl=trust, proxy=None)
            client.transport.abort()
            while server.connections:
                server.running.server.look_after_connections(anyio.current_time())
                await anyio.lowlevel.checkpoint()
    assert "could not be looked after" not in caplog.text


async def test_bug_with_one_connection_concerns_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That one is disconnected, the log has the traceback, the look goes on."""
    async with wire_server() as server:
        victim = await server.anonymous()
        (connection,) = server.connections
        monkeypatch.setattr(connection, "watch", None)
        other = await server.anonymous()
        await victim.wait_end()
        assert await other.call("core.ping") == "pong"
        assert "could not be looked after" in caplog.text
