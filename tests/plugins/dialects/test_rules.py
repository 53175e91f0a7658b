"""All dialects obey the rules of the native API: rights, redaction, audit, aborts."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from jobs_stage import USERS, Stage, World, running_world

from middlewared import Plugin, Secret
from middlewared_jobs import Job, job

SECRET = "correct horse battery staple"
WEBEX = "/v1/telephony/config/jobs/devices"
JSON = {"f": "json"}


def dialects(name: str, family: str) -> dict[str, dict[str, Any]]:
    """Publish a method everywhere."""
    return {
        "webex": {"family": f"devices/{family}"},
        "arcgis": {"operation": f"services/{name}", "type": name},
        "ocapi": {"job_id": name},
        "infolink": {"app": "7", "op": name},
    }


def ruled(stage: Stage, got: list[str]) -> Plugin:
    """Declare a job with a secret, and one that cannot be aborted."""
    plugin = Plugin("r", requires=("jobs", "dialects"))

    @plugin.method(roles=USERS)
    @job(logs=True, dialects=dialects("sealed", "rebuildPhones"))
    async def sealed(job: Job, key: Secret[str], name: str) -> str:
        """Take a secret."""
        got.append(key.get())
        job.log.info("the key is %s", key.get())
        return name

    @plugin.method(roles=USERS)
    @job(max_running=1, dialects=dialects("fixed", "callDeviceSettings"))
    async def fixed(job: Job, name: str) -> str:
        """Wait for a gate; not abortable, and one at a time."""
        return await stage.pass_gate(name)

    return plugin


class Everywhere:
    """Somebody who starts jobs of one method in every dialect."""

    def __init__(self, http: httpx.AsyncClient, world: World) -> None:
        self.http = http
        self.world = world

    async def pause(self) -> None:
        """Wait until all jobs but those of ``r.fixed`` have ended."""
        running = [["method", "=", "r.sealed"], ["time_finished", "=", None]]
        with anyio.fail_after(20):
            while await self.world.server.context.call("job.query", running):
                pass

    async def records(self) -> list[dict[str, Any]]:
        """Give the records of the jobs with a secret."""
        query = [["method", "=", "r.sealed"]]
        found: list[dict[str, Any]]
        found = await self.world.server.context.call("job.query", query)
        return found

    async def start(self, method: str, family: str, **params: str) -> list[Any]:
        """Start a job in each; give the answers."""
        http = self.http
        listed = [{"name": n, "value": v} for n, v in params.items()]
        operation = {"opName": method, "opParams": params}
        form = {**params, **JSON, "async": "true"}
        ocapi = f"/dw/data/v17_2/jobs/{method}/executions"
        body = {"appId": "7", "operation": operation}
        requests: list[tuple[str, dict[str, Any]]] = [
            (f"{WEBEX}/{family}", {"json": params}),
            (f"/arcgis/rest/services/{method}", {"data": form}),
            (ocapi, {"json": {"parameters": listed}}),
            ("/api/v1/executeJob.jsp", {"json": body}),
        ]
        answers = []
        for path, more in requests:
            answers.append(await http.post(path, **more))
            await self.pause()  # OCAPI starts none while one runs
        return answers

    async def show(self, method: str, family: str, record: dict[str, Any]) -> list[Any]:
        """Ask for a job in each; give the answers."""
        uid, number = record["uid"], record["id"]
        asked = {"appId": "7", "jobId": uid}
        return [
            await self.http.get(f"{WEBEX}/{family}/{uid}"),
            await self.http.get(f"/arcgis/rest/jobs/j{uid}", params=JSON),
            await self.http.get(f"/dw/data/v17_2/jobs/{method}/executions/{number}"),
            await self.http.get("/api/v1/getJobStatus.jsp", params=asked),
        ]


@pytest.fixture
def got() -> list[str]:
    """Note the secrets that bodies got."""
    return []


@pytest.fixture
async def world(got: list[str], tmp_path: Path) -> AsyncIterator[World]:
    """Run a server with these jobs."""
    stage = Stage()
    async with running_world(ruled(stage, got), stage=stage, data_dir=tmp_path) as made:
        yield made


async def somebody(world: World, name: str, *roles: str) -> Everywhere:
    """Make an account and a client with its key."""
    call = world.server.context.call
    await call("user.create", {"username": name, "roles": list(roles)})
    made = await call("api_key.create", {"username": name, "name": "k"})
    headers = {"Authorization": f"Bearer {made['key']}"}
    return Everywhere(
        httpx.AsyncClient(base_url=world.server.url, trust_env=False, headers=headers),
        world,
    )


@pytest.fixture
async def ann(world: World) -> AsyncIterator[Everywhere]:
    """Give somebody who may run jobs."""
    made = await somebody(world, "ann", *USERS)
    async with made.http:
        yield made


async def test_secrets_and_audit(
    world: World, ann: Everywhere, got: list[str], tmp_path: Path
) -> None:
    """Bodies get secrets, nobody else does; who started what is written down."""
    started = await ann.start("sealed", "rebuildPhones", key=SECRET, name="x")
    answers = list(started)
    records = await ann.records()
    assert got == [SECRET] * 4
    for record in records:
        answers += await ann.show("sealed", "rebuildPhones", record)
        log = await anyio.Path(record["logs_path"]).read_text()
        assert "the key is" in log
        assert SECRET not in log
    listed = (
        f"{WEBEX}/rebuildPhones",
        "/arcgis/rest/jobs?f=json&detail=true",
        "/dw/data/v17_2/jobs/sealed/executions",
        "/api/v1/getActivityLog.jsp",
    )
    answers += [await ann.http.get(path) for path in listed]
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert not [answer.text for answer in answers if SECRET in answer.text]
    assert "********" in started[2].text
    asked = [
        ["username", "=", "ann"],
        ["event", "=", "JOB"],
        ["method", "=", "r.sealed"],
    ]
    submitted: list[dict[str, Any]] = []
    with anyio.fail_after(20):  # they are written a moment later
        while len(submitted) < 4:
            await anyio.sleep(0.02)
            submitted = await world.server.context.call("audit.query", asked)
    assert len(submitted) == 4
    assert {note["origin"] for note in submitted} == {"127.0.0.1"}
    assert SECRET not in str(await world.server.context.call("audit.query"))
    async for path in anyio.Path(tmp_path).rglob("*"):
        if await path.is_file():
            assert SECRET.encode() not in await path.read_bytes(), path


async def test_jobs_that_cannot_be_aborted(world: World, ann: Everywhere) -> None:
    """Each says so; a second one waits, whichever dialect it comes from."""
    first, second, *_ = await ann.start("fixed", "callDeviceSettings", name="x")
    await world.stage["x"].wait_entered()
    path = f"/arcgis/rest/jobs/{second.json()['jobId']}"
    waiting = (await ann.http.get(path, params=JSON)).json()
    assert waiting["status"] == "SUBMITTED"
    number = first.json()["id"]
    refused = await ann.http.post(
        f"{WEBEX}/callDeviceSettings/{number}/actions/abandon/invoke"
    )
    assert refused.status_code == 403
    assert "cannot be aborted" in refused.json()["message"]
    path = f"/arcgis/rest/jobs/{number}/cancel"
    answer = (await ann.http.post(path, data=JSON)).json()
    assert answer["error"]["code"] == 403
    asked = {"appId": "7", "jobId": number}
    answer = (await ann.http.get("/api/v1/stopJob.jsp", params=asked)).json()
    assert answer["status"] == "error"
    assert "cannot be aborted" in answer["result"]["message"]
    cancelled = await ann.http.post(
        f"/arcgis/rest/jobs/{second.json()['jobId']}/cancel", data=JSON
    )
    assert cancelled.json() == {"status": "success"}  # it waits


async def test_keys_have_scopes(world: World, ann: Everywhere) -> None:
    """A key that may less than its owner reads, and starts nothing."""
    narrow = {"username": "ann", "name": "narrow", "roles": []}
    key = (await world.server.context.call("api_key.create", narrow))["key"]
    ann.http.headers["Authorization"] = f"Bearer {key}"
    answers = await ann.start("sealed", "rebuildPhones", key="k", name="x")
    assert [answer.status_code for answer in answers] == [403, 200, 403, 200]
    assert answers[1].json()["error"]["code"] == 403
    assert answers[3].json()["status"] == "error"
    assert (await ann.http.get(f"{WEBEX}/rebuildPhones")).json() == {"items": []}


async def test_those_who_may_not(world: World, ann: Everywhere) -> None:
    """Starting is refused in each shape, and jobs of others are not there."""
    eve = await somebody(world, "eve")
    async with eve.http:
        answers = await eve.start("sealed", "rebuildPhones", key="k", name="x")
        assert [answer.status_code for answer in answers] == [403, 200, 403, 200]
        assert answers[0].json()["errors"]
        assert answers[1].json()["error"]["code"] == 403
        kind = answers[2].json()["fault"]["type"]
        assert kind == "ClientAccessForbiddenException"
        assert answers[3].json()["status"] == "error"
        await ann.start("sealed", "rebuildPhones", key="k", name="x")
        for record in await ann.records():
            shown = await eve.show("sealed", "rebuildPhones", record)
            assert [answer.status_code for answer in shown] == [404, 200, 404, 200]
            assert shown[1].json()["error"]["code"] == 404
            assert shown[3].json()["status"] == "error"
