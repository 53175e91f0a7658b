"""What each dialect says no to, over the wire, in the words of its own service."""

import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from views_server import Views, running_views

WEBEX = "/v1/telephony/config/jobs"
MOVES = f"{WEBEX}/person/moveLocation"
NUMBERS = f"{WEBEX}/numbers/manageNumbers"
DEVICES = f"{WEBEX}/devices/callDeviceSettings"
ARCGIS = "/arcgis/rest"
OCAPI = "/dw/data/v17_2"
IMPORTS = f"{OCAPI}/jobs/CustomerImportJob/executions"
INFOLINK = "/api/v1"
JSON = {"f": "json"}
#: As many entities as make some gigabytes, if anybody expands them.
BOMB = (
    "<!DOCTYPE r [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10))
    + "]><r><seconds>&a9;</seconds></r>"
)
FOREIGN = "<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><r><fail_in>&x;</fail_in></r>"
CAUSE = "Unknown parameter; seconds: Expected `float`, got `object`"
XML = {"Content-Type": "application/xml"}
TEXT = {"Content-Type": "text/plain"}


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Views]:
    """Run the program."""
    with running_views(tmp_path_factory.mktemp("refusals")) as views:
        yield views


@pytest.fixture
def http(views: Views) -> Iterator[httpx.Client]:
    """Give a client with a key, which all dialects take."""
    with client_of(views) as http:
        yield http


def client_of(views: Views, address: str = "127.0.0.1", **headers: str) -> httpx.Client:
    """Make a client that comes from an address of this host."""
    return httpx.Client(
        base_url=views.server.url,
        headers=headers or views.headers,
        transport=httpx.HTTPTransport(local_address=address),
        timeout=30.0,
    )


def platform(answer: httpx.Response) -> str:
    """Check Webex's common shape, which its SDK reads; give the text."""
    body = answer.json()
    assert list(body) == ["message", "errors", "trackingId"]
    assert body["errors"] == [{"description": body["message"]}]
    assert body["trackingId"].startswith("ROUTER_")
    return str(body["message"])


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", f"{MOVES}/nothing", {}, 404),
        ("GET", f"{MOVES}/nothing/errors", {}, 404),
        ("POST", f"{MOVES}/nothing/actions/pause/invoke", {}, 404),
        ("POST", f"{MOVES}/nothing/actions/resume/invoke", {}, 404),
        ("POST", f"{MOVES}/nothing/actions/jump/invoke", {}, 405),
        ("GET", f"{WEBEX}/no/family", {}, 404),
        ("GET", WEBEX, {}, 404),
        ("GET", "/v1/people", {}, 404),
        ("POST", "/v1/identity/organizations/x/jobs/sendActivationEmailsNow", {}, 404),
        ("POST", "/v1/identity/organizations/x/jobs/sendActivationEmails", {}, 400),
        ("PUT", MOVES, {}, 405),
        ("DELETE", f"{MOVES}/1", {}, 405),
        ("POST", f"{WEBEX}/updateRoutingPrefix", {"json": {}}, 405),
        ("POST", MOVES, {"content": BOMB, "headers": XML}, 415),
        ("POST", MOVES, {"content": "{}", "headers": TEXT}, 415),
        ("POST", DEVICES, {"json": {"colour": 1}}, 400),
        ("POST", DEVICES, {"json": [1]}, 400),
        ("GET", f"{DEVICES}?start=-1", {}, 400),
        ("GET", f"{DEVICES}?max=many", {}, 400),
        ("GET", f"{DEVICES}?orgId=x", {}, 400),
    ],
)
def test_webex(
    http: httpx.Client, method: str, path: str, more: dict[str, Any], status: int
) -> None:
    """In the common shape of the platform."""
    answer = http.request(method, path, **more)
    assert answer.status_code == status, answer.text
    assert platform(answer)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"usersList": []}', '{"usersList": [{"users": 1}]}']
)
def test_wrong_moves(http: httpx.Client, content: str) -> None:
    """In the shape that moveLocation has for them."""
    headers = {"Content-Type": "application/json"}
    answer = http.post(MOVES, content=content, headers=headers)
    assert answer.status_code == 400
    (error,) = answer.json()["error"]
    assert (list(error), error["code"]) == (["code", "message"], 1026016)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"operation": 1}'])
def test_wrong_numbers(http: httpx.Client, content: str) -> None:
    """In the shape that manageNumbers has for them."""
    headers = {"Content-Type": "application/json"}
    answer = http.post(NUMBERS, content=content, headers=headers)
    assert answer.status_code == 400
    body = answer.json()
    assert list(body) == ["error", "trackingId"]
    (said,) = body["error"]["message"]
    assert (body["error"]["key"], said["code"]) == ("400", "BATCH-1017017")


@pytest.mark.parametrize(
    ("method", "path", "more", "code"),
    [
        ("GET", "/jobs/j522676d9-983a-48e2-a51c-5066966160f0", {}, 404),
        ("GET", "/jobs/1%20OR%201", {}, 404),
        ("POST", "/jobs/nothing/cancel", {"data": JSON}, 404),
        ("GET", "/services/nothing", {}, 404),
        ("PUT", "/jobs", {}, 405),
        ("DELETE", "/jobs/1", {}, 405),
        ("GET", "/jobs?num=0", {}, 400),
        ("GET", "/jobs?num=99999", {}, 400),
        ("GET", "/jobs?num=x", {}, 400),
        ("POST", "/services/createMission", {"data": JSON}, 400),
        ("POST", "/services/createMission", {"data": {"seconds": "x", **JSON}}, 400),
        ("POST", "/services/createMission?f=json", {"content": BOMB}, 400),
        ("POST", "/services/createMission?f=json", {"json": {"title": "x"}}, 400),
        ("POST", "/services/createMission?f=json", {"files": {"title": b"x"}}, 400),
        ("POST", "/services/createMission?f=json", {"content": b"title=%ff"}, 400),
        ("POST", "/jobs?f=json", {"content": b"x" * 2_200_000}, 400),
    ],
)
def test_arcgis(
    http: httpx.Client, method: str, path: str, more: dict[str, Any], code: int
) -> None:
    """With HTTP status 200, and an error object whose code says it."""
    http.params = httpx.QueryParams() if "?" in path else httpx.QueryParams(JSON)
    path = path + ("&f=json" if "?" in path and "f=json" not in path else "")
    answer = http.request(method, f"{ARCGIS}{path}", **more)
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["error"], body
    assert list(body["error"]) == ["code", "message", "details"]
    assert body["error"]["code"] == code, body
    assert body["error"]["message"]


def test_arcgis_pages(http: httpx.Client) -> None:
    """Errors are pages, when no format is asked for; others are no format."""
    page = http.get(f"{ARCGIS}/jobs/nothing")
    assert page.headers["content-type"].startswith("text/html")
    assert "404" in page.text
    assert "expected html, json or pjson" in http.get(f"{ARCGIS}/jobs?f=xml").text


def fault(answer: httpx.Response) -> Any:
    """Check the headers and the shape of a fault, and give it."""
    headers = answer.headers
    assert headers["content-type"] == "application/json;charset=UTF-8"
    assert "no-cache,no-store,must-revalidate" in headers["cache-control"]
    assert headers["expires"] == "Thu, 01-Jan-1970 00:00:00 GMT"
    body = answer.json()
    assert list(body) == ["_v", "fault"]
    assert list(body["fault"]) == ["arguments", "type", "message"]
    return body["fault"]


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "kind", "arguments"),
    [
        *(
            (
                method,
                f"{OCAPI}/jobs/{job}/executions/{number}",
                {},
                404,
                "JobExecutionNotFoundException",
                {"executionId": number},
            )
            for method in ("GET", "DELETE")
            for job, number in (("CustomerImportJob", "90"), ("Nothing", "x"))
        ),
        *(
            (
                method,
                f"{OCAPI}/jobs/Nothing/executions",
                {},
                404,
                "JobNotFoundException",
                {"jobId": "Nothing"},
            )
            for method in ("GET", "POST")
        ),
        *(
            (
                "GET",
                f"{IMPORTS}?{name}={value}",
                {},
                400,
                "MalformedParameterException",
                {"parameter": name, "value": value},
            )
            for name, value in (
                ("count", "0"),
                ("count", "201"),
                ("start", "-1"),
                ("start", "x"),
                ("format", "yaml"),
            )
        ),
        (
            *("GET", f"{IMPORTS}?select=((", {}, 400),
            *("MalformedSelectorException", {"selector": "(("}),
        ),
        (
            *("GET", f"{IMPORTS}?expand=steps", {}, 400),
            *("InvalidExpandValueException", {}),
        ),
        ("PUT", IMPORTS, {}, 405, "MethodNotAllowedException", {}),
        ("PATCH", f"{IMPORTS}/1", {}, 405, "MethodNotAllowedException", {}),
        ("GET", f"{OCAPI}/catalogs", {}, 404, "NotFoundException", {}),
        (
            *("GET", "/dw/data/v99_1/jobs/x/executions", {}, 400),
            *("InvalidVersionException", {"version": "v99_1"}),
        ),
        (
            *("GET", f"{IMPORTS}?method=DELETE", {}, 400),
            *("IllegalHttpMethodOverrideException", {}),
        ),
        (
            *("POST", IMPORTS, {"content": "x", "headers": TEXT}, 415),
            *("UnsupportedMediaTypeException", {}),
        ),
        (
            "POST",
            IMPORTS,
            {
                "content": "{}",
                "headers": {"Content-Type": "application/json; charset=latin1"},
            },
            415,
            "UnsupportedMediaTypeException",
            {},
        ),
        *(
            (
                "POST",
                IMPORTS,
                {"content": content, "headers": {"Content-Type": "application/json"}},
                400,
                "BodyDecodingException",
                {},
            )
            for content in ("{", "[]", '{"parameters": 1}', "[" * 100_000)
        ),
        (
            *("POST", IMPORTS, {"json": {"": 1, "seconds": {"a": True}}}, 400),
            *("JobInvalidException", {"jobId": "CustomerImportJob", "cause": CAUSE}),
        ),
        (
            "POST",
            f"{OCAPI}/job_execution_search",
            {
                "json": {
                    "query": {
                        "term_query": {
                            "fields": ["start_time"],
                            "operator": "less",
                            "values": ["0001-01-01T00:00:00+09:00"],
                        }
                    }
                }
            },
            400,
            "InvalidSearchFieldTypeException",
            {"field": "start_time"},
        ),
        *(
            (
                *("POST", f"{OCAPI}/job_execution_search", {"json": body}, 400),
                *("BodyDecodingException", {}),
            )
            for body in ({}, {"query": {"match_all_query": {}}, "count": 201})
        ),
    ],
)
def test_ocapi(
    http: httpx.Client,
    method: str,
    path: str,
    more: dict[str, Any],
    status: int,
    kind: str,
    arguments: dict[str, str],
) -> None:
    """With the type, the arguments and the status of the tables."""
    answer = http.request(method, path, **more)
    assert answer.status_code == status, answer.text
    found = fault(answer)
    assert found["type"] == kind
    assert found["arguments"] == arguments
    assert found["message"]


@pytest.mark.parametrize("content", [BOMB, FOREIGN, "<r", "", "<r/>" * 2])
def test_ocapi_xml(http: httpx.Client, content: str) -> None:
    """Bombs, entities from elsewhere, and what is no XML; answered as XML."""
    answer = http.post(IMPORTS, content=content or " ", headers=XML)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/xml;charset=UTF-8"
    assert "<type>BodyDecodingException</type>" in answer.text
    assert "root:" not in answer.text


def said(answer: httpx.Response) -> str:
    """Check InfoLink's envelope of an error, and give its message."""
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "error", body
    assert set(body) == {"status", "result"}
    assert list(body["result"]) == ["message"]
    return str(body["result"]["message"])


OPERATION = {"opName": "Alone", "opParams": {}}
STATUS = f"{INFOLINK}/getJobStatus.jsp"
LOG = f"{INFOLINK}/getActivityLog.jsp"
EXECUTE = f"{INFOLINK}/executeJob.jsp"


@pytest.mark.parametrize(
    ("method", "path", "more", "text"),
    [
        ("GET", STATUS, {"params": {"appId": "7", "jobId": "no"}}, "no job 'no'"),
        ("GET", STATUS, {"params": {"jobId": "1"}}, "appId parameter is required."),
        ("GET", STATUS, {"params": {"appId": "7"}}, "jobId parameter is required."),
        (
            *("GET", f"{INFOLINK}/stopJob", {"params": {"appId": "7", "jobId": "no"}}),
            "no job 'no'",
        ),
        ("POST", STATUS, {}, "POST is not allowed here"),
        ("GET", EXECUTE, {}, "GET is not allowed here"),
        ("DELETE", EXECUTE, {}, "DELETE is not allowed here"),
        ("GET", f"{INFOLINK}/nothing.jsp", {}, "There is no call 'nothing.jsp'"),
        ("GET", LOG, {"params": {"limit": "0"}}, "limit"),
        ("GET", LOG, {"params": {"limit": "1000000"}}, "limit"),
        ("GET", LOG, {"params": {"before": "yesterday"}}, "yesterday"),
        (
            "GET",
            LOG,
            {"params": {"before": "0001-01-01 00:00:00", "timeZone": "Asia/Tokyo"}},
            "out of range",
        ),
        ("POST", EXECUTE, {"content": "{"}, "The body cannot be read"),
        ("POST", EXECUTE, {"content": BOMB, "headers": XML}, "The body cannot be read"),
        ("POST", EXECUTE, {"json": {"operation": OPERATION}}, "appId"),
        ("POST", EXECUTE, {"json": {"appId": "7"}}, "operation"),
        (
            *("POST", EXECUTE, {"json": {"appId": "8", "operation": OPERATION}}),
            "does not exist in app 8",
        ),
        (
            "POST",
            EXECUTE,
            {
                "json": {
                    "appId": "7",
                    "operation": {"opName": "Alone", "opParams": {"colour": 1}},
                }
            },
            "colour",
        ),
        (
            "POST",
            EXECUTE,
            {"content": '{"appId": "7", "operation": {"opName": "Alone"},}'},
            "The body cannot be read",
        ),
    ],
)
def test_infolink(
    http: httpx.Client, method: str, path: str, more: dict[str, Any], text: str
) -> None:
    """With HTTP status 200 and the envelope of an error."""
    assert text in said(http.request(method, path, **more))


def test_second_starts(views: Views, http: httpx.Client) -> None:
    """One runs, so each dialect refuses another; and unfinished ones stay."""
    gate = views.folder / "alone"
    alone = f"{OCAPI}/jobs/Alone/executions"
    first = http.post(DEVICES, json={"locationId": str(gate)})
    assert first.status_code == 200
    second = http.post(DEVICES, json={})
    assert (second.status_code, platform(second)) == (
        409,
        "This job is already being performed",
    )
    busy = http.post(f"{ARCGIS}/services/alone", data=JSON).json()
    assert busy["error"]["code"] == 409
    refused = http.post(alone)
    assert refused.status_code == 400
    assert fault(refused) == {
        "arguments": {"jobId": "Alone"},
        "type": "JobAlreadyRunningException",
        "message": "Job with id 'Alone' is already running.",
    }
    body = {"appId": "7", "operation": OPERATION}
    assert said(http.post(EXECUTE, json=body)) == "This job is already being performed"
    (running,) = http.get(alone).json()["data"]
    kept = http.delete(f"{alone}/{running['id']}")
    assert kept.status_code == 403
    assert fault(kept) == {
        "arguments": {"executionId": running["id"]},
        "type": "JobExecutionNotFinishedException",
        "message": f"Job execution with id '{running['id']}' is not finished.",
    }
    gate.touch()
    while http.get(f"{alone}/{running['id']}").json()["status"] != "OK":
        pass
    late = http.post(f"{DEVICES}/{first.json()['id']}/actions/abandon/invoke")
    assert late.status_code == 202
    path = f"{ARCGIS}/jobs/{running['id']}"
    number = http.get(path, params=JSON).json()["jobId"]
    assert http.get(f"{path}/cancel", params=JSON).json() == {
        "status": "error",
        "messages": [f"Unable to cancel job :[{number}]"],
        "code": 500,
    }
    assert http.delete(f"{alone}/{running['id']}").status_code == 204


def refused_starts(http: httpx.Client) -> None:
    """See each dialect refuse a start, since nothing is accepted."""
    locked = http.post(DEVICES, json={})
    assert (locked.status_code, locked.headers["retry-after"]) == (423, "30")
    assert "No jobs are accepted" in platform(locked)
    answer = http.post(f"{ARCGIS}/services/alone", data=JSON).json()
    assert answer["error"]["code"] == 503
    refused = http.post(IMPORTS)
    assert refused.status_code == 400
    assert fault(refused) == {
        "arguments": {"jobId": "CustomerImportJob"},
        "type": "JobExecutionException",
        "message": "Job with id 'CustomerImportJob' could not be executed.",
    }
    body = {"appId": "7", "operation": OPERATION}
    assert "No jobs are accepted" in said(http.post(EXECUTE, json=body))


def test_drained_servers_take_no_jobs(views: Views, http: httpx.Client) -> None:
    """Webex says 423 and when to come again; reading goes on."""
    views.server.command("drain")
    try:
        refused_starts(http)
        assert http.get(DEVICES).status_code == 200
    finally:
        views.server.command("undrain")
    assert http.post(DEVICES, json={}).status_code == 200


def test_those_who_guess_are_asked_to_wait(views: Views) -> None:
    """After too many wrong keys: 429 and when to come again, in each shape."""
    guess = {"Authorization": f"Bearer 1-{'x' * 64}"}
    with client_of(views, "127.0.0.9", **guess) as http:
        statuses = [http.get(DEVICES).status_code for _ in range(40)]
        assert statuses[0] == 401
        assert set(statuses) == {401, 429}
        limited = http.get(DEVICES)
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "60")
        assert platform(limited) == "Rate Limit Exceeded"
        answer = http.get(f"{ARCGIS}/jobs", params=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, 429)
        limited = http.get(IMPORTS)
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "60")
        assert fault(limited)["type"] == "TooManyRequestsException"
        assert said(http.get(f"{INFOLINK}/getScenarios")) == "Rate Limit Exceeded"
        form = {
            "grant_type": "client_credentials",
            "client_id": "ann",
            "client_secret": "1-x",
        }
        for path in ("/dw/oauth2/access_token", f"{INFOLINK}/oauth2/token"):
            limited = http.post(path, data=form)
            assert (limited.status_code, limited.headers["retry-after"]) == (429, "60")
        login = {"username": "ann", "password": "wrong", **JSON}
        answer = http.post(f"{ARCGIS}/generateToken", data=login)
        assert answer.json()["error"]["code"] == 429


def test_stopping_servers_take_no_jobs(views: Views, http: httpx.Client) -> None:
    """On connections that are open, until what runs has come to its end.

    The last test here: it stops the server.
    """
    gate = views.folder / "last"
    started = http.post(DEVICES, json={"locationId": str(gate)})
    assert started.status_code == 200
    path = f"{DEVICES}/{started.json()['id']}"
    process = views.server.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    while http.get("/healthz").json()["status"] != "stopping":
        pass
    refused_starts(http)
    assert http.get(path).json()["latestExecutionStatus"] == "STARTED"
    gate.touch()
    assert process.wait(20) == 0
