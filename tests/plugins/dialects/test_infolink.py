"""The InfoLink dialect over HTTP, with the sample of its documentation."""

import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from jobs_stage import USERS, Stage, World, running_world

from middlewared import CallError, Plugin
from middlewared_demo import plugin as demo
from middlewared_jobs import Job, job

#: The response example of the documentation, without its trailing comma.
TEXT = {
    "updateable": False,
    "typeStandard": {"typeStr": "text", "name": "text"},
    "type": {
        "typeStr": "nvarchar(max)",
        "precision": -1,
        "name": "nvarchar",
        "scale": 0,
    },
}
SAMPLE = {
    "result": {
        "results": [
            {
                "result": {
                    "schema": [
                        {**TEXT, "name": "id"},
                        {**TEXT, "name": "company_name"},
                    ],
                    "records": [
                        {"company_name": "IBM", "id": "1"},
                        {"company_name": "Microsoft", "id": "2"},
                    ],
                },
                "name": "companies",
            }
        ]
    },
    "status": "success",
}
MAIN = {"opName": "RunScenario", "opParams": {"scenario": "Main", "parameters": {}}}


def staged(stage: Stage) -> Plugin:
    """Declare operations that wait at gates."""
    plugin = Plugin("o", requires=("jobs", "dialects"))

    @plugin.method(roles=USERS)
    @job(abortable=True, dialects={"infolink": {"app": "7", "op": "Hold"}})
    async def hold(job: Job, name: str) -> dict[str, str]:
        """Wait for a gate."""
        return {"name": await stage.pass_gate(name)}

    @plugin.method(roles=USERS)
    @job(dialects={"infolink": {"app": "7", "op": "Break"}})
    async def breaks(job: Job) -> None:
        """Fail."""
        raise CallError("no such table", 2)

    @plugin.method(roles=USERS)
    @job(dialects={"infolink": {"app": "8", "scenario": "Partly"}})
    async def partly(job: Job) -> int:
        """Do some of it."""
        job.error_item("row 3", "E1", "has no name")
        return 2

    return plugin


class Client:
    """Speaks InfoLink with an API key."""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self.http = http
        self.key = key

    async def execute(self, operation: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Execute a job of app 7."""
        body = {"apiKey": self.key, "appId": "7", "operation": operation, **more}
        return await self.post("executeJob.jsp", body)

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        """Send a body; every answer is 200."""
        return _open(await self.http.post(f"/api/v1/{path}", json=body))

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Ask with a query."""
        query = {"apiKey": self.key, "appId": "7", **query}
        return _open(await self.http.get(f"/api/v1/{path}", params=query))

    async def until(self, job_id: str, status: str) -> dict[str, Any]:
        """Ask for a job until it has a status."""
        with anyio.fail_after(20):
            while True:
                answer = await self.get("getJobStatus.jsp", jobId=job_id)
                if answer["result"]["status"] == status:
                    found: dict[str, Any] = answer["result"]
                    return found


def _open(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@contextlib.asynccontextmanager
async def client_of(world: World, name: str) -> AsyncIterator[Client]:
    """Make an account with a key, and a client for it."""
    await world.add_user(name)
    made = await world.server.context.call(
        "api_key.create", {"username": name, "name": "k"}
    )
    async with httpx.AsyncClient(base_url=world.server.url, trust_env=False) as http:
        yield Client(http, made["key"])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with the demo's scenario and some operations."""
    stage = Stage()
    async with running_world(demo, staged(stage), stage=stage) as world:
        yield world


@pytest.fixture
async def ann(world: World) -> AsyncIterator[Client]:
    """Give a client of an account."""
    async with client_of(world, "ann") as client:
        yield client


async def test_sample_of_the_documentation(ann: Client) -> None:
    """A synchronous run of the scenario gives the documented answer, key by key."""
    assert await ann.execute(MAIN, isAsync=False) == SAMPLE
    bare = await ann.execute(MAIN, isAsync="false", noResultSchema="true")
    assert "schema" not in bare["result"]["results"][0]["result"]
    with_params = {
        **MAIN,
        "opParams": {"scenario": "Main", "parameters": {"search": "b"}},
    }
    found = await ann.execute(with_params, isAsync=False)
    assert len(found["result"]["results"][0]["result"]["records"]) == 1


async def test_asynchronous_runs_are_polled(world: World, ann: Client) -> None:
    """Started, running, completed with the schema; the id is the caller's choice."""
    operation = {"opName": "Hold", "opParams": {"name": "gate"}}
    answer = await ann.execute(operation, jobId="my-1")
    assert answer == {"status": "success", "result": {"jobId": "my-1"}}
    await ann.until("my-1", "running")
    again = await ann.execute(operation, jobId="my-1")
    assert (again["status"], again["result"]["message"]) == (
        "error",
        "Job my-1 exists already.",
    )
    world.stage.open("gate")
    done = await ann.until("my-1", "completed")
    assert done["results"][0]["result"]["records"] == [{"name": "gate"}]
    own = (await ann.execute(MAIN))["result"]["jobId"]
    assert (await ann.until(own, "completed"))["results"][0]["name"] == "companies"


async def test_jobs_are_stopped(world: World, ann: Client) -> None:
    """The same call again says how it goes."""
    operation = {"opName": "Hold", "opParams": {"name": "gate"}}
    job_id = (await ann.execute(operation))["result"]["jobId"]
    await world.stage["gate"].wait_entered()
    first = await ann.get("stop.jsp", jobId=job_id)
    assert first["result"]["status"] == "stop started"
    await ann.until(job_id, "stopped")
    last = await ann.get("stopJob", jobId=job_id)
    assert last["result"]["status"] == "already completed"


async def test_failures_are_told(ann: Client) -> None:
    """In the envelope of a synchronous call, in the status of another."""
    operation = {"opName": "Break", "opParams": {}}
    answer = await ann.execute(operation, isAsync=False)
    assert answer["status"] == "error"
    assert "no such table" in answer["result"]["message"]
    job_id = (await ann.execute(operation))["result"]["jobId"]
    failed = await ann.until(job_id, "completedWithError")
    assert "no such table" in failed["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"appId": "7", "operation": MAIN}, "apiKey parameter is required."),
        ({"apiKey": "1-x", "appId": "7", "operation": MAIN}, "credentials"),
        ({"operation": MAIN}, "appId"),
        ({"appId": "7"}, "operation"),
        ([], "object"),
    ],
)
async def test_bad_starts_are_errors(ann: Client, body: Any, message: str) -> None:
    """With HTTP status 200 and a sentence."""
    answer = await ann.post("executeJob", body)
    assert answer["status"] == "error"
    assert message in answer["result"]["message"]


async def test_bad_operations_are_errors(ann: Client) -> None:
    """What is not there, in this app, or takes other params."""
    wrong: list[tuple[Any, str]] = [
        ({"opName": "RunScenario", "opParams": {"scenario": "No"}}, "does not exist"),
        ({"opName": "RunScenario", "opParams": {}}, "scenario parameter is required"),
        ({"opName": "RunScenario", "opParams": {"scenario": "Partly"}}, "in app 7"),
        ({"opName": "Hold", "opParams": {"other": 1}}, "other"),
        ({"opName": "Nothing"}, "does not exist"),
    ]
    for operation, text in wrong:
        answer = await ann.execute(operation)
        assert (answer["status"], text in answer["result"]["message"]) == (
            "error",
            True,
        )
    assert (await ann.execute(MAIN, isAsync="maybe"))["status"] == "error"
    assert (await ann.get("getActivityLog"))["result"] == []


async def test_activity_log(world: World, ann: Client) -> None:
    """What runs comes first and has no end; filters narrow it."""
    await ann.execute(MAIN, isAsync=False)
    held = await ann.execute({"opName": "Hold", "opParams": {"name": "gate"}})
    await world.stage["gate"].wait_entered()
    await ann.execute(MAIN, isAsync=False)
    log = (await ann.get("getActivityLog.jsp"))["result"]
    assert log[0]["jobId"] == held["result"]["jobId"]
    assert [entry["status"] for entry in log] == ["running", "completed", "completed"]
    assert "endTime" not in log[0]
    assert (log[0]["actuallyRunning"], log[0]["appId"], log[0]["opName"]) == (
        True,
        7,
        "Hold",
    )
    assert log[1]["initType"] == "api"
    assert len(log[1]["startTime"]) == len("2026-11-26 06:34:15.123")
    for query, count in (
        ({"status": "completed"}, 2),
        ({"title": "companies"}, 2),
        ({"limit": "1"}, 1),
        ({"appId": "8"}, 0),
        ({"initType": "scheduled"}, 0),
        ({"after": log[1]["startTime"]}, 0),
        ({"before": "2000-01-01 00:00:00.000"}, 0),
        ({"timeZone": "Europe/Berlin"}, 3),
    ):
        found = await ann.get("getActivityLog", **query)
        assert len(found["result"]) == count, query
    bad = await ann.get("getActivityLog", timeZone="Mars/Olympus")
    assert bad["status"] == "error"


async def test_scenarios_are_listed(ann: Client) -> None:
    """Those of the app that the user may run."""
    (main,) = (await ann.get("getScenarios"))["result"]
    assert (main["name"], main["parameters"]) == ("Main", ["search"])
    (with_lineage,) = (await ann.get("getScenarios.jsp", withLineage="true"))["result"]
    assert with_lineage["lineage"] == []


async def test_tokens_stand_for_keys(ann: Client) -> None:
    """Client credentials and refresh tokens give access tokens for the header."""
    number = ann.key.partition("-")[0]
    form = {
        "grant_type": "client_credentials",
        "client_id": number,
        "client_secret": ann.key,
    }
    made = (await ann.http.post("/api/v1/oauth2/token", data=form)).json()
    assert (made["token_type"], made["expires_in"]) == ("Bearer", 1800)
    again = {"grant_type": "refresh_token", "refresh_token": made["refresh_token"]}
    made = (await ann.http.post("/api/v1/oauth2/token", data=again)).json()
    answer = await ann.http.post(
        "/api/v1/executeJob.jsp",
        json={"appId": 7, "operation": MAIN, "isAsync": False},
        headers={"Authorization": f"Bearer {made['access_token']}"},
    )
    assert answer.json() == SAMPLE
    for wrong in (
        {**form, "client_secret": "1-" + "x" * 64},
        {**form, "client_id": "z"},
    ):
        refused = await ann.http.post("/api/v1/oauth2/token", data=wrong)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    other = await ann.http.post("/api/v1/oauth2/token", data={"grant_type": "x"})
    assert other.status_code == 400


async def test_jobs_of_others_are_not_there(world: World, ann: Client) -> None:
    """Neither by id nor in the log, and their ids may be chosen again."""
    await ann.execute(MAIN, jobId="mine")
    await ann.until("mine", "completed")
    async with client_of(world, "bob") as bob:
        answer = await bob.get("getJobStatus", jobId="mine")
        assert answer["status"] == "error"
        assert (await bob.get("getActivityLog"))["result"] == []
        assert (await bob.execute(MAIN, jobId="mine"))["status"] == "success"


async def test_partial_success_is_completed_with_error(ann: Client) -> None:
    """Items that failed show in the status; the result is there all the same."""
    operation = {"opName": "RunScenario", "opParams": {"scenario": "Partly"}}
    job_id = (await ann.execute(operation, appId=8))["result"]["jobId"]
    with anyio.fail_after(20):
        while True:
            answer = await ann.get("getJobStatus", jobId=job_id, appId="8")
            if answer["result"]["status"] != "running":
                break
    assert answer["result"]["status"] == "completedWithError"
    assert answer["result"]["results"][0]["result"]["records"] == [{"value": 2}]
    assert (await ann.get("getJobStatus", jobId=job_id))["status"] == "error"


async def test_jobs_outlive_who_waits_for_them(world: World, ann: Client) -> None:
    """A synchronous request whose client goes away leaves its job running."""
    operation = {"opName": "Hold", "opParams": {"name": "gate"}}
    with anyio.move_on_after(20) as waiting:
        async with anyio.create_task_group() as group:
            execute = functools.partial(
                ann.execute, operation, isAsync=False, jobId="left"
            )
            group.start_soon(execute)
            await world.stage["gate"].wait_entered()
            group.cancel_scope.cancel()
    assert not waiting.cancelled_caught
    await ann.until("left", "running")
    world.stage.open("gate")
    await ann.until("left", "completed")
