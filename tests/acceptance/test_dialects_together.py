"""One job, followed in all five APIs at once while it goes through all it can be."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from views_server import Views, running_views

from middlewared.client import Client, connect

PATIENCE = 30.0
MOMENT = 0.03
#: What each API says, by phase and exit.
WORDS: dict[str, dict[str, Any]] = {
    "pending": {
        "native": ("WAITING", "pending"),
        "webex": ("STARTING", "UNKNOWN"),
        "arcgis": ("SUBMITTED", False),
        "ocapi": ("pending", "PENDING"),
        "infolink": "running",
    },
    "paused": {
        "native": ("RUNNING", "paused"),
        "webex": ("STARTED", "STOPPED"),
        "arcgis": ("PROCESSING", False),
        "ocapi": ("paused", "PAUSED"),
        "infolink": "running",
    },
    "aborting": {
        "native": ("RUNNING", "aborting"),
        "webex": ("STARTED", "UNKNOWN"),
        "arcgis": ("PROCESSING", True),
        "ocapi": ("aborting", "ABORTING"),
        "infolink": "stopping",
    },
    "aborted": {
        "native": ("ABORTED", "aborted"),
        "webex": ("ABANDONED", "STOPPED"),
        "arcgis": ("FAILED", True),
        "ocapi": ("aborted", "ABORTED"),
        "infolink": "stopped",
    },
    "done": {
        "native": ("SUCCESS", "finished"),
        "webex": ("COMPLETED", "COMPLETED_WITH_ERRORS"),
        "arcgis": ("COMPLETED", False),
        "ocapi": ("finished", "COMPLETED_WITH_ERRORS"),
        "infolink": "completedWithError",
    },
    "failed": {
        "native": ("FAILED", "finished"),
        "webex": ("FAILED", "FAILED"),
        "arcgis": ("FAILED", False),
        "ocapi": ("finished", "ERROR"),
        "infolink": "completedWithError",
    },
}
for _phase in ("retrying", "restarting"):
    WORDS[_phase] = WORDS["pending"] | {
        "native": ("WAITING", _phase),
        "ocapi": (_phase, _phase.upper()),
    }
for _phase in ("running", "pausing", "resumed", "retried", "restarted"):
    WORDS[_phase] = {
        "native": ("RUNNING", _phase),
        "webex": ("STARTED", "UNKNOWN"),
        "arcgis": ("PROCESSING", False),
        "ocapi": (_phase, _phase.upper()),
        "infolink": "running",
    }
#: Between paused and resumed for a moment: who asks then, sees it.
RESUMING = {
    "native": ("RUNNING", "resuming"),
    "webex": ("STARTING", "UNKNOWN"),
    "arcgis": ("PROCESSING", False),
    "ocapi": ("resuming", "RESUMING"),
    "infolink": "running",
}


class Watch:
    """The same job in five APIs: each asks by itself, and notes what is new to it.

    Attributes:
        number: of the job.
        seen: by API, what it said, each once per change.
    """

    def __init__(self, http: httpx.AsyncClient, record: dict[str, Any]) -> None:
        self.number: int = record["id"]
        self.uid: str = record["uid"]
        self.seen: dict[str, list[Any]] = {}
        self._http = http
        self._news = anyio.Event()
        self._asks: dict[str, Callable[[], Awaitable[Any]]] = {
            "webex": self._webex,
            "arcgis": self._arcgis,
            "ocapi": self._ocapi,
            "infolink": self._infolink,
        }

    async def _get(self, path: str, **query: str) -> Any:
        return (await self._http.get(path, params=query)).json()

    async def _webex(self) -> Any:
        path = "/v1/telephony/config/jobs/locations/deleteCallingLocation"
        found = await self._get(f"{path}/{self.uid}")
        return found["latestExecutionStatus"], found["latestExecutionExitCode"]

    async def _arcgis(self) -> Any:
        found = await self._get(f"/arcgis/rest/jobs/j{self.uid}", f="json")
        return found["status"], found["customAttributes"]["isCancelled"]

    async def _ocapi(self) -> Any:
        path = f"/dw/data/v17_2/jobs/Gated/executions/{self.number}"
        found = await self._get(path)
        return found["execution_status"], found["status"]

    async def _infolink(self) -> Any:
        path = "/api/v1/getJobStatus.jsp"
        found = await self._get(path, appId="7", jobId=self.uid)
        return found["result"]["status"]

    def note(self, api: str, said: Any) -> None:
        """Keep what is new."""
        seen = self.seen.setdefault(api, [])
        if not seen or seen[-1] != said:
            seen.append(said)
            self._news.set()
            self._news = anyio.Event()

    async def poll(self, api: str) -> None:
        """Ask one API again and again."""
        while True:
            self.note(api, await self._asks[api]())
            await anyio.sleep(MOMENT)

    async def listen(self, client: Client, *, task_status: Any) -> None:
        """Follow the native events."""
        mine = [["id", "=", self.number]]
        followed = client.subscribe("job.query", filters=mine, snapshot=True)
        async with followed as events:
            task_status.started()
            async for event in events:
                fields = event["fields"]
                self.note("native", (fields["state"], fields["phase"]))

    async def all_say(self, phase: str) -> None:
        """Wait until the last that each saw is this."""
        try:
            with anyio.fail_after(PATIENCE):
                for api, words in WORDS[phase].items():
                    while self.seen.get(api, [None])[-1] != words:
                        await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{phase}: {self.seen}") from None

    def check(self, *phases: str) -> None:
        """See that each saw these, all of them and in this order, and nothing else."""
        for api, seen in self.seen.items():
            expected = [WORDS[phase][api] for phase in phases]
            told = [one for one in seen if one != RESUMING[api] or one in expected]
            told = [one for one, _ in itertools.groupby(told)]
            assert told == [one for one, _ in itertools.groupby(expected)], api


@contextlib.asynccontextmanager
async def watching(
    http: httpx.AsyncClient, client: Client, number: int
) -> AsyncIterator[Watch]:
    """Follow a job in all five at once, each in a task of its own."""
    watch = Watch(http, await client.call("job.get", number))
    async with anyio.create_task_group() as group:
        await group.start(lambda **more: watch.listen(client, **more))
        for api in ("webex", "arcgis", "ocapi", "infolink"):
            group.start_soon(watch.poll, api)
        yield watch
        group.cancel_scope.cancel()


class Stage:
    """Jobs of one server, and the files that they wait for."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.folder = folder

    async def start(self, name: str) -> int:
        """Start a job."""
        place = {"locationId": str(self.folder), "locationName": name}
        number: int = await self.client.call("views.gated", place)
        return number

    def open(self, *files: str) -> None:
        """Let bodies go on."""
        for name in files:
            (self.folder / name).touch()

    def close(self, *files: str) -> None:
        """Let the next bodies wait again."""
        for name in files:
            (self.folder / name).unlink()


@pytest.fixture
def views(tmp_path: Path) -> Iterator[Views]:
    """Run the program."""
    with running_views(tmp_path) as views:
        yield views


@pytest.fixture
async def stage(views: Views) -> AsyncIterator[Stage]:
    """Connect over a WebSocket, as the account that owns the key."""
    async with connect(views.server.ws_url, legacy_jobs=True) as client:
        await client.login_api_key(views.key)
        yield Stage(client, views.folder)


@pytest.fixture
async def http(views: Views) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client with the key, which all dialects take."""
    async with httpx.AsyncClient(
        base_url=views.server.url,
        headers=views.headers,
        trust_env=False,
        timeout=PATIENCE,
    ) as http:
        yield http


async def test_every_change_is_seen_by_each(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    """Waits, runs, pauses, goes on, fails, is tried again, aborted, and restarted."""
    client = stage.client
    first = await stage.start("first")
    number = await stage.start("job")
    next_one = await stage.start("next")
    async with watching(http, client, number) as watch:
        await watch.all_say("pending")
        stage.open("first.first.1", "first.second.1")
        await watch.all_say("running")
        await client.call("job.pause", number)
        await watch.all_say("pausing")
        stage.open("job.first.1")
        await watch.all_say("paused")
        await client.call("job.resume", number)
        await watch.all_say("resumed")
        stage.open("job.fail", "job.second.1")
        await watch.all_say("retrying")  # another one has the lock meanwhile
        stage.close("job.fail")
        stage.open("next.first.1", "next.second.1")
        await watch.all_say("retried")
        await client.call("core.job_abort", number)
        await watch.all_say("aborting")
        holder = await stage.start("holder")
        stage.open("job.abort")
        await watch.all_say("aborted")
    watch.check(
        *("pending", "running", "pausing", "paused", "resumed"),
        *("retrying", "retried", "aborting", "aborted"),
    )
    stage.close("job.second.1")
    again = await client.call("job.restart", number)
    async with watching(http, client, again) as watch:
        await watch.all_say("restarting")
        stage.open("holder.first.1", "holder.second.1")
        await watch.all_say("restarted")
        stage.open("job.second.1")
        await watch.all_say("done")
    watch.check("restarting", "restarted", "done")
    ended = await client.call("job.query", [["id", "in", [first, next_one, holder]]])
    assert {item["state"] for item in ended} == {"SUCCESS"}


async def test_failures_and_history_are_seen_by_each(
    views: Views, stage: Stage, http: httpx.AsyncClient
) -> None:
    """A job fails for good; after a restart of the server each says the same."""
    number = await stage.start("bad")
    async with watching(http, stage.client, number) as watch:
        await watch.all_say("running")
        stage.open("bad.fail", "bad.first.1")
        await watch.all_say("retried")
        stage.open("bad.first.2")
        await watch.all_say("failed")
    await anyio.to_thread.run_sync(views.server.restart)
    async with connect(views.server.ws_url, legacy_jobs=True) as client:
        await client.login_api_key(views.key)
        async with watching(http, client, number) as watch:
            await watch.all_say("failed")
        watch.check("failed")
