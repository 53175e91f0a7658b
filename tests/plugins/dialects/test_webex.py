"""The Webex dialect over HTTP, with the schema of its documentation."""

import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from jobs_stage import USERS, Stage, World, running_world

from middlewared import Plugin
from middlewared_demo import plugin as demo
from middlewared_dialects.problems import DialectError, Problem
from middlewared_dialects.spelling import read_webex_id, webex_id
from middlewared_dialects.webex.refusals import refusal
from middlewared_jobs import Job, NotAccepted, job

MOVES = "/v1/telephony/config/jobs/person/moveLocation"
NUMBERS = "/v1/telephony/config/jobs/numbers/manageNumbers"
PHONES = "/v1/telephony/config/jobs/devices/rebuildPhones"
INVITES = "/v1/identity/organizations/{org}/jobs/sendActivationEmails"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
#: Members that the schema of the documentation requires, and their types.
REQUIRED = {
    "name": str,
    "id": str,
    "trackingId": str,
    "sourceUserId": str,
    "sourceCustomerId": str,
    "targetCustomerId": str,
    "instanceId": int,
    "latestExecutionStatus": str,
    "counts": dict,
}
OTHERS = {"jobExecutionStatus", "latestExecutionExitCode"}


def staged(stage: Stage) -> Plugin:
    """Declare methods of other families, which wait at gates."""
    plugin = Plugin("o", requires=("jobs", "dialects"))

    @plugin.method(roles=USERS)
    @job(
        abortable=True,
        pausable=True,
        restartable=True,
        lock="numbers",
        lock_queue_size=0,
        steps=["first", "second"],
        counts=["totalNumbers", "numbersMoved"],
        dialects={"webex": {"family": "numbers/manageNumbers"}},
    )
    async def numbers(job: Job, operation: str, name: str = "x") -> None:
        """Wait for a gate in each of two steps."""
        job.set_attribute("operationType", operation)
        job.set_attribute("csvFileDownloadUrl", "https://example.com/report.csv")
        for step_name in ("first", "second"):
            async with job.step(step_name) as step:
                if not step.skipped:
                    await stage.pass_gate(f"{name}.{step_name}")

    @plugin.method(roles=USERS)
    @job(dialects={"webex": {"family": "devices/rebuildPhones"}})
    async def phones(job: Job, locationId: str) -> None:  # noqa: N803 - the wire's word
        """Do nothing."""
        job.set_progress(30)

    @plugin.method(roles=USERS)
    @job(dialects={"webex": {"family": "sendActivationEmails"}})
    async def invites(job: Job) -> None:
        """Do nothing."""

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with the demo's move and some others."""
    stage = Stage()
    async with running_world(demo, staged(stage), stage=stage) as world:
        yield world


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Give an HTTP client with the API key of an account."""
    await world.add_user("ann")
    account = {"username": "ann", "name": "k"}
    made = await world.server.context.call("api_key.create", account)
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(
        base_url=world.server.url, trust_env=False, headers=headers
    ) as http:
        yield http


def moves(*numbers: str, validate: bool = False) -> dict[str, Any]:
    """Give the body of a move of users with these phone numbers."""
    users = [{"userId": f"u{n}", "phoneNumber": p} for n, p in enumerate(numbers)]
    one = {"locationId": "LOC", "validate": validate, "users": users}
    return {"usersList": [one]}


async def until(
    http: httpx.AsyncClient, path: str, status: str, exit_code: str | None = None
) -> Any:
    """Ask for a job until it has a status."""
    with anyio.fail_after(20):
        while True:
            job = (await http.get(path)).json()
            if job["latestExecutionStatus"] == status and exit_code in (
                None,
                job["latestExecutionExitCode"],
            ):
                return job


async def test_started_jobs_are_as_documented(http: httpx.AsyncClient) -> None:
    """Every required member with its type, and no member that the schema lacks."""
    answer = await http.post(
        MOVES, json=moves("+15551234567"), headers={"TrackingID": "ROUTER_1"}
    )
    assert answer.status_code == 201
    response = answer.json()["response"]
    job = response.pop("jobDetails")
    assert response == job
    assert {name: type(job[name]) for name in REQUIRED} == REQUIRED
    assert set(job) <= {*REQUIRED, *OTHERS}
    assert (job["name"], job["trackingId"]) == ("moveusers", "ROUTER_1")
    kinds = [
        (read_webex_id(job[name]) or ("", ""))[0]
        for name in ("id", "sourceUserId", "sourceCustomerId", "targetCustomerId")
    ]
    assert kinds == ["JOB_ID", "PEOPLE", "ORGANIZATION", "ORGANIZATION"]
    (execution,) = job["jobExecutionStatus"]
    assert {"endTime", "stepExecutionStatuses"}.isdisjoint(execution)
    assert TIME.fullmatch(execution["createdTime"])


async def test_moves_with_errors(http: httpx.AsyncClient) -> None:
    """Counts, steps and errors of a job that did some of it."""
    body = moves("+15551234567", "12", "")
    job = (await http.post(MOVES, json=body)).json()["response"]
    path = f"{MOVES}/{job['id']}"
    done = await until(http, path, "COMPLETED")
    assert done["latestExecutionExitCode"] == "COMPLETED_WITH_ERRORS"
    assert done["counts"] == {
        "totalMoves": 3,
        "moved": 2,
        "failed": 1,
        "pending": 0,
        "skipped": 0,
    }
    (execution,) = done["jobExecutionStatus"]
    names = [step["name"] for step in execution["stepExecutionStatuses"]]
    assert names == ["moveusersvalidateAndMove", "moveusersreport"]
    assert TIME.fullmatch(execution["endTime"])
    assert re.fullmatch(r"PT\d+(\.\d{1,3})?S", execution["timeElapsed"])
    errors = (await http.get(f"{path}/errors")).json()
    (item,) = errors["items"]
    assert (item["itemNumber"], item["item"], item["errorType"]) == (1, "u1", "ERROR")
    assert item["trackingId"] == f"{done['trackingId']}_1"
    (said,) = item["error"]["message"]
    assert (said["code"], said["locationId"]) == ("BATCH-1017023", "LOC")
    assert errors["paging"]["count"] == 1


async def test_moves_are_checked(http: httpx.AsyncClient) -> None:
    """With validate no job is made; a wrong body has the family's own shape."""
    answer = await http.post(MOVES, json=moves("12", validate=True))
    assert answer.status_code == 200
    (checked,) = answer.json()["response"]["usersList"]
    assert (checked["userId"], checked["impacts"]) == ("u0", [])
    assert checked["errors"][0]["code"] == 1017023
    assert (await http.get(MOVES)).json() == {"items": []}
    two = await http.post(MOVES, json=moves("12", "12", validate=True))
    assert two.status_code == 400
    assert "expected one" in two.json()["error"][0]["message"]
    wrong = await http.post(MOVES, json={"usersList": []})
    assert wrong.status_code == 400
    assert wrong.json()["error"][0]["code"] == 1026016


async def test_lists_have_pages(http: httpx.AsyncClient) -> None:
    """Newest first, without names, and a link to the next page."""
    ids = []
    for _ in range(3):
        job = (await http.post(MOVES, json=moves("+15551234567"))).json()["response"]
        await until(http, f"{MOVES}/{job['id']}", "COMPLETED")
        ids.append(job["id"])
    first = await http.get(MOVES, params={"max": "2"})
    assert [item["id"] for item in first.json()["items"]] == ids[:0:-1]
    assert "name" not in first.json()["items"][0]
    link = first.headers["link"]
    assert link.endswith('; rel="next"')
    rest = await http.get(link[1:].partition(">")[0])
    assert [item["id"] for item in rest.json()["items"]] == ids[:1]
    assert "link" not in rest.headers
    huge = await http.get(MOVES, params={"max": "99999"})
    assert len(huge.json()["items"]) == 3
    assert (await http.get(MOVES, params={"start": "-1"})).status_code == 400


async def test_pause_and_resume(world: World, http: httpx.AsyncClient) -> None:
    """A job stands between its steps; a second one is refused meanwhile."""
    body = {"operation": "MOVE"}
    answer = await http.post(NUMBERS, json=body)
    assert answer.status_code == 201
    job = answer.json()
    assert job["jobType"] == "managenumbers"
    path = f"{NUMBERS}/{job['id']}"
    await world.stage["x.first"].wait_entered()
    busy = await http.post(NUMBERS, json=body)
    assert busy.status_code == 409
    assert busy.json()["errors"][0]["description"]
    paused = await http.post(f"{path}/actions/pause/invoke")
    assert (paused.status_code, paused.content) == (204, b"")
    world.stage.open("x.first")
    shown = await until(http, path, "STARTED", "STOPPED")
    assert shown["operationType"] == "MOVE"
    assert shown["csvFileDownloadUrl"].endswith("report.csv")
    (listed,) = (await http.get(NUMBERS)).json()["items"]
    assert "csvFileDownloadUrl" not in listed
    assert (await http.post(f"{path}/actions/resume/invoke")).status_code == 204
    world.stage.open("x.second")
    await until(http, path, "COMPLETED")
    assert (await http.post(f"{path}/actions/pause/invoke")).status_code == 409


async def test_abandoned_jobs_are_resumed(
    world: World, http: httpx.AsyncClient
) -> None:
    """As a new execution of the instance, which skips what was done."""
    job = (await http.post(NUMBERS, json={"operation": "MOVE"})).json()
    path = f"{NUMBERS}/{job['id']}"
    world.stage.open("x.first")
    await world.stage["x.second"].wait_entered()
    assert (await http.post(f"{path}/actions/abandon/invoke")).status_code == 204
    gone = await until(http, path, "ABANDONED")
    assert gone["latestExecutionExitCode"] == "STOPPED"
    world.stage.open("x.second")
    assert (await http.post(f"{path}/actions/resume/invoke")).status_code == 204
    newest = (await http.get(NUMBERS)).json()["items"][0]
    done = await until(http, f"{NUMBERS}/{newest['id']}", "COMPLETED")
    assert done["instanceId"] == gone["instanceId"]
    states = [e["statusMessage"] for e in done["jobExecutionStatus"]]
    assert states == ["ABANDONED", "COMPLETED"]


async def test_wrong_numbers_bodies_have_their_shape(http: httpx.AsyncClient) -> None:
    """The keyed one, with a tracking id."""
    answer = await http.post(NUMBERS, json={"other": 1})
    assert answer.status_code == 400
    assert answer.json()["error"]["key"] == "400"
    assert answer.json()["trackingId"].startswith("ROUTER_")


async def test_other_families(http: httpx.AsyncClient) -> None:
    """Each with its own statuses."""
    answer = await http.post(PHONES, json={"locationId": "L"})
    assert answer.status_code == 202
    done = await until(http, f"{PHONES}/{answer.json()['id']}", "COMPLETED")
    assert done["percentageComplete"] == 100
    (execution,) = done["jobExecutionStatus"]
    (step,) = execution["stepExecutionStatuses"]
    assert step["name"] == "rebuildphonesProcess"
    pause = f"{PHONES}/{answer.json()['id']}/actions/pause/invoke"
    assert (await http.post(pause)).status_code == 404
    org = webex_id("ORGANIZATION", "02124eef-8af7-489c-805b-63cc64018940")
    path = INVITES.format(org=org)
    started = await http.post(path)
    assert started.status_code == 202
    assert started.json()["targetCustomerId"] == org
    number = started.json()["id"]
    assert (await http.get(f"{path}/{number}/status")).json()["id"] == number
    assert (await http.get(f"{path}/{number}/errors")).json()["items"] == []
    assert (await http.get(path)).status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{MOVES}/nothing", 404),
        ("GET", f"{MOVES}/nothing/errors", 404),
        ("GET", "/v1/telephony/config/jobs/devices/other", 404),
        ("GET", "/v1/telephony/config/jobs/updateRoutingPrefix", 404),
        ("DELETE", MOVES, 405),
        ("GET", f"{MOVES}/1/actions/pause/invoke", 405),
        ("GET", f"{MOVES}/1/2/3", 404),
        ("GET", f"{MOVES}?orgId=x", 400),
    ],
)
async def test_refusals(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    """With the status and a body that the client library reads."""
    answer = await http.request(method, path)
    assert answer.status_code == status
    body = answer.json()
    if "error" not in body:
        assert body["errors"][0]["description"] == body["message"]
        assert body["trackingId"].startswith("ROUTER_")


async def test_credentials_are_asked_for(world: World, http: httpx.AsyncClient) -> None:
    """None, wrong ones, or those of somebody who may not: refused, nothing told."""
    bare = httpx.AsyncClient(base_url=world.server.url, trust_env=False)
    async with bare:
        assert (await bare.get(MOVES)).status_code == 401
        wrong = {"Authorization": "Bearer 9-wrong"}
        assert (await bare.get(MOVES, headers=wrong)).status_code == 401
        await world.server.context.call("user.create", {"username": "eve", "roles": []})
        key = await world.server.context.call(
            "api_key.create", {"username": "eve", "name": "k"}
        )
        eve = {"Authorization": f"Bearer {key['key']}"}
        body = moves("+15551234567")
        assert (await bare.post(MOVES, json=body, headers=eve)).status_code == 403
        job = (await http.post(MOVES, json=body)).json()["response"]
        path = f"{MOVES}/{job['id']}"
        assert (await bare.get(path, headers=eve)).status_code == 404
    text = await http.post(MOVES, content="{}", headers={"Content-Type": "text/plain"})
    assert text.status_code == 415


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (DialectError(Problem.TOO_MANY, "x", retry_after=60), 429),
        (NotAccepted("x"), 423),
        (DialectError(Problem.BUSY, "x"), 409),
    ],
)
def test_clients_are_asked_to_come_again(exc: Exception, status: int) -> None:
    """After too many attempts, and while the server stops, with the seconds."""
    answer = refusal(exc, None)
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) is (status != 409)
