"""Clients that come, go, fall behind and begin again: none loses an end in silence.

Whatever happens in which order, what a client has put together from snapshot, replay
and live events is what the server says when all is quiet. Only when the events that
it missed are kept no longer it is told so, and never otherwise.
"""

import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jobs_stage import Stage, stage_plugin
from wire_client import WireClient

from middlewared.ring import Ring
from middlewared.testing import RunningServer, running_server
from middlewared_jobs.journal import Journal
from middlewared_jobs.views import VIEWS

SOAK = bool(os.environ.get("SOAK"))
EXAMPLES, STEPS = (200, 60) if SOAK else (6, 40)

#: Events that are kept, in the table and in memory: few, so that both run out.
KEPT, RING = 120, 20
FINAL = {"SUCCESS", "FAILED", "ABORTED"}
ORDER = {"WAITING": 0, "RUNNING": 1, "SUCCESS": 2, "FAILED": 2, "ABORTED": 2}
#: Bytes of an argument that soon fill what waits for a client that does not read.
LARGE = 40_000


class Server:
    """The server, which is stopped and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stage = Stage()
        self.tokens: dict[str, str] = {}
        self.epochs: set[str] = set()
        self._stack = contextlib.AsyncExitStack()
        self.running: RunningServer

    async def start(self) -> None:
        """Start, with little memory for events."""
        self.stage = Stage()
        self.running = await self._stack.enter_async_context(
            running_server(
                stage_plugin(self.stage),
                data_dir=self.folder,
                tables={"jobs": {"kept_events": KEPT, "progress_interval": 0.01}},
                interrupt_grace=0.05,
                send_queue_limit=2**20,
            )
        )
        bus = self.running.context.events
        for view in VIEWS:
            head = bus.rings[view.collection].head
            bus.rings[view.collection] = Ring(head, max_events=RING)
        self.epochs.add(self.running.context.database.epoch)

    async def stop(self) -> None:
        """Stop; what runs ends so."""
        await self._stack.aclose()

    async def connect(self, name: str, **options: Any) -> WireClient:
        """Connect as admin, or as somebody who sees own jobs only."""
        if name == "admin":
            return await WireClient.open(self.running.socket_path, **options)
        address = ("127.0.0.1", self.running.server.port)
        client = await WireClient.open(address, **options)
        if name not in self.tokens:
            call = self.running.context.call
            account = {"username": name, "password": "pw", "roles": ["JOB_USER"]}
            await call("user.create", account)
            await client.login(name, "pw")
            self.tokens[name] = await client.call("auth.generate_token", 86400)
        else:
            assert await client.call("auth.login_with_token", self.tokens[name])
        return client

    @property
    def oldest(self) -> int:
        """Events with higher numbers are kept."""
        return self.running.context.get(Journal).oldest


class Follower:
    """A client that puts together which jobs there are, over all its connections."""

    def __init__(self, name: str, collection: str) -> None:
        self.name = name
        self.collection = collection
        self.client: WireClient | None = None
        self.known: dict[int, str] = {}
        self.position: dict[str, Any] | None = None
        self.paused = False
        self.resets = 0
        self._past: list[tuple[dict[str, Any] | None, dict[int, str]]] = []
        self._snapshot: set[int] = set()

    async def join(self, server: Server, *, back: int = 0) -> None:
        """Connect and subscribe, from where it is or was."""
        await self.leave()
        if back and self._past:
            self.position, known = self._past[-min(back, len(self._past))]
            self.known = dict(known)
        self.client = await server.connect(self.name, receive_buffer=4096)
        options = {"snapshot": True, "removed": True, "since": self.position}
        params = [self.collection, options]
        since, oldest = self.position, server.oldest
        await self.client.send_json(
            {"jsonrpc": "2.0", "id": "s", "method": "core.subscribe", "params": params}
        )
        self._snapshot.clear()
        answer = await self._until("s")
        kept = since is None or since["seq"] >= oldest
        if oldest == server.oldest:  # else it may have gone meanwhile
            assert answer["recovered"] is kept, (since, oldest, answer)
        if since is None or not answer["recovered"]:
            self.resets += since is not None
            gone = self.known.keys() - self._snapshot
            self.known = {n: s for n, s in self.known.items() if n not in gone}
        place = {"epoch": answer["epoch"], "seq": answer["seq"]}
        if self.position is None or place["seq"] > self.position["seq"]:
            self.position = place
        self._past.append((self.position, dict(self.known)))

    async def leave(self) -> None:
        """Vanish without a word."""
        self.paused = False
        if self.client is not None:
            self.client.close()
            self.client = None

    async def catch_up(self) -> bool:
        """Read all that came; False when the server has dropped it."""
        if self.client is None or self.paused:
            return True
        try:
            await self.client.send_json(
                {"jsonrpc": "2.0", "id": "p", "method": "core.ping"}
            )
            await self._until("p")
        except (EOFError, ConnectionError):
            await self.leave()
            return False
        self._past.append((self.position, dict(self.known)))
        return True

    async def _until(self, number: str) -> Any:
        assert self.client is not None
        while True:
            message = await self.client.receive()
            if "method" in message:
                self._take(message["params"])
            else:
                assert message["id"] == number
                return message["result"]

    def _take(self, event: dict[str, Any]) -> None:
        """Take an event; of one job they never go back."""
        number = event["id"]
        if event.get("snapshot"):
            self._snapshot.add(number)
        else:
            assert self.position is None or event["seq"] > self.position["seq"]
            self.position = {"epoch": event["epoch"], "seq": event["seq"]}
            self._snapshot.add(number)
        if event["msg"] == "removed":
            self.known.pop(number, None)
            self._snapshot.discard(number)
            return
        before, now = self.known.get(number), event["fields"]["state"]
        if not event.get("snapshot") and before is not None:
            assert ORDER[now] >= ORDER[before], (number, before, now)
        self.known[number] = now


class Machine:
    """A server, two people who start jobs, and clients who follow them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.starters: dict[str, WireClient] = {}
        self.held: list[tuple[str, int]] = []
        self.jobs: dict[int, str] = {}
        self._gates = 0
        self.followers = [
            Follower("admin", "core.get_jobs"),
            Follower("ann", "core.get_jobs"),
            Follower("admin", "job.query"),
            Follower("bob", "job.query"),
        ]

    async def starter(self, name: str) -> WireClient:
        """Give the connection that somebody starts jobs on."""
        if name not in self.starters:
            self.starters[name] = await self.server.connect(name)
        return self.starters[name]

    async def step(self, step: tuple[Any, ...]) -> None:
        """Do one thing."""
        kind, *rest = step
        await getattr(self, f"do_{kind}")(*rest)

    async def do_run(self, name: str, count: int, large: bool) -> None:
        """Run short jobs."""
        client = await self.starter(name)
        value = "x" * LARGE if large else 1
        for _ in range(count):
            self.jobs[await client.call("t.echo", value)] = name

    async def do_hold(self, name: str, method: str) -> None:
        """Start a job that goes on until it is let go or aborted."""
        self._gates += 1
        gate = f"{self._gates}"
        client = await self.starter(name)
        number = await client.call(f"t.{method}", gate)
        self.jobs[number] = name
        self.held.append((gate, number))

    async def do_let_go(self, which: int) -> None:
        """Let a job end."""
        if self.held:
            self.server.stage.open(self.held.pop(which % len(self.held))[0])

    async def do_abort(self, which: int) -> None:
        """Abort a job, whether it waits or runs."""
        if self.held:
            _, number = self.held.pop(which % len(self.held))
            await (await self.starter("admin")).call("core.job_abort", number)

    async def do_delete(self, which: int) -> None:
        """Delete a job, if it has ended."""
        if self.jobs:
            number = sorted(self.jobs)[which % len(self.jobs)]
            client = await self.starter("admin")
            answer = await client.request("job.delete", [number])
            if "result" in answer:
                del self.jobs[number]

    async def do_join(self, which: int, back: int) -> None:
        """Let a client come, or come back."""
        await self.followers[which].join(self.server, back=back)

    async def do_rush(self, name: str, count: int, which: int) -> None:
        """Run jobs while a client comes."""
        await self.starter(name)
        async with anyio.create_task_group() as group:
            group.start_soon(self.do_run, name, count, False)
            await self.do_join(which, 0)

    async def do_leave(self, which: int) -> None:
        """Let a client go."""
        await self.followers[which].leave()

    async def do_pause(self, which: int) -> None:
        """Let a client read nothing any more."""
        self.followers[which].paused = True

    async def do_read(self, which: int) -> None:
        """Let a client read what came."""
        self.followers[which].paused = False
        await self.followers[which].catch_up()

    async def do_restart(self) -> None:
        """Stop the server and start it again."""
        for follower in self.followers:
            await follower.leave()
        for client in self.starters.values():
            client.close()
        self.starters.clear()
        self.held.clear()
        await self.server.stop()
        await self.server.start()

    async def end(self) -> None:
        """Let everything come to rest, and compare."""
        admin = await self.starter("admin")
        open_ = [["state", "in", ["WAITING", "RUNNING"]]]
        with anyio.fail_after(20):
            self.server.stage.open()
            while await admin.call("core.get_jobs", open_, {"count": True}):
                # Also what waited over a restart, and begins only now.
                self.server.stage.open()
                await anyio.sleep(0.01)
        for follower in self.followers:
            follower.paused = False
            if follower.client is None or not await follower.catch_up():
                await follower.join(self.server)
            await follower.catch_up()
            client = await self.starter(follower.name)
            asked = {"limit": 10_000, "select": ["id", "state"]}
            found = await client.call("core.get_jobs", [], asked)
            truth = {item["id"]: item["state"] for item in found}
            assert truth.keys() == {
                number
                for number, name in self.jobs.items()
                if follower.name in ("admin", name)
            }
            assert follower.known == truth
        assert len(self.server.epochs) == 1

    async def close(self) -> None:
        """Close every connection."""
        for follower in self.followers:
            await follower.leave()
        for client in self.starters.values():
            client.close()


numbers = itertools.count()
people = st.sampled_from(["admin", "ann", "bob"])
places = st.integers(0, 50)
who = st.integers(0, 3)
#: Named and weighted by how often they stand here.
steps = st.one_of(
    st.tuples(st.just("run"), people, st.integers(1, 4), st.just(False)),
    st.tuples(st.just("run"), people, st.integers(1, 30), st.booleans()),
    st.tuples(st.just("hold"), people, st.sampled_from(["hold", "locked"])),
    st.tuples(st.just("let_go"), places),
    st.tuples(st.just("abort"), places),
    st.tuples(st.just("delete"), places),
    st.tuples(st.just("join"), who, st.sampled_from([0, 0, 0, 1, 5, 20])),
    st.tuples(st.just("join"), who, st.just(0)),
    st.tuples(st.just("rush"), people, st.integers(1, 30), who),
    st.tuples(st.just("leave"), who),
    st.tuples(st.just("pause"), who),
    st.tuples(st.just("read"), who),
    st.tuples(st.just("restart")),
)


@contextlib.asynccontextmanager
async def machine(folder: Path) -> AsyncIterator[Machine]:
    """Run a machine on data of its own."""
    server = Server(folder)
    await server.start()
    made = Machine(server)
    try:
        yield made
    finally:
        await made.close()
        server.stage.open()
        await server.stop()


@pytest.mark.timeout(3600 if SOAK else 240)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(plan=st.lists(steps, min_size=STEPS // 2, max_size=STEPS))
async def test_no_client_loses_an_end_in_silence(
    tmp_path_factory: pytest.TempPathFactory, plan: list[Any]
) -> None:
    """What clients know is what is so, in the end; own jobs only."""
    folder = tmp_path_factory.getbasetemp() / f"machine-{next(numbers)}"
    async with machine(folder) as made:
        for step in plan:
            await made.step(step)
        await made.end()


async def test_long_way(tmp_path: Path) -> None:
    """Everything at least once: what is kept runs out, and a client falls behind."""
    async with machine(tmp_path / "data") as made:
        for which in range(4):
            await made.do_join(which, 0)
        for name in ("admin", "ann", "bob"):
            await made.do_hold(name, "hold")
            await made.do_hold(name, "locked")
        await made.do_pause(0)
        await made.do_leave(1)
        await made.do_run("ann", 60, large=True)
        await made.do_delete(3)
        await made.do_join(1, 0)
        await made.do_restart()
        await made.do_join(2, 3)
        await made.do_run("bob", 60, large=False)
        await made.do_join(0, 0)
        await made.do_abort(0)
        for which in range(4):
            made.followers[which].position = None
            await made.do_rush("ann", 20, which)
        await made.end()
        assert sum(follower.resets for follower in made.followers) > 0
