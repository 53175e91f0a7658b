"""One running job, followed in all five APIs at once."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest
from jobs_stage import USERS, Stage, World, running_world

from middlewared import Plugin
from middlewared_jobs import Job, job

DIALECTS: dict[str, dict[str, Any]] = {
    "webex": {"family": "numbers/manageNumbers"},
    "arcgis": {"operation": "services/together", "type": "together"},
    "ocapi": {"job_id": "Together"},
    "infolink": {"app": "7", "op": "Together"},
}
#: What each API says in each state: native, Webex, ArcGIS, OCAPI, InfoLink.
WAITING = (
    ("WAITING", "pending"),
    ("STARTING", "UNKNOWN"),
    ("SUBMITTED", False),
    ("pending", "PENDING"),
    "running",
)
RUNNING = (
    ("RUNNING", "running"),
    ("STARTED", "UNKNOWN"),
    ("PROCESSING", False),
    ("running", "RUNNING"),
    "running",
)
PAUSED = (
    ("RUNNING", "paused"),
    ("STARTED", "STOPPED"),
    ("PROCESSING", False),
    ("paused", "PAUSED"),
    "running",
)
RESUMED = (
    ("RUNNING", "resumed"),
    ("STARTED", "UNKNOWN"),
    ("PROCESSING", False),
    ("resumed", "RESUMED"),
    "running",
)
DONE = (
    ("SUCCESS", "finished"),
    ("COMPLETED", "COMPLETED_WITH_ERRORS"),
    ("COMPLETED", False),
    ("finished", "COMPLETED_WITH_ERRORS"),
    "completedWithError",
)
ABORTED = (
    ("ABORTED", "aborted"),
    ("ABANDONED", "STOPPED"),
    ("FAILED", True),
    ("aborted", "ABORTED"),
    "stopped",
)
FAILED = (
    ("FAILED", "finished"),
    ("FAILED", "FAILED"),
    ("FAILED", False),
    ("finished", "ERROR"),
    "completedWithError",
)


def together(stage: Stage) -> Plugin:
    """Declare a job that all dialects show."""
    plugin = Plugin("o", requires=("jobs", "dialects"))

    @plugin.method(roles=USERS)
    @job(
        lock="together",
        abortable=True,
        pausable=True,
        steps=["first", "second"],
        dialects=DIALECTS,
    )
    async def together(job: Job, name: str, fail: bool = False) -> str:
        """Wait for a gate in each of two steps."""
        for step_name in ("first", "second"):
            async with job.step(step_name):
                await stage.pass_gate(f"{name}.{step_name}")
                if fail:
                    raise ValueError("broken")
        job.error_item("row 1", "E1", "is bad")
        return name

    return plugin


class Watch:
    """The same job, seen through five APIs by one account."""

    def __init__(self, http: httpx.AsyncClient, number: int, uid: str) -> None:
        self.http = http
        self.number = number
        self.uid = uid

    async def native(self) -> Any:
        """Ask over JSON-RPC."""
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "job.get",
            "params": [self.number],
        }
        record = (await self.http.post("/api/current", json=call)).json()["result"]
        return record["state"], record["phase"]

    async def webex(self) -> Any:
        """Ask for status and exit code."""
        path = f"/v1/telephony/config/jobs/numbers/manageNumbers/{self.uid}"
        found = (await self.http.get(path)).json()
        return found["latestExecutionStatus"], found["latestExecutionExitCode"]

    async def arcgis(self) -> Any:
        """Ask for status and whether it was cancelled."""
        query = {"f": "json"}
        path = f"/arcgis/rest/jobs/j{self.uid}"
        found = (await self.http.get(path, params=query)).json()
        return found["status"], found["customAttributes"]["isCancelled"]

    async def ocapi(self) -> Any:
        """Ask for execution status and status."""
        path = f"/dw/data/v17_2/jobs/Together/executions/{self.number}"
        found = (await self.http.get(path)).json()
        return found["execution_status"], found["status"]

    async def infolink(self) -> Any:
        """Ask for the status."""
        query = {"appId": "7", "jobId": self.uid}
        found = (await self.http.get("/api/v1/getJobStatus.jsp", params=query)).json()
        return found["result"]["status"]

    async def all_say(self, expected: Any) -> None:
        """Wait until every API says what is expected of it."""
        asks: list[Callable[[], Any]] = [
            self.native,
            self.webex,
            self.arcgis,
            self.ocapi,
            self.infolink,
        ]
        with anyio.fail_after(20):
            for ask, wanted in zip(asks, expected, strict=True):
                while await ask() != wanted:
                    pass


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with the job."""
    stage = Stage()
    async with running_world(together(stage), stage=stage) as world:
        yield world


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Give an HTTP client with an API key, which all five take."""
    await world.add_user("ann")
    account = {"username": "ann", "name": "k"}
    made = await world.server.context.call("api_key.create", account)
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(
        base_url=world.server.url, trust_env=False, headers=headers
    ) as http:
        yield http


async def start(http: httpx.AsyncClient, *params: Any) -> Watch:
    """Start the job over JSON-RPC."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "o.together", "params": list(params)}
    number = (await http.post("/api/current", json=call)).json()["result"]
    call |= {"method": "job.get", "params": [number]}
    record = (await http.post("/api/current", json=call)).json()["result"]
    return Watch(http, number, record["uid"])


async def call(http: httpx.AsyncClient, method: str, *params: Any) -> None:
    """Call a method that answers nothing."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    answer = (await http.post("/api/current", json=request)).json()
    assert answer.get("result", "none") is None, answer


async def test_every_state_is_seen_by_each(
    world: World, http: httpx.AsyncClient
) -> None:
    """Running, paused, resumed, done with errors; and another one meanwhile waits."""
    watch = await start(http, "a")
    await world.stage["a.first"].wait_entered()
    await watch.all_say(RUNNING)
    second = await start(http, "b")
    await second.all_say(WAITING)
    await call(http, "job.pause", watch.number)
    world.stage.open("a.first")
    await watch.all_say(PAUSED)
    await call(http, "job.resume", watch.number)
    await world.stage["a.second"].wait_entered()
    await watch.all_say(RESUMED)
    world.stage.open("a.second")
    await watch.all_say(DONE)
    await world.stage["b.first"].wait_entered()
    await second.all_say(RUNNING)
    await call(http, "job.abort", second.number)
    await second.all_say(ABORTED)
    await watch.all_say(DONE)


async def test_failures_are_seen_by_each(world: World, http: httpx.AsyncClient) -> None:
    """As each says it."""
    world.stage.open("a.first")
    watch = await start(http, "a", True)
    await watch.all_say(FAILED)
