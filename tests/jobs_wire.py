"""A client that only speaks and remembers: every frame, in the order it came."""

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed

JOBS = "core.get_jobs"
FINAL = ("SUCCESS", "FAILED", "ABORTED")
#: Seconds after which a wait for something that must come has failed.
PATIENCE = 20.0

_names = itertools.count(1)
Frame = dict[str, Any]
T = TypeVar("T")


class WireClosed(Exception):
    """The connection ended while something was waited for."""


class WireError(Exception):
    """An error answer, with the keys that the wire gave it."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")

    @property
    def errno(self) -> int:
        """The error number inside the data."""
        return int(self.data["error"])

    @property
    def reason(self) -> str:
        """The text inside the data."""
        return str(self.data["reason"])


class Wire:
    """One connection; nothing is interpreted, everything is kept.

    Attributes:
        frames: what came, oldest first.
        closed: the code that the server closed with, None before.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.closed: int | None = None
        self._name = next(_names)
        self._numbers = itertools.count(1)
        self._news = anyio.Event()
        self._answers: dict[Any, Frame] = {}
        self._events: dict[int, list[dict[str, Any]]] = {}
        self._began: dict[Any, int] = {}
        self._tagged: dict[str | None, list[dict[str, Any]]] = {}

    async def read(self) -> None:
        """Keep what comes, until the connection ends."""
        try:
            async for text in self.socket:
                frame = json.loads(text)
                self._keep({"batch": frame} if text[0] == "[" else frame)
                self._tell()
        except ConnectionClosed:
            pass
        self.closed = self.socket.close_code
        self._tell()

    def _keep(self, frame: Frame) -> None:
        self.frames.append(frame)
        if is_event(frame):
            event = frame["params"]
            self._events.setdefault(event["id"], []).append(event)
            for number in event.get("fields", {}).get("message_ids", ()):
                self._began.setdefault(_key(number), event["id"])
        elif frame.get("method") == "collection_update":
            self._tagged.setdefault(frame["params"].get("tag"), []).append(
                frame["params"]
            )
        elif "id" in frame:
            self._answers.setdefault(_key(frame["id"]), frame)

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _number(self) -> str:
        # Unique among all connections: jobs of others appear with their ids, too.
        return f"{self._name}-{next(self._numbers)}"

    async def send(self, method: str, params: Any = (), **more: Any) -> Any:
        """Send a request without waiting; give its id.

        Args:
            method: full name.
            params: an array or an object.
            more: ``id`` to choose it.
        """
        number = more.get("id", self._number())
        await self.socket.send(request(method, params, number))
        return number

    async def send_many(self, requests: Sequence[tuple[str, Any]]) -> list[Any]:
        """Send requests in one go, so that they reach the server together."""
        numbers = [self._number() for _ in requests]
        for number, (method, params) in zip(numbers, requests, strict=True):
            await self.socket.send(request(method, params, number))
        return numbers

    async def wait(self, wanted: Callable[[Frame], bool], *, since: int = 0) -> Frame:
        """Give the first frame that is wanted; wait for it if need be."""
        with anyio.fail_after(PATIENCE):
            while True:
                while since < len(self.frames):
                    if wanted(self.frames[since]):
                        return self.frames[since]
                    since += 1
                self._check_open()
                await self._news.wait()

    def _check_open(self) -> None:
        if self.closed is not None:
            raise WireClosed(self.closed)

    async def _until(self, look: Callable[[], T | None]) -> T:
        """Wait until a look at what came finds something."""
        with anyio.fail_after(PATIENCE):
            while (found := look()) is None:
                self._check_open()
                await self._news.wait()
        return found

    async def wait_closed(self) -> int | None:
        """Wait until the server has closed the connection; give the code."""
        with anyio.fail_after(PATIENCE):
            while self.closed is None:
                await self._news.wait()
        return self.closed

    async def answer(self, number: Any) -> Frame:
        """Give the response to a request."""
        return await self._until(lambda: self._answers.get(_key(number)))

    async def result(self, number: Any) -> Any:
        """Give the result of a request, or raise its error."""
        frame = await self.answer(number)
        if "error" in frame:
            raise WireError(frame["error"])
        return frame["result"]

    async def call(self, method: str, *params: Any, **named: Any) -> Any:
        """Call a method and give its result, or raise its error."""
        return await self.result(await self.send(method, named or params))

    async def fail(self, method: str, *params: Any, **named: Any) -> WireError:
        """Call a method that must answer with an error; give that."""
        frame = await self.answer(await self.send(method, named or params))
        assert "error" in frame, f"no error: {frame}"
        return WireError(frame["error"])

    async def watch(self) -> str:
        """Subscribe to the events of jobs."""
        return str(await self.call("core.subscribe", JOBS))

    async def follow(self, tag: str, name: str = JOBS, **options: Any) -> Any:
        """Subscribe with options; `tagged` gives the events."""
        return await self.call("core.subscribe", name, {**options, "tag": tag})

    def tagged(self, tag: str) -> list[dict[str, Any]]:
        """Give the params of the events of a subscription with this tag."""
        return self._tagged.get(tag, [])

    async def until_tagged(
        self, tag: str, wanted: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Wait for an event of a subscription; give its params."""

        def look() -> dict[str, Any] | None:
            return next((event for event in self.tagged(tag) if wanted(event)), None)

        return await self._until(look)

    def place(self, wanted: Callable[[Frame], bool]) -> int:
        """Say where in the order the first such frame stands."""
        return next(i for i, frame in enumerate(self.frames) if wanted(frame))

    def events(self, job: int | None = None) -> list[dict[str, Any]]:
        """Give the params of the job events that came, of one job or of all."""
        if job is not None:
            return self._events.get(job, [])
        return [f["params"] for f in self.frames if is_event(f)]

    def states(self, job: int) -> list[str]:
        """Give the states that a job was seen in, as many times as it was told."""
        return [event["fields"]["state"] for event in self.events(job)]

    def moves(self, job: int) -> list[str]:
        """Give the states of a job, each once per move."""
        return [state for state, _ in itertools.groupby(self.states(job))]

    async def started(self, number: Any) -> int:
        """Give the id of the job that a request started, from its first event."""
        return await self._until(lambda: self._began.get(_key(number)))

    async def event(self, job: int, *states: str) -> dict[str, Any]:
        """Wait for an event that shows a job in one of the states; give the item."""

        def look() -> dict[str, Any] | None:
            items = (event["fields"] for event in self._events.get(job, ()))
            return next((item for item in items if item["state"] in states), None)

        return await self._until(look)

    async def final(self, job: int) -> dict[str, Any]:
        """Wait for the final event of a job; give the item."""
        return await self.event(job, *FINAL)

    async def start(self, method: str, *params: Any, **named: Any) -> int:
        """Start a job; needs `watch`."""
        return await self.started(await self.send(method, named or params))

    async def run(self, method: str, *params: Any, **named: Any) -> dict[str, Any]:
        """Start a job and give its final item; needs `watch`."""
        return await self.final(await self.start(method, *params, **named))


def request(method: str, params: Any, number: Any) -> str:
    """Write a request."""
    return json.dumps(
        {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    )


def same(one: Any, other: Any) -> bool:
    """Compare ids as JSON does: 1 is not true."""
    return type(one) is type(other) and bool(one == other)


def is_event(frame: Frame) -> bool:
    """Tell whether a frame is an event of a job, of the plain subscription."""
    return (
        frame.get("method") == "collection_update"
        and frame["params"]["collection"] == JOBS
        and "tag" not in frame["params"]
    )


def _key(number: Any) -> Any:
    """Make a key of an id, as JSON compares them."""
    return type(number), number


@contextlib.asynccontextmanager
async def open_wire(
    address: str | Path,
    *,
    login: tuple[str, str] | None = None,
    new_style: bool = True,
    watch: bool = False,
) -> AsyncIterator[Wire]:
    """Connect for the length of a block.

    Args:
        address: a ``ws://`` URL, or the path of a unix socket.
        login: name and password; none is needed on the unix socket.
        new_style: job calls are answered when the job ends.
        watch: subscribe to the events of jobs.
    """
    if isinstance(address, Path):
        opened = unix_connect(
            str(address), "ws://localhost/api/current", max_size=None, max_queue=None
        )
    else:
        opened = connect(address, proxy=None, max_size=None, max_queue=None)
    async with opened as socket, anyio.create_task_group() as group:
        wire = Wire(socket)
        group.start_soon(wire.read)
        await wire.call("core.set_options", {"legacy_jobs": not new_style})
        if login is not None:
            name, password = login
            assert await wire.call("auth.login", name, password), login
        if watch:
            await wire.watch()
        yield wire
        group.cancel_scope.cancel()
