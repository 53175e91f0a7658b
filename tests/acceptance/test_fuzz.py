"""Any frames, before a login and after: answered or closed, and nobody else notices.

``SOAK=1`` sends a million of them; else some thousands. What a failure depends on is
the seed, which hypothesis names.
"""

import contextlib
import os
import random
import string
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_process import ADMIN_PASSWORD, ServerProcess
from wire_client import BINARY, CLOSE, CONT, PING, PONG, TEXT, WireClient, client_frame

SOAK = bool(os.environ.get("SOAK"))
FRAMES = 1_000_000 if SOAK else 24_000
#: Frames of one example: of one seed, on one connection after the other.
EXAMPLE = 2_000 if SOAK else 400
#: Frames that are sent before their answers are read.
BURST = 50
#: Until then jobs are started too: no longer, since lists grow with the history.
JOBS = FRAMES * 55 // 100
#: When memory is first looked at: what is used for the first time has been, and lists
#: are as long as they get.
EARLY = FRAMES * 7 // 10
#: Bytes that the server may have more in the end than then.
GROWTH = 32 * 2**20

CONFIG = """
log_level = "info"
shutdown_grace = 1.0
login_attempts = 5
ping_interval = 100000
[auth]
failure_delay = 0.0
[jobs]
transient_ttl = 0.1
"""
#: Codes that may be answered, and those that a connection may be closed with.
CODES = {-32700, -32600, -32601, -32602, -32603, -32000, -32001}
CLOSES = {1000, 1002, 1003, 1007, 1009}
#: What takes long, floods the machine with work, or ends what the others need.
LEFT_OUT = ("demo.", "auth.terminate", "core.bulk")

WORDS = ["", "a", "id", "jobs", "*", "\0", "é", "😀", "x" * 300, "__class__", "../x"]
KEYS = ["id", "username", "password", "mechanism", "rfc_str", "$date", "$set", "limit"]
OPERATORS = ["=", "!=", "~", "in", "rin", "^", "C=", "??", ">"]
ODD = [None, True, False, 2**63, -(2**63), 1e308, 0.5]
MECHANISMS = ["PASSWORD_PLAIN", "API_KEY_PLAIN", "TOKEN_PLAIN", "SCRAM", "OTP_TOKEN"]

Draw = random.Random


# What is sent.


def value(rng: Draw, depth: int = 0) -> Any:
    """Give any JSON value."""
    if depth < 4 and rng.random() < 0.3:
        if rng.random() < 0.5:
            return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
        keys = [rng.choice(KEYS + WORDS) for _ in range(rng.randrange(4))]
        return {key: value(rng, depth + 1) for key in keys}
    return rng.choice(
        (*ODD, rng.randrange(-5, 5), rng.choice(WORDS), rng.choice(KEYS), text(rng))
    )


def text(rng: Draw) -> str:
    """Give some text."""
    letters = string.printable + "äß\u2028\ufeff😀"
    return "".join(rng.choices(letters, k=rng.randrange(12)))


def login(rng: Draw) -> dict[str, Any]:
    """Give something like the params of a login."""
    return {
        "mechanism": rng.choice(MECHANISMS),
        "username": rng.choice(["ann", "admin", text(rng)]),
        "password": text(rng),
        "scram_type": rng.choice(["CLIENT_FIRST_MESSAGE", "CLIENT_FINAL_MESSAGE"]),
        "rfc_str": rng.choice(["n,,n=ann:1,r=x", "c=biws,r=x,p=eA==", text(rng)]),
        **({text(rng): value(rng)} if rng.random() < 0.5 else {}),
    }


def query(rng: Draw) -> list[Any]:
    """Give something like filters and options."""
    leaf = [rng.choice(KEYS), rng.choice(OPERATORS), value(rng)]
    filters: list[Any] = [leaf] * rng.randrange(3)
    if rng.random() < 0.3:
        filters = [["OR", [filters, value(rng)]]]
    options = {rng.choice(["limit", "order_by", "get", text(rng)]): value(rng)}
    return [filters, options][: rng.randrange(3)]


def params(rng: Draw) -> Any:
    """Give params that may fit."""
    chance = rng.random()
    if chance < 0.3:
        return query(rng)
    return [login(rng)] if chance < 0.5 else value(rng)


def request(rng: Draw, methods: list[str]) -> dict[str, Any]:
    """Give something like a request."""
    found: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": rng.choice([1, "a", None, 0, -1.5, "x" * 50]),
        "method": rng.choice(methods),
        "params": params(rng),
    }
    for key in ("jsonrpc", "id", "method", "params"):
        if rng.random() < 0.04:
            found[key] = value(rng)
        if rng.random() < 0.04:
            del found[key]
    return found


def document(rng: Draw, methods: list[str]) -> bytes:
    """Give the text of a message, whole or broken."""
    chance = rng.random()
    if chance < 0.1:
        message: Any = [request(rng, methods) for _ in range(rng.randrange(5))]
    elif chance < 0.15:
        message = value(rng)
    else:
        message = request(rng, methods)
    raw = msgspec.json.encode(message)
    if rng.random() > 0.15:
        return raw
    broken = list(raw.decode())
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(broken) + 1)
        junk = rng.choices(string.printable, k=rng.randrange(3))
        broken[place : place + rng.randrange(3)] = junk
    return "".join(broken).encode()


def frames(rng: Draw, methods: list[str]) -> bytes:
    """Give what one turn sends: mostly one text, else frames of other kinds."""
    chance = rng.random()
    data = document(rng, methods)
    if chance < 0.97:
        return client_frame(TEXT, data)
    if chance < 0.995:  # a message in pieces, with a ping in between
        half = len(data) // 2
        return (
            client_frame(TEXT, data[:half], fin=False)
            + client_frame(rng.choice([PING, PONG]), rng.randbytes(rng.randrange(9)))
            + client_frame(CONT, data[half:])
        )
    return rng.choice(
        [
            client_frame(PING, rng.randbytes(rng.randrange(125))),
            client_frame(PONG, b""),
            client_frame(BINARY, data),
            client_frame(CONT, data),
            client_frame(CLOSE, rng.randbytes(rng.randrange(5))),
            client_frame(rng.randrange(16), data[:100]),
            client_frame(TEXT, rng.randbytes(20)),
        ]
    )


def garbage(rng: Draw) -> bytes:
    """Give bytes that need not be a frame, or are half of one."""
    return rng.choice(
        [
            rng.randbytes(rng.randrange(1, 60)),
            client_frame(TEXT, rng.randbytes(200))[: rng.randrange(1, 200)],
            b"\x81\xff" + b"\xff" * 8 + rng.randbytes(20),  # larger than there is
        ]
    )


# Who sends it.


class Stage:
    """The server, and a client that only wants to be left in peace.

    Attributes:
        server: the real program.
        methods: names to call, those that do not exist among them.
        sent: frames so far.
        early: bytes of the server's memory at `EARLY`.
    """

    def __init__(self, server: ServerProcess, bystander: WireClient) -> None:
        self.server = server
        self.methods: list[str] = []
        self.sent = 0
        self.early = 0
        self._bystander = bystander
        self._token = ""

    async def prepare(self) -> None:
        """Learn what there is to call, and make the account that calls it."""
        call = self._bystander.call
        ann = {"username": "ann", "password": "pw", "roles": ["JOB_USER"]}
        await call("user.create", ann)
        names = await call("core.get_methods")
        self.methods = [name for name in names if not name.startswith(LEFT_OUT)]
        self.methods += ["demo.noop", "no.such", "core", "", "auth.login_ex"]
        first = await self._connect(known=False)
        await first.login("ann", "pw")
        self._token = await first.call("auth.generate_token", None)
        first.close()

    async def _connect(self, *, known: bool) -> WireClient:
        client = await WireClient.open(("127.0.0.1", self.server.port))
        if known:
            assert await client.call("auth.login_with_token", self._token)
        return client

    async def attack(self, rng: Draw, *, known: bool) -> None:
        """Send the frames of one example; connect anew whenever that is needed."""
        until = self.sent + EXAMPLE
        while self.sent < until:
            client = await self._connect(known=known)
            try:
                with contextlib.suppress(EOFError, ConnectionError):
                    await self._send(client, rng, rng.randrange(1, 9))
                    await client.send_bytes(garbage(rng))
            finally:
                client.close()
        await self.check()

    async def _send(self, client: WireClient, rng: Draw, bursts: int) -> None:
        """Send bursts; only those count after which the connection still answers."""
        for burst in range(bursts):
            data = b"".join(frames(rng, self.methods) for _ in range(BURST))
            await client.send_bytes(data)
            number = f"end {burst}"
            await client.send_json(
                {"jsonrpc": "2.0", "id": number, "method": "core.ping"}
            )
            await self._read_until(client, number)
            self.sent += BURST

    async def _read_until(self, client: WireClient, number: str) -> None:
        """Read answers until the one with this id; all of them must be decent."""
        while True:
            frame = await client.receive_frame()
            if frame.opcode == CLOSE:
                code = int.from_bytes(frame.payload[:2])
                echoed = 3000 <= code < 5000  # what the client's own close had
                assert not frame.payload or echoed or code in CLOSES, frame
                raise EOFError
            if frame.opcode != TEXT:
                assert frame.opcode in (PING, PONG)
                continue
            message = msgspec.json.decode(frame.payload)
            for one in message if isinstance(message, list) else [message]:
                check_answer(one)
                if one.get("id") == number and "method" not in one:
                    return

    async def check(self) -> None:
        """See that the bystander was left in peace, and the server has no troubles."""
        with anyio.fail_after(20):
            assert await self._bystander.call("core.ping") == "pong"
            me = await self._bystander.call("auth.me")
        assert me["privilege"]["roles"] == {"$set": ["FULL_ADMIN"]}
        assert self._bystander.events == []
        troubles = [
            line
            for line in self.server.output
            if " ERROR " in line or "Traceback" in line or " CRITICAL " in line
        ]
        assert troubles == [], "".join(self.server.output[-60:])
        del self.server.output[:-10]
        if not self.early and self.sent >= EARLY:
            self.early = self.memory()
        if self.sent >= JOBS and "demo.noop" in self.methods:
            self.methods.remove("demo.noop")

    def memory(self) -> int:
        """Bytes that the server has in memory."""
        assert self.server.process is not None
        return int(psutil.Process(self.server.process.pid).memory_info().rss)


def check_answer(message: dict[str, Any]) -> None:
    """See that a message is a notification, a result, or an error of ours."""
    assert message["jsonrpc"] == "2.0"
    if "error" in message:
        assert message["error"]["code"] in CODES, message
        assert message["error"].get("data", {}).get("trace", {}) is not None
        assert "Traceback" not in str(message)
    else:
        assert "result" in message or "method" in message


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run the real program once for all frames."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    # Many arenas keep what threads once used: that would hide what frames leave.
    few = {"MALLOC_ARENA_MAX": "2"}
    with ServerProcess(folder / "data", config=CONFIG, environment=few) as running:
        yield running


@pytest.fixture(scope="module")
async def stage(server: ServerProcess) -> AsyncIterator[Stage]:
    bystander = await WireClient.open(("127.0.0.1", server.port))
    await bystander.login("admin", ADMIN_PASSWORD)
    found = Stage(server, bystander)
    await found.prepare()
    yield found
    bystander.close()


def fuzzed(test: Callable[..., Any]) -> Callable[..., Any]:
    """Run a test with as many seeds as the frames need."""
    examples = FRAMES // EXAMPLE // 2
    every = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return every(given(seed=st.integers(0, 2**64 - 1))(test))


@pytest.mark.timeout(3600 if SOAK else 120)
@fuzzed
async def test_any_frames_of_a_stranger(stage: Stage, seed: int) -> None:
    """Before a login: errors of ours, or a close, and nothing happened to anybody."""
    await stage.attack(random.Random(seed), known=False)  # noqa: S311 - no secret


@pytest.mark.timeout(3600 if SOAK else 120)
@fuzzed
async def test_any_frames_of_a_user(stage: Stage, seed: int) -> None:
    """After a login, the same, with all methods that there are."""
    await stage.attack(random.Random(seed), known=True)  # noqa: S311 - no secret


async def test_nothing_of_it_is_left(stage: Stage) -> None:
    """Memory did not grow with the frames, and all connections are forgotten."""
    assert stage.early
    assert stage.memory() - stage.early < GROWTH
    with anyio.fail_after(20):
        while len(await stage._bystander.call("auth.sessions")) > 1:  # noqa: ASYNC110 - nobody is told
            await anyio.sleep(0.05)
    assert stage.server.stop() == 0
