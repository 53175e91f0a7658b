"""The sample documents of the four services, and of the native one, field by field.

Values that a job determines are compared; of ids, times and durations the form is.
What the settled conflicts leave out or add is named where it is.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import httpx
import pytest
from jobs_stage import USERS, World, running_world

from middlewared import Plugin
from middlewared_demo import plugin as demo
from middlewared_jobs import Job, StepSpec, job

#: Forms of values that no job determines, by what they look like in the samples.
FORMS = {
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "number": r"\d+",
    "state": r"[0-9a-f]{64}",
    "hex": r"[0-9a-f]{32}",
    "log": r"Job-\w+-\d{17}\.log",
    "job": r"j[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "tracking": r"ROUTER_[0-9a-f-]{36}",
    "webex": r"Y2lzY29zcGFyazovL3VzL[A-Za-z0-9_-]{40,}",
}


def form(value: Any) -> Any:
    """Give the form of a value, or the value where it is determined."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int
    if isinstance(value, str):
        found = (name for name, like in FORMS.items() if re.fullmatch(like, value))
        return next(found, value)
    if isinstance(value, Mapping):
        return {key: form(inner) for key, inner in value.items()}
    return [form(inner) for inner in value]


def agree(found: Any, sample: Any, *, ordered: bool = True) -> None:
    """See that a document is like a sample, with its keys in the same order."""
    assert form(found) == form(sample)
    if ordered:
        assert keys(found) == keys(sample)


def keys(value: Any) -> Any:
    """Give all keys of a document, in order."""
    if isinstance(value, Mapping):
        return [(key, keys(inner)) for key, inner in value.items()]
    return [keys(inner) for inner in value] if isinstance(value, list) else None


TIME, NUMBER, STATE = "2016-05-20T11:54:46.220Z", "90", "0a" * 32
OK = {"_type": "status", "code": "OK", "status": "ok"}
STEP_OK = {"_type": "status", "code": "OK", "message": "", "status": "ok"}
TOLD = "Step was successful!"
STEP_TOLD = {"_type": "status", "code": "SUCCESS", "message": TOLD, "status": "ok"}
CONFIGURED = "A step that executes a {} that can be configured via a parameter"


def pipeline(step_id: str, scope: str) -> dict[str, Any]:
    """Give a step of the sample that runs a pipeline."""
    kind = "TestScheduleJobProcessPipeline-StartEnd"
    text = CONFIGURED.format("pipeline")
    return step(step_id, scope, STEP_OK, text, "ExecutePipeline", kind)


def script(step_id: str, scope: str, exit_: Any, text: str, name: str) -> Any:
    """Give a step of the sample that runs a script."""
    kind = f"testScriptModuleStep.ds#{name}"
    return step(step_id, scope, exit_, text, "ExecuteScriptModule", kind)


def step(*values: Any) -> dict[str, Any]:
    """Give a step of the sample."""
    step_id, scope, exit_, text, type_id, type_info = values
    included = {"include_steps_from_job_id": "JobExecutionTestJob2"}
    return {
        "_type": "job_step_execution",
        "duration": 16,
        "end_time": TIME,
        "execution_scope": scope,
        "execution_status": "finished",
        "exit_status": exit_,
        "id": NUMBER,
        **(included if " - " in step_id else {}),
        "modification_time": TIME,
        "start_time": TIME,
        "status": exit_["code"],
        "step_description": text,
        "step_id": step_id,
        "step_type_id": type_id,
        "step_type_info": type_info,
    }


MODULE = CONFIGURED.format("script module function")
RETURN = "testReturnStatusOkWithCodeAndMessage"
CREATED = {
    "_v": "17.2",
    "_type": "job_execution",
    "_resource_state": STATE,
    "client_id": "ann",
    "duration": 0,
    "execution_status": "running",
    "id": NUMBER,
    "is_log_file_existing": False,
    "is_restart": False,
    "job_id": "CustomerImportJob",
    "log_file_name": "Job-CustomerImportJob-20160520120033101.log",
    "modification_time": TIME,
    "start_time": TIME,
    "status": "RUNNING",
}
READ = {
    "_v": "17.2",
    "_type": "job_execution",
    "_resource_state": STATE,
    "client_id": "ann",
    "duration": 185,
    "end_time": TIME,
    "execution_scopes": ["SiteGenesis", "SiteGenesis-US", "SiteGenesis-DE"],
    "execution_status": "finished",
    "exit_status": OK,
    "id": NUMBER,
    "is_log_file_existing": True,
    "is_restart": False,
    "job_id": "CustomerImportJob",
    "log_file_name": "Job-CustomerImportJob-20160520115446018.log",
    "modification_time": TIME,
    "start_time": TIME,
    "status": "OK",
    "step_executions": [
        pipeline("Step1", "Organization"),
        script("Step2", "Organization", STEP_OK, MODULE, "execute"),
        *(
            one
            for site in ("SiteGenesis-DE", "SiteGenesis")
            for one in (
                pipeline("Step3 - Step1", site),
                script("Step3 - Step2", site, STEP_TOLD, "", RETURN),
            )
        ),
    ],
}
#: Conflict 1: ``execution_status`` is always there, and ``status`` the code of the
#: exit; conflict 9: so is ``start``.
LISTED = {
    "_v": "17.2",
    "_type": "job_execution_result",
    "count": 1,
    "data": [
        {
            "_v": "17.2",
            "_type": "job_execution",
            "client_id": "ann",
            "duration": 2247,
            "end_time": TIME,
            "execution_scopes": ["SiteGenesis"],
            "execution_status": "finished",
            "exit_status": OK,
            "id": NUMBER,
            "is_log_file_existing": True,
            "is_restart": False,
            "job_id": "CustomerImportJob",
            "log_file_name": "Job-CustomerImportJob-20160303094604093.log",
            "modification_time": TIME,
            "start_time": TIME,
            "status": "OK",
            "step_executions": [
                step(
                    "ImportCustomers",
                    "SiteGenesis",
                    STEP_OK,
                    "Imports customers",
                    "ExecutePipeline",
                    "CustomerImport-Start",
                )
            ],
        }
    ],
    "start": 0,
    "total": 1,
}
EXECUTIONS = "/dw/data/v17_2/jobs/CustomerImportJob/executions"


def scripted() -> Plugin:
    """Declare the import of the list sample."""
    plugin = Plugin("s", requires=("jobs", "dialects"))
    imports = StepSpec(
        name="ImportCustomers",
        scope="SiteGenesis",
        type_id="ExecutePipeline",
        type_info="CustomerImport-Start",
        description="Imports customers",
    )

    @plugin.method(roles=USERS)
    @job(
        logs=True,
        steps=[imports],
        scopes=["SiteGenesis"],
        dialects={"ocapi": {"job_id": "CustomerImportJob"}},
    )
    async def customers(job: Job) -> None:
        """Import customers in one step."""
        async with job.step("ImportCustomers", scope="SiteGenesis"):
            job.log.info("imported")

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with the demo's jobs, which are those of the samples."""
    options = {"dialects": {"job_execution_exception_status": 409}}
    async with running_world(demo, tables=options) as world:
        await world.add_user("ann")
        yield world


async def client_of(world: World) -> httpx.AsyncClient:
    """Make a client with a key of ann, which all dialects take."""
    account = {"username": "ann", "name": "k"}
    made = await world.server.context.call("api_key.create", account)
    return httpx.AsyncClient(
        base_url=world.server.url,
        trust_env=False,
        headers={"Authorization": f"Bearer {made['key']}"},
    )


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the dialects."""
    async with await client_of(world) as http:
        yield http


async def ended(http: httpx.AsyncClient, path: str, key: str, *values: str) -> Any:
    """Ask for a document until a member of it has one of these values."""
    with anyio.fail_after(20):
        while True:
            found = (await http.get(path)).json()
            if found[key] in values:
                return found


async def test_ocapi_create_and_read(http: httpx.AsyncClient) -> None:
    """An execution as it is answered, and as it is read at its end."""
    body = {"parameters": [{"name": "seconds", "value": "0.05"}]}
    started = (await http.post(EXECUTIONS, json=body)).json()
    # It may run or not yet, as in the sample and in its text.
    assert started["execution_status"] in ("pending", "running")
    assert started["status"] == started["execution_status"].upper()
    begun: dict[str, Any] = {"execution_status": "running", "status": "RUNNING"}
    if started["execution_status"] == "running":
        begun["is_log_file_existing"] = False  # made at once here
    created = {key: started[key] for key in CREATED}
    agree(created | begun, CREATED)
    # Later versions show the parameters; scopes and steps come when it has begun.
    assert started.keys() - CREATED.keys() <= {
        *("parameters", "execution_scopes", "step_executions")
    }
    path = f"{EXECUTIONS}/{started['id']}"
    read = await ended(http, path, "execution_status", "finished")
    read.pop("parameters")
    agree(read, READ)


async def test_ocapi_list() -> None:
    """The list of executions, with the one of the sample."""
    options = {"dialects": {"ocapi": {"demo.import_customers": False}}}
    async with running_world(scripted(), tables=options) as world:
        await world.add_user("ann")
        async with await client_of(world) as http:
            started = (await http.post(EXECUTIONS)).json()
            path = f"{EXECUTIONS}/{started['id']}"
            await ended(http, path, "execution_status", "finished")
            agree((await http.get(EXECUTIONS)).json(), LISTED)


async def test_ocapi_faults(world: World, http: httpx.AsyncClient) -> None:
    """Each of the documentation, with its status; 409 by the settings (conflict 2)."""

    def fault(kind: str, text: str, **arguments: str) -> dict[str, Any]:
        inner = {"arguments": arguments, "type": kind, "message": text}
        return {"_v": "17.2", "fault": inner}

    unknown = await http.post(EXECUTIONS.replace("CustomerImportJob", "X"))
    text = "No job with ID 'X' found."
    assert unknown.status_code == 404
    agree(unknown.json(), fault("JobNotFoundException", text, jobId="X"))
    await world.server.context.call("job.drain")
    refused = await http.post(EXECUTIONS)
    await world.server.context.call("job.undrain")
    text = "Job with id 'CustomerImportJob' could not be executed."
    kind = "JobExecutionException"
    assert refused.status_code == 409
    agree(refused.json(), fault(kind, text, jobId="CustomerImportJob"))
    kind = "JobExecutionNotFoundException"
    for number, method in (("90", "GET"), ("85", "DELETE")):
        gone = await http.request(method, f"{EXECUTIONS}/{number}")
        text = f"No Job execution with id '{number}' was found."
        assert gone.status_code == 404
        agree(gone.json(), fault(kind, text, executionId=number))
        assert gone.json()["fault"]["arguments"]["executionId"] == number
    started = (await http.post(EXECUTIONS)).json()
    path = f"{EXECUTIONS}/{started['id']}"
    await ended(http, path, "execution_status", "finished")
    deleted = await http.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")


UUID = "02124eef-8af7-489c-805b-63cc64018940"
WEBEX_ID = "Y2lzY29zcGFyazovL3VzL0pPQl9JRC9mZjBlN2Q2Ni05MDRlLTRkZGItYjJlNS05ZGM0"
MOVES = "/v1/telephony/config/jobs/person/moveLocation"
COUNTS = ("totalMoves", "moved", "failed", "pending", "skipped")
#: The schema of the object, in its order, with values like its examples.
STARTED = {
    "name": "moveusers",
    "id": WEBEX_ID,
    "trackingId": f"ROUTER_{UUID}",
    "sourceUserId": WEBEX_ID,
    "sourceCustomerId": WEBEX_ID,
    "targetCustomerId": WEBEX_ID,
    "instanceId": 10,
    "jobExecutionStatus": [
        {
            "id": 10,
            "startTime": TIME,
            "lastUpdated": TIME,
            "statusMessage": "STARTING",
            "exitCode": "UNKNOWN",
            "createdTime": TIME,
            "timeElapsed": "PT0S",
        }
    ],
    "latestExecutionStatus": "STARTING",
    "latestExecutionExitCode": "UNKNOWN",
    "counts": dict.fromkeys(COUNTS, 0),
}


def moves(*numbers: str) -> dict[str, Any]:
    """Give the body of a move of users with these phone numbers."""
    users = [{"userId": f"u{n}", "phoneNumber": p} for n, p in enumerate(numbers)]
    return {"usersList": [{"locationId": "LOC", "validate": False, "users": users}]}


async def test_webex_start(http: httpx.AsyncClient) -> None:
    """The StartJobResponseObject, member by member, in the order of its schema."""
    headers = {"TrackingID": f"ROUTER_{UUID}"}
    body = moves("+15551234567", "12")
    answer = (await http.post(MOVES, json=body, headers=headers)).json()
    found = answer["response"]
    assert found.pop("jobDetails") == found  # the SDK's place for it, see decisions
    assert found["latestExecutionStatus"] in ("STARTING", "STARTED")
    waiting = {"latestExecutionStatus": "STARTING"}
    (execution,) = found["jobExecutionStatus"]
    assert execution["statusMessage"] == found["latestExecutionStatus"]
    execution |= {"statusMessage": "STARTING", "timeElapsed": "PT0S"}
    agree(found | waiting, STARTED)
    assert set(found["counts"].values()) == {0} or execution["startTime"]


async def test_webex_status_list_and_errors(http: httpx.AsyncClient) -> None:
    """The siblings of the object: by its id with steps, in the list without a name."""
    started = (await http.post(MOVES, json=moves("+15551234567", "12"))).json()
    path = f"{MOVES}/{started['response']['id']}"
    shown = await ended(http, path, "latestExecutionStatus", "COMPLETED")
    assert list(shown) == list(STARTED)
    (execution,) = shown["jobExecutionStatus"]
    head = ["id", "startTime", "endTime", "lastUpdated", "statusMessage", "exitCode"]
    assert list(execution) == [
        *(*head, "createdTime", "timeElapsed", "stepExecutionStatuses")
    ]
    for one in execution["stepExecutionStatuses"]:
        assert list(one) == [*head, "name", "timeElapsed"]
    busy = sum(milliseconds(one) for one in execution["stepExecutionStatuses"])
    assert milliseconds(execution) == busy
    (listed,) = (await http.get(MOVES)).json()["items"]
    shown.pop("name")
    assert listed == shown
    said = {"description": None, "code": None, "locationId": None, "location": None}
    errors = (await http.get(f"{path}/errors")).json()
    assert keys(errors["items"]) == keys(
        [
            {
                "itemNumber": 1,
                "item": "u1",
                "errorType": "ERROR",
                "trackingId": "NA",
                "error": {"key": "400", "message": [said]},
            }
        ]
    )
    assert errors["paging"] == {
        "next": [],
        "prev": None,
        "limit": 2000,
        "offset": 0,
        "pages": None,
        "count": 1,
    }


def milliseconds(document: Mapping[str, Any]) -> int:
    """Read a time elapsed."""
    return round(1000 * float(document["timeElapsed"][2:-1]))


#: Messages with their codes, in the order of the sample.
TOLD_BY_MISSION = [
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


async def test_arcgis_job(http: httpx.AsyncClient) -> None:
    """The job of the sample, but for its id, its times and its mission."""
    body = {"title": "Flood", "async": "true", "f": "json"}
    started = (await http.post("/arcgis/rest/services/createMission", data=body)).json()
    path = f"/arcgis/rest/jobs/{started['jobId']}?f=json"
    found = await ended(http, path, "status", "COMPLETED")
    mission = found["customAttributes"]["missionId"]
    assert form(mission) == "hex"
    messages = [*TOLD_BY_MISSION, (1510, f"Finished creating mission {mission}.")]
    sample = {
        "jobId": "j522676d9-983a-48e2-a51c-5066966160f0",
        "messages": [text for _, text in messages],
        "startTime": 1590523221196,
        "endTime": 1590523287507,
        "type": "addMission",
        "status": "COMPLETED",
        "username": "ann",
        "customAttributes": {
            "stepsCompleted": 5,
            "isCancelled": False,
            "missionId": mission,
            "messageCodes": [code for code, _ in messages],
            "totalSteps": 5,
        },
    }
    agree(found, sample)
    same = ("messages", "customAttributes")
    assert {key: found[key] for key in same} == {key: sample[key] for key in same}


def column(name: str) -> dict[str, Any]:
    """Give a column of the sample."""
    of_sql = {"typeStr": "nvarchar(max)", "precision": -1, "name": "nvarchar"}
    return {
        "updateable": False,
        "typeStandard": {"typeStr": "text", "name": "text"},
        "name": name,
        "type": of_sql | {"scale": 0},
    }


async def test_infolink_results(http: httpx.AsyncClient) -> None:
    """The results of the sample, without its trailing comma (conflict 31)."""
    operation = {
        "opName": "RunScenario",
        "opParams": {"scenario": "Main", "parameters": {}},
    }
    body = {"appId": "7", "operation": operation}
    path = "/api/v1/executeJob.jsp"
    records = [
        {"company_name": "IBM", "id": "1"},
        {"company_name": "Microsoft", "id": "2"},
    ]
    table = {"schema": [column("id"), column("company_name")], "records": records}
    answer = (await http.post(path, json=body | {"isAsync": False})).json()
    assert answer == {
        "status": "success",
        "result": {"results": [{"name": "companies", "result": table}]},
    }
    started = (await http.post(path, json=body)).json()
    assert form(started["result"]["jobId"]) == started["result"]["jobId"]
    assert list(started["result"]) == ["jobId"]
    chosen = (await http.post(path, json=body | {"jobId": "mine"})).json()
    assert chosen == {"status": "success", "result": {"jobId": "mine"}}
    wrong = (await http.post(path, json=body | {"appId": "8"})).json()
    assert (wrong["status"], list(wrong["result"])) == ("error", ["message"])


#: Members of an item, and the types that each may have.
ITEM: dict[str, tuple[type, ...]] = {
    "id": (int,),
    "message_ids": (list,),
    "method": (str,),
    "arguments": (list,),
    "transient": (bool,),
    "description": (str, type(None)),
    "abortable": (bool,),
    "logs_path": (str, type(None)),
    "logs_excerpt": (str, type(None)),
    "progress": (dict,),
    "result": (object,),
    "result_encoding_error": (dict, type(None)),
    "error": (str, type(None)),
    "exception": (str, type(None)),
    "exc_info": (dict, type(None)),
    "state": (str,),
    "time_started": (dict, type(None)),
    "time_finished": (dict, type(None)),
    "credentials": (dict, type(None)),
}


async def test_native_events(world: World) -> None:
    """Items of ``core.get_jobs`` have these members and no others, in every event."""
    async with world.admin() as wire:
        done = await wire.start("t.echo", 7)
        await wire.final(done)
        await wire.final(await wire.start("demo.fail", "no luck", 28))
        held = await wire.start("t.hold", "x")
        await wire.event(held, "RUNNING")
        await wire.call("core.job_abort", held)
        await wire.final(held)
        listed = await wire.call("core.get_jobs")
        events = wire.events()
    for item in [*listed, *(event["fields"] for event in events)]:
        assert item.keys() == ITEM.keys()
        for name, kinds in ITEM.items():
            assert isinstance(item[name], kinds), name
        assert list(item["progress"]) == ["percent", "description", "extra"]
        assert set(item["credentials"] or ()) in (set(), {"type", "data"})
        if item["exc_info"] is not None:
            assert list(item["exc_info"]) == ["repr", "type", "errno", "extra"]
    assert {event["msg"] for event in events} == {"added", "changed"}
    states = [event["fields"]["state"] for event in events if event["id"] == done]
    assert (states[0], states[-1]) == ("WAITING", "SUCCESS")
