"""The OCAPI dialect over HTTP, with the samples of its documentation."""

import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from defusedxml.ElementTree import fromstring
from jobs_stage import USERS, Stage, World, running_world

from middlewared import Plugin
from middlewared_demo import plugin as demo
from middlewared_jobs import Job, job

DATA = "/dw/data/v17_2"
IMPORTS = f"{DATA}/jobs/CustomerImportJob/executions"
HOLDS = f"{DATA}/jobs/Hold/executions"
#: Keys of the documents in the documentation, in their order.
CREATED = [
    "_v",
    "_type",
    "_resource_state",
    "client_id",
    "duration",
    "execution_status",
    "id",
    "is_log_file_existing",
    "is_restart",
    "job_id",
    "log_file_name",
    "modification_time",
    "start_time",
    "status",
]
READ = [
    *CREATED[:5],
    "end_time",
    "execution_scopes",
    "execution_status",
    "exit_status",
    *CREATED[6:],
    "step_executions",
]
STEP = [
    "_type",
    "duration",
    "end_time",
    "execution_scope",
    "execution_status",
    "exit_status",
    "id",
    "modification_time",
    "start_time",
    "status",
    "step_description",
    "step_id",
    "step_type_id",
    "step_type_info",
]
#: Step, scope, code, message, and what it is included from.
STEPS = [
    ("Step1", "Organization", "OK", "", None),
    ("Step2", "Organization", "OK", "", None),
    ("Step3 - Step1", "SiteGenesis-DE", "OK", "", "JobExecutionTestJob2"),
    (
        "Step3 - Step2",
        "SiteGenesis-DE",
        "SUCCESS",
        "Step was successful!",
        "JobExecutionTestJob2",
    ),
    ("Step3 - Step1", "SiteGenesis", "OK", "", "JobExecutionTestJob2"),
    (
        "Step3 - Step2",
        "SiteGenesis",
        "SUCCESS",
        "Step was successful!",
        "JobExecutionTestJob2",
    ),
]


def staged(stage: Stage) -> Plugin:
    """Declare jobs that wait at gates."""
    plugin = Plugin("o", requires=("jobs", "dialects"))

    @plugin.method(roles=USERS)
    @job(abortable=True, pausable=True, dialects={"ocapi": {"job_id": "Hold"}})
    async def hold(job: Job, name: str, count: int = 1) -> int:
        """Wait for a gate."""
        await stage.pass_gate(name)
        return count

    @plugin.method(roles=USERS)
    @job(
        restartable=True,
        steps=["a", "b"],
        dialects={"ocapi": {"job_id": "Again", "restart": True}},
    )
    async def again(job: Job) -> None:
        """Fail once, in its second step."""
        async with job.step("a"):
            pass
        async with job.step("b"):
            if not job.is_restart:
                raise ValueError("not the first time")

    @plugin.method(roles=USERS)
    @job(dialects={"ocapi": {"job_id": "Stubborn", "restart": True}})
    async def stubborn(job: Job) -> None:
        """Fail, and not be restartable."""
        raise ValueError("never")

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with the demo's import and some others."""
    stage = Stage()
    async with running_world(demo, staged(stage), stage=stage) as world:
        yield world


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Give an HTTP client with the access token of an account's API key."""
    await world.add_user("ann")
    account = {"username": "ann", "name": "k"}
    made = await world.server.context.call("api_key.create", account)
    async with httpx.AsyncClient(base_url=world.server.url, trust_env=False) as http:
        answer = await http.post(
            "/dw/oauth2/access_token",
            data={"grant_type": "client_credentials"},
            auth=("ann", made["key"]),
        )
        token = answer.json()
        assert token["token_type"] == "Bearer"
        http.headers["Authorization"] = f"Bearer {token['access_token']}"
        yield http


async def until(http: httpx.AsyncClient, path: str, *statuses: str) -> Any:
    """Ask for an execution until it has one of these execution statuses."""
    with anyio.fail_after(20):
        while True:
            found = (await http.get(path)).json()
            if found["execution_status"] in statuses:
                return found


async def imported(http: httpx.AsyncClient) -> Any:
    """Run the import to its end."""
    started = (await http.post(IMPORTS)).json()
    return await until(http, f"{IMPORTS}/{started['id']}", "finished")


def fault(answer: httpx.Response, status: int) -> Any:
    """Give the fault of an answer; it has no type of a document."""
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert set(document) == {"_v", "fault"}
    assert set(document["fault"]) == {"arguments", "type", "message"}
    return document["fault"]


async def test_created_executions_are_as_documented(http: httpx.AsyncClient) -> None:
    """Key by key, in this order, and with the headers."""
    answer = await http.post(IMPORTS, json={"parameters": []})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.headers["cache-control"] == "no-cache,no-store,must-revalidate"
    assert answer.headers["expires"] == "Thu, 01-Jan-1970 00:00:00 GMT"
    document = answer.json()
    always = [key for key in document if key in CREATED]
    assert always == CREATED
    assert document["execution_status"] in ("pending", "running", "finished")
    if document["execution_status"] == "pending":
        assert list(document) == CREATED
    assert (document["client_id"], document["job_id"]) == ("ann", "CustomerImportJob")
    assert re.fullmatch(r"[0-9a-f]{64}", document["_resource_state"])
    assert re.fullmatch(r"Job-CustomerImportJob-\d{17}\.log", document["log_file_name"])


async def test_read_executions_are_as_documented(http: httpx.AsyncClient) -> None:
    """Scopes, steps of another job for each scope, codes and messages."""
    document = await imported(http)
    assert list(document) == READ
    assert document["execution_scopes"] == [
        "SiteGenesis",
        "SiteGenesis-US",
        "SiteGenesis-DE",
    ]
    assert document["exit_status"] == {"_type": "status", "code": "OK", "status": "ok"}
    assert (document["status"], document["is_log_file_existing"]) == ("OK", True)
    steps = document["step_executions"]
    assert [
        (
            step["step_id"],
            step["execution_scope"],
            step["exit_status"]["code"],
            step["exit_status"]["message"],
            step.get("include_steps_from_job_id"),
        )
        for step in steps
    ] == STEPS
    for step in steps:
        assert [key for key in step if key != "include_steps_from_job_id"] == STEP
        assert step["status"] == step["exit_status"]["code"]
    assert steps[0]["step_type_info"] == "TestScheduleJobProcessPipeline-StartEnd"


async def test_lists_are_as_documented(http: httpx.AsyncClient) -> None:
    """Newest first, in pages with links; items without a resource state."""
    ids = [(await imported(http))["id"] for _ in range(3)]
    whole = (await http.get(IMPORTS)).json()
    head = ["_v", "_type", "count", "data", "start", "total"]
    assert list(whole) == head
    assert [item["id"] for item in whole["data"]] == ids[::-1]
    assert set(whole["data"][0]) == {*READ} - {"_resource_state"}
    page = (await http.get(IMPORTS, params={"start": 1, "count": 1})).json()
    assert (page["count"], page["total"]) == (1, 3)
    assert [item["id"] for item in page["data"]] == [ids[1]]
    following = (await http.get(page["next"])).json()
    assert [item["id"] for item in following["data"]] == [ids[0]]
    past = (await http.get(IMPORTS, params={"start": 9, "count": 2})).json()
    assert past["data"] == []
    last = (await http.get(past["previous"])).json()
    assert [item["id"] for item in last["data"]] == ids[1::-1]
    before = (await http.get(page["previous"])).json()
    assert [item["id"] for item in before["data"]] == [ids[2]]
    site = await http.get(IMPORTS.replace("/dw/", "/s/-/dw/").replace("jobs", "Jobs"))
    assert site.json()["total"] == 3
    for query in ({"count": "0"}, {"count": "201"}, {"start": "-1"}, {"start": "x"}):
        refused = fault(await http.get(IMPORTS, params=query), 400)
        assert refused["type"] == "MalformedParameterException"
        assert refused["arguments"]["parameter"] in query


async def test_executions_are_deleted(world: World, http: httpx.AsyncClient) -> None:
    """When they have ended, and are as they were read."""
    held = (await http.post(HOLDS, json={"name": "x"})).json()["id"]
    refused = fault(await http.delete(f"{HOLDS}/{held}"), 403)
    assert refused["type"] == "JobExecutionNotFinishedException"
    assert refused["arguments"] == {"executionId": held}
    world.stage.open("x")
    done = await until(http, f"{HOLDS}/{held}", "finished")
    stale = {"x-dw-resource-state": "0" * 64}
    refused = fault(await http.delete(f"{HOLDS}/{held}", headers=stale), 409)
    assert refused["type"] == "ResourceStateConflictException"
    fresh = {
        "x-dw-resource-state": done["_resource_state"],
        "x-dw-http-method-override": "DELETE",
    }
    deleted = await http.post(f"{HOLDS}/{held}", headers=fresh)
    assert (deleted.status_code, deleted.content) == (204, b"")
    head = {"x-dw-http-method-override": "HEAD"}
    empty = await http.post(HOLDS, headers=head)
    assert (empty.status_code, empty.content) == (200, b"")
    gone = fault(await http.get(f"{HOLDS}/{held}"), 404)
    assert gone == {
        "arguments": {"executionId": held},
        "type": "JobExecutionNotFoundException",
        "message": f"No Job execution with id '{held}' was found.",
    }


async def test_starts_that_are_refused(world: World, http: httpx.AsyncClient) -> None:
    """Each with its fault."""
    unknown = fault(await http.post(f"{DATA}/jobs/Nothing/executions"), 404)
    assert unknown == {
        "arguments": {"jobId": "Nothing"},
        "type": "JobNotFoundException",
        "message": "No job with ID 'Nothing' found.",
    }
    wrong = fault(await http.post(HOLDS, json={"name": "x", "count": "many"}), 400)
    assert (wrong["type"], wrong["arguments"]["jobId"]) == (
        "JobInvalidException",
        "Hold",
    )
    assert "count" in wrong["arguments"]["cause"]
    parameters = [{"name": "name", "value": "x"}, {"name": "count", "value": "5"}]
    held = (await http.post(HOLDS, json={"parameters": parameters})).json()
    assert [p["value"] for p in held["parameters"]] == ["x", "5"]
    busy = fault(await http.post(HOLDS, json={"name": "y"}), 400)
    assert busy["type"] == "JobAlreadyRunningException"
    world.stage.open("x")
    await until(http, f"{HOLDS}/{held['id']}", "finished")


async def test_restarts(http: httpx.AsyncClient) -> None:
    """A new execution goes on with the last one when the publication says so."""
    path = f"{DATA}/jobs/Again/executions"
    first = (await http.post(path)).json()
    failed = await until(http, f"{path}/{first['id']}", "finished")
    assert failed["exit_status"] == {
        "_type": "status",
        "code": "ERROR",
        "message": "not the first time",
        "status": "error",
    }
    second = (await http.post(path)).json()
    assert second["is_restart"] is True
    done = await until(http, f"{path}/{second['id']}", "finished")
    assert done["status"] == "OK"
    assert fault(await http.post(path), 400)["type"] == "JobRestartException"
    path = f"{DATA}/jobs/Stubborn/executions"
    first = (await http.post(path)).json()
    await until(http, f"{path}/{first['id']}", "finished")
    refused = fault(await http.post(path), 400)
    assert refused["type"] == "JobNotRestartableException"


async def test_search(world: World, http: httpx.AsyncClient) -> None:
    """The queries of the original client, and others."""
    done = (await imported(http))["id"]
    held = (await http.post(HOLDS, json={"name": "x"})).json()["id"]
    await world.stage["x"].wait_entered()
    path = f"{DATA}/job_execution_search"

    async def ids(query: Any, **more: Any) -> list[str]:
        answer = await http.post(path, json={"query": query, **more})
        assert answer.status_code == 200, answer.text
        return [hit["id"] for hit in answer.json()["hits"]]

    def term(field: str, operator: str, *values: Any) -> Any:
        query = {"fields": [field], "operator": operator, "values": list(values)}
        return {"term_query": query}

    running = term("status", "one_of", "RUNNING", "PENDING")
    of_import = term("job_id", "is", "CustomerImportJob")
    everything: Any = {"match_all_query": {}}
    cases: list[tuple[Any, list[str]]] = [
        (everything, [held, done]),
        (running, [held]),
        (of_import, [done]),
        (term("status", "is", "OK"), [done]),
        (term("status", "neq", "OK"), [held]),
        (term("id", "one_of", done, held, "x"), [held, done]),
        (term("end_time", "is_null"), [held]),
        (term("start_time", "greater", "2000-01-01T00:00:00.000Z"), [held, done]),
        ({"bool_query": {"must": [running, of_import]}}, []),
        ({"bool_query": {"should": [running, of_import]}}, [held, done]),
        ({"bool_query": {"must_not": [running]}}, [done]),
        ({"bool_query": {"must": [everything], "must_not": [of_import]}}, [held]),
        ({"filtered_query": {"query": running, "filter": everything}}, [held]),
        ({"text_query": {"fields": ["job_id"], "search_phrase": "import"}}, [done]),
    ]
    for query, expected in cases:
        assert await ids(query) == expected, query
    by_id = [{"field": "id", "sort_order": "asc"}]
    assert await ids(everything, sorts=by_id) == [done, held]
    answer = (await http.post(path, json={"query": everything, "count": 1})).json()
    assert answer["next"] == {"_type": "result_page", "count": 1, "start": 1}
    assert (answer["total"], answer["query"]) == (2, {"match_all_query": {}})
    bad: list[tuple[Any, str]] = [
        ({}, "BodyDecodingException"),
        ({"query": everything, "count": 0}, "BodyDecodingException"),
        ({"query": term("color", "is", 1)}, "InvalidSearchFieldException"),
        ({"query": term("status", "less", "OK")}, "InvalidSearchFieldTypeException"),
        (
            {"query": everything, "sorts": [{"field": "color"}]},
            "FieldNotSortableException",
        ),
        ({"query": everything, "expand": ["steps"]}, "InvalidExpandValueException"),
        ({"query": everything, "select": "(("}, "MalformedSelectorException"),
    ]
    for body, kind in bad:
        assert fault(await http.post(path, json=body), 400)["type"] == kind
    world.stage.open("x")


async def test_later_versions_are_served(http: httpx.AsyncClient) -> None:
    """In the same shape, under the number that was asked for."""
    await imported(http)
    listed = (await http.get(IMPORTS.replace("v17_2", "v19_5"))).json()
    assert (listed["_v"], listed["data"][0]["_v"]) == ("19.5", "19.5")
    started = (await http.post(IMPORTS.replace("v17_2", "v25_6"))).json()
    assert started["_v"] == "25.6"
    await until(http, f"{IMPORTS}/{started['id']}", "finished")


async def test_selected_members(http: httpx.AsyncClient) -> None:
    """Only these, in documents and in lists."""
    document = await imported(http)
    path = f"{IMPORTS}/{document['id']}"
    few = (await http.get(path, params={"select": "(id,exit_status.(code))"})).json()
    assert few["id"] == document["id"]
    assert few["exit_status"] == {"_type": "status", "code": "OK"}
    assert set(few) == {"_v", "_type", "_resource_state", "id", "exit_status"}
    listed = (await http.get(IMPORTS, params={"select": "(count,data.(id))"})).json()
    assert [set(item) for item in listed["data"]] == [{"_v", "_type", "id"}]
    assert listed["select"] == "(count,data.(id))"
    wrong = await http.get(path, params={"select": "(a[?(@.x=='y')])"})
    assert fault(wrong, 400)["type"] == "MalformedSelectorException"


async def test_xml(world: World, http: httpx.AsyncClient) -> None:
    """Asked for with the query, or by sending it; bombs are refused."""
    document = await imported(http)
    path = f"{IMPORTS}/{document['id']}"
    answer = await http.get(path, params={"format": "xml"})
    assert answer.headers["content-type"] == "application/xml;charset=UTF-8"
    root = fromstring(answer.text)
    assert (root.tag, root.findtext("status")) == ("job_execution", "OK")
    assert len(root.findall("step_executions/element")) == 6
    headers = {"Content-Type": "text/xml"}
    body = (
        "<r><parameters><element><name>name</name><value>x</value></element>"
        "</parameters></r>"
    )
    world.stage.open("x")
    started = await http.post(HOLDS, content=body, headers=headers)
    assert fromstring(started.text).findtext("job_id") == "Hold"
    bomb = (
        '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r><name>&b;</name></r>'
    )
    for wrong in (bomb, "<r>", "x"):
        refused = await http.post(HOLDS, content=wrong, headers=headers)
        assert refused.status_code == 400
        fault_ = fromstring(refused.text)
        assert (fault_.tag, fault_.findtext("type")) == (
            "fault",
            "BodyDecodingException",
        )


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/dw/data/v9_1/jobs/x/executions", 400, "InvalidVersionException"),
        ("GET", f"{DATA}/catalogs", 404, "NotFoundException"),
        ("PUT", IMPORTS, 405, "MethodNotAllowedException"),
        ("GET", f"{DATA}/jobs/Nothing/executions", 404, "JobNotFoundException"),
        (
            "GET",
            f"{DATA}/jobs/Nothing/executions/1",
            404,
            "JobExecutionNotFoundException",
        ),
        ("DELETE", f"{IMPORTS}/x", 404, "JobExecutionNotFoundException"),
        ("GET", f"{IMPORTS}?method=PUT", 400, "IllegalHttpMethodOverrideException"),
    ],
)
async def test_refusals(
    http: httpx.AsyncClient, method: str, path: str, status: int, kind: str
) -> None:
    """With the fault of the table."""
    assert fault(await http.request(method, path), status)["type"] == kind


async def test_credentials_are_asked_for(world: World, http: httpx.AsyncClient) -> None:
    """None or wrong ones are 401; wrong clients get no token; text is no body."""
    text = {"Content-Type": "text/plain"}
    refused = fault(await http.post(IMPORTS, content="x", headers=text), 415)
    assert refused["type"] == "UnsupportedMediaTypeException"
    done = (await imported(http))["id"]
    async with httpx.AsyncClient(base_url=world.server.url, trust_env=False) as bare:
        refused = fault(await bare.get(IMPORTS), 401)
        assert refused["type"] == "InvalidAccessTokenException"
        wrong = await bare.post(
            "/dw/oauth2/access_token",
            data={"grant_type": "client_credentials"},
            auth=("ann", "1-wrong"),
        )
        assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
        await world.add_user("bob")
        account = {"username": "bob", "name": "k"}
        key = (await world.server.context.call("api_key.create", account))["key"]
        bare.headers["Authorization"] = f"Bearer {key}"
        assert (await bare.get(IMPORTS)).json()["total"] == 0
        gone = fault(await bare.get(f"{IMPORTS}/{done}"), 404)
        assert gone["type"] == "JobExecutionNotFoundException"
