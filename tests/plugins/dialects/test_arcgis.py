"""The ArcGIS Mission dialect over HTTP, with the sample of its documentation."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from jobs_stage import USERS, Stage, World, running_world

from middlewared import CallError, Plugin
from middlewared_demo import plugin as demo
from middlewared_jobs import Job, job

#: Texts and codes of the response example of the documentation, but for the id.
MESSAGES = [
    (1500, "Started mission creation."),
    (1501, "Creating tracks layers for location awareness."),
    (1503, "Creating communications layers for collaboration."),
    (1505, "Creating events layers for mission logs."),
    (1502, "Created tracks layers for location awareness."),
    (1504, "Created communications layers for collaboration."),
    (1506, "Created events layers for mission logs."),
    (1507, "Creating map for visualization."),
    (1508, "Created map for visualization."),
    (1509, "Finishing mission creation."),
]
KEYS = [
    "jobId",
    "messages",
    "startTime",
    "endTime",
    "type",
    "status",
    "username",
    "customAttributes",
]
ATTRIBUTES = [
    "stepsCompleted",
    "isCancelled",
    "missionId",
    "messageCodes",
    "totalSteps",
]


def staged(stage: Stage) -> Plugin:
    """Declare operations that wait at gates, or fail."""
    plugin = Plugin("o", requires=("jobs", "dialects"))

    @plugin.method(roles=USERS)
    @job(
        abortable=True,
        dialects={"arcgis": {"operation": "services/hold", "type": "hold"}},
    )
    async def hold(job: Job, name: str, count: int = 0, deep: list[int] = []) -> Any:  # noqa: B006 - never changed
        """Wait for a gate."""
        job.message(7, "Begun.")
        return [await stage.pass_gate(name), count, deep]

    @plugin.method(roles=USERS)
    @job(dialects={"arcgis": {"operation": "services/break", "type": "break"}})
    async def breaks(job: Job) -> None:
        """Fail."""
        raise CallError("no such layer", 2)

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with the demo's mission and some operations."""
    stage = Stage()
    async with running_world(demo, staged(stage), stage=stage) as world:
        await world.add_user("ann")
        await world.add_user("bob")
        yield world


class Client:
    """Speaks ArcGIS with a token in its fields."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self.http = http
        self.token = token

    async def get(self, path: str, **fields: Any) -> Any:
        """Ask with a query."""
        query = {"f": "json", "token": self.token, **fields}
        answer = await self.http.get(f"/arcgis/rest{path}", params=query)
        assert answer.status_code == 200
        return answer.json()

    async def post(self, path: str, **fields: Any) -> Any:
        """Ask with a form."""
        form = {"f": "json", "token": self.token, **fields}
        answer = await self.http.post(f"/arcgis/rest{path}", data=form)
        assert answer.status_code == 200
        return answer.json()

    async def until(self, number: str, status: str) -> Any:
        """Ask for a job until it has a status."""
        with anyio.fail_after(20):
            while True:
                found = await self.get(f"/jobs/{number}")
                if found["status"] == status:
                    return found


async def client_of(http: httpx.AsyncClient, name: str) -> Client:
    """Get a token with name and password."""
    form = {"username": name, "password": "pw", "f": "json"}
    made = (await http.post("/arcgis/rest/generateToken", data=form)).json()
    assert set(made) == {"token", "expires", "ssl"}
    return Client(http, made["token"])


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Give an HTTP client without credentials."""
    async with httpx.AsyncClient(base_url=world.server.url, trust_env=False) as http:
        yield http


@pytest.fixture
async def ann(http: httpx.AsyncClient) -> Client:
    """Give a client of an account."""
    return await client_of(http, "ann")


async def test_sample_of_the_documentation(ann: Client) -> None:
    """A mission made asynchronously ends as the documented one, key by key."""
    started = await ann.post(
        "/services/createMission", title="Flood", **{"async": "true"}
    )
    assert started["status"] == "success"
    assert started["jobUrl"].endswith(f"/arcgis/rest/jobs/{started['jobId']}")
    job = await ann.until(started["jobId"], "COMPLETED")
    assert list(job) == KEYS
    attributes = job["customAttributes"]
    assert list(attributes) == ATTRIBUTES
    mission = attributes["missionId"]
    told = list(zip(attributes["messageCodes"], job["messages"], strict=True))
    assert told == [*MESSAGES, (1510, f"Finished creating mission {mission}.")]
    assert (attributes["stepsCompleted"], attributes["totalSteps"]) == (5, 5)
    assert attributes["isCancelled"] is False
    assert (job["type"], job["username"], len(mission)) == ("addMission", "ann", 32)
    assert len(job["jobId"]) == 37
    assert 0 < job["startTime"] <= job["endTime"]


async def test_operations_run_at_once_by_default(world: World, ann: Client) -> None:
    """Without async the answer has the result; texts become what the method takes."""
    world.stage.open("x")
    answer = await ann.get("/services/hold", name="x", count="3", deep="[1, 2]")
    assert answer == {"status": "success", "results": ["x", 3, [1, 2]]}
    failed = await ann.post("/services/break")
    assert failed["error"]["code"] == 500
    assert "no such layer" in failed["error"]["message"]


async def test_running_jobs_are_cancelled(world: World, ann: Client) -> None:
    """While it runs its end is 0; then it is FAILED, and says that it was cancelled."""
    number = (await ann.post("/services/hold", name="x", **{"async": "true"}))["jobId"]
    await world.stage["x"].wait_entered()
    running = await ann.get(f"/jobs/{number}")
    assert (running["status"], running["endTime"]) == ("PROCESSING", 0)
    assert running["customAttributes"]["totalSteps"] == 1
    assert await ann.get(f"/jobs/{number}/cancel") == {"status": "success"}
    job = await ann.until(number, "FAILED")
    assert job["customAttributes"]["isCancelled"] is True
    assert job["messages"] == ["Begun.", "Job was cancelled."]
    assert job["customAttributes"]["messageCodes"] == [7, 0]
    again = await ann.post(f"/jobs/{number}/cancel")
    text = f"Unable to cancel job :[{number}]"
    assert again == {"status": "error", "messages": [text], "code": 500}


async def test_lists(http: httpx.AsyncClient, world: World, ann: Client) -> None:
    """Plain ids, or objects with details; own jobs only."""
    world.stage.open("a", "b")
    for name in ("a", "b"):
        await ann.post("/services/hold", name=name)
    ids = (await ann.get("/jobs"))["asyncJobs"]
    assert [number[0] for number in ids] == ["j", "j"]
    newest = (await ann.get("/jobs", sortByDate="true", num="1"))["asyncJobs"]
    assert newest == ids[1:]
    detailed = await ann.get("/jobs", detail="true")
    assert detailed["total"] == 2
    assert [entry["jobId"] for entry in detailed["asyncJobs"]] == ids
    bob = await client_of(http, "bob")
    assert await bob.get("/jobs") == {"asyncJobs": []}
    assert (await bob.get(f"/jobs/{ids[0]}"))["error"]["code"] == 404
    assert (await bob.get(f"/jobs/{ids[0]}/cancel"))["error"]["code"] == 404


async def test_errors_have_status_200(http: httpx.AsyncClient, ann: Client) -> None:
    """And an error object with a code."""
    wrong: list[tuple[str, dict[str, str], int]] = [
        ("/jobs/j0", {}, 404),
        ("/services/other", {}, 404),
        ("/jobs", {"f": "xml"}, 400),
        ("/jobs", {"num": "0"}, 400),
        ("/services/hold", {"count": "many", "name": "x"}, 400),
        ("/services/hold", {}, 400),
        ("/services/hold", {"name": "x", "other": "y"}, 400),
        ("/jobs", {"token": "wrong"}, 498),
    ]
    for path, fields, code in wrong:
        error = await ann.get(path, **fields) if fields.get("f") != "xml" else None
        if error is not None:
            assert error["error"]["code"] == code, path
            assert error["error"]["message"]
    missing = (await http.get("/arcgis/rest/jobs", params={"f": "json"})).json()
    assert missing["error"]["code"] == 499
    form = {"username": "ann", "password": "wrong", "f": "json"}
    refused = (await http.post("/arcgis/rest/generateToken", data=form)).json()
    assert refused["error"]["message"] == "Unable to generate token."
    by_get = await http.get("/arcgis/rest/generateToken", params=form)
    assert by_get.json()["error"]["code"] == 400


async def test_formats(http: httpx.AsyncClient, ann: Client) -> None:
    """HTML by default, JSON, indented JSON, and JSON in a callback."""
    root = "/arcgis/rest"
    page = await http.get(root)
    assert page.headers["content-type"].startswith("text/html")
    plain = (await http.get(root, params={"f": "json"})).json()
    assert plain["currentVersion"] == 10.8
    assert plain["authInfo"]["isTokenBasedSecurity"] is True
    assert plain["authInfo"]["tokenServicesUrl"].endswith("/rest/generateToken")
    pretty = await http.get(root, params={"f": "pjson"})
    assert pretty.headers["content-type"].startswith("text/plain")
    assert "\n " in pretty.text
    script = await http.get(root, params={"f": "json", "callback": "done"})
    assert script.text.startswith("done({")
    evil = await http.get(root, params={"f": "json", "callback": "a;b"})
    assert evil.json() == plain
    bad = await http.get(root, params={"f": "xml"})
    assert "json or pjson" in bad.text


async def test_pages_lead_to_each_other(world: World, http: httpx.AsyncClient) -> None:
    """From the login to a running job, by what the pages say; nothing is unescaped."""
    login = await http.get("/arcgis/rest/jobs")
    assert 'type="password"' in login.text
    assert login.headers["referrer-policy"] == "same-origin"
    form = {"username": "ann", "password": "pw", "f": "html"}
    answer = await http.post("/arcgis/rest/generateToken", data=form)
    assert answer.status_code == 303
    jobs = await http.get(answer.headers["location"])
    assert "asyncJobs" in jobs.text
    token = answer.headers["location"].partition("token=")[2]
    ann = Client(http, token)
    number = (await ann.post("/services/hold", name="<b>", **{"async": "true"}))[
        "jobId"
    ]
    await world.stage["<b>"].wait_entered()
    page = await ann.http.get(f"/arcgis/rest/jobs/{number}", params={"token": token})
    assert 'http-equiv="refresh"' in page.text
    assert f"/jobs/{number}/cancel?token=" in page.text
    assert "PROCESSING" in page.text
    world.stage.open("<b>")
    await ann.until(number, "COMPLETED")
    page = await ann.http.get(f"/arcgis/rest/jobs/{number}", params={"token": token})
    assert 'http-equiv="refresh"' not in page.text
    assert "<b>" not in page.text
    form_page = await http.get("/arcgis/rest/services/hold", params={"token": token})
    assert 'name="count"' in form_page.text
    world.stage.open("again")
    filled = {"name": "again", "count": "", "token": "", "f": "html"}
    path = f"/arcgis/rest/services/hold?token={token}"
    done = await http.post(path, data=filled)
    assert "success" in done.text


async def test_tokens_in_headers(http: httpx.AsyncClient, ann: Client) -> None:
    """Also in the header of its own."""
    for name in ("Authorization", "X-Esri-Authorization"):
        headers = {name: f"Bearer {ann.token}"}
        answer = await http.get(
            "/arcgis/rest/jobs", params={"f": "json"}, headers=headers
        )
        assert answer.json() == {"asyncJobs": []}
