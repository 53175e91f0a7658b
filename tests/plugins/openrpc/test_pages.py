"""The reference pages, and who is shown what."""

import re
from typing import Any

import httpx
import pytest
from jobs_stage import World, running_world
from openrpc_visitor import PASSWORD, log_in

from middlewared.registry import Registry
from middlewared_openrpc.entrance import COOKIE

LINK = re.compile(r'(?:href|src|action)="([^"]*)"')


def links(answer: httpx.Response) -> set[str]:
    return set(LINK.findall(answer.text))


def text_of(answer: httpx.Response) -> str:
    """Give the text of a page without its elements."""
    body = answer.text.partition("<main")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


async def test_pages_have_guarding_headers(http: httpx.AsyncClient) -> None:
    """Nothing foreign runs in a page, nothing is kept for somebody else."""
    for path in ("", "login", "methods/core.ping", "static/docs.css", "openrpc.json"):
        answer = await http.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["vary"] == "Authorization, Cookie"


async def test_strangers_see_what_is_public(http: httpx.AsyncClient) -> None:
    """Before login only what everybody may call is there, in lists and pages."""
    index = await http.get("")
    assert "methods/auth.login_ex" in links(index)
    assert "methods/core.get_jobs" not in links(index)
    assert "events/core.get_jobs" not in links(index)
    for path in ("methods/core.get_jobs", "events/core.get_jobs", "methods/no.such"):
        answer = await http.get(path)
        assert answer.status_code == 404
        assert "There is no such entry for everybody" in text_of(answer)
    assert (await http.get("methods/auth.login_ex")).status_code == 200


async def test_users_see_what_they_may(http: httpx.AsyncClient) -> None:
    """After login there is what the login may call and watch, and no more."""
    index = await log_in(http, "ann")
    assert str(index.url).endswith("/api/docs/")
    assert "Logged in as ann" in index.text
    assert {"methods/t.echo", "events/core.get_jobs"} <= links(index)
    assert "methods/vault.open_sesame" not in links(index)
    answer = await http.get("methods/vault.open_sesame")
    assert answer.status_code == 404
    assert "There is no such entry: method" in text_of(answer)


async def test_every_page_of_an_admin(world: World, http: httpx.AsyncClient) -> None:
    """Every entry of the index has a page, with all its links relative and alive."""
    index = await log_in(http, "admin")
    pages = {link for link in links(index) if link.startswith(("methods/", "events/"))}
    methods = world.server.context.get(Registry).methods
    assert {f"methods/{name}" for name in methods} <= pages
    static = set()
    for path in sorted(pages):
        answer = await http.get(path)
        assert answer.status_code == 200, path
        assert answer.text.startswith("<!doctype html>")
        found = links(answer)
        assert [x for x in found if x.startswith(("/", "http"))] == []
        anchors = {x[1:] for x in found if x.startswith("#")}
        ids = re.findall(r' id="([^"]*)"', answer.text)
        assert anchors <= set(ids)
        assert len(ids) == len(set(ids)), path
        static |= {x for x in found if "static" in x}
    for path in static:
        assert (await http.get(path.removeprefix("../"))).status_code == 200


async def test_page_of_job_events(http: httpx.AsyncClient) -> None:
    """The page of the events of jobs says all of it, from the code."""
    await log_in(http, "admin")
    answer = await http.get("events/core.get_jobs")
    text = text_of(answer)
    assert "<h1><code>core.get_jobs</code></h1>" in answer.text
    assert "Updates on job changes." in text
    assert "Required roles: For every login." in text
    for name in (
        "CoreGetJobsAddedEvent",
        "CoreGetJobsChangedEvent",
        "CoreGetJobsItem",
        "CoreGetJobsItemProgress",
        "CoreGetJobsItemExcInfo",
        "CoreGetJobsItemCredentials",
    ):
        part = answer.text.partition(f'aria-labelledby="{name}"')[2]
        part = part.partition("</section>")[0]
        assert part
        assert 'Type: <span class="type">object</span>' in part
        assert "No Additional Properties" in part
    assert "ID of the job that was added." in text
    assert "time_started date or null When its first attempt started" in text
    assert "null before. May be null ." in text
    assert '"WAITING" or "RUNNING"' in text.replace("&quot;", '"').replace("  ", " ")


async def test_page_of_a_source(http: httpx.AsyncClient) -> None:
    """The page of a collection with arguments shows them, and how it ends."""
    await log_in(http, "ann")
    text = text_of(await http.get("events/job.logs"))
    assert "Takes arguments as JSON after a colon: LogTail" in text
    assert "job.logs:{\\&quot;id\\&quot;:1}" in text
    for name in ("JobLogsAddedEvent", "Unsubscribed", "ErrorData", "LogText"):
        assert name in text


async def test_page_of_a_method(http: httpx.AsyncClient) -> None:
    """Params, result, job, errors, examples and objects are there."""
    await log_in(http, "ann")
    text = text_of(await http.get("methods/demo.checksum"))
    assert "Required roles: For JOB_USER , and full admins." in text
    assert "optional Default: &quot;sha256&quot;" in text
    assert "abortable true May be aborted while it runs." in text
    assert "transient" not in text
    assert "-32602 InvalidParams" in text
    assert "&quot;algorithm&quot;:&quot;blake2b&quot;" in text
    assert "Digest of the digests of all files" in text


async def test_texts_are_never_elements(http: httpx.AsyncClient) -> None:
    """A docstring, a default or a query with elements is shown as it is written."""
    await log_in(http, "admin")
    for path in ("", "methods/vault.open_sesame", "?q=<script>alert(2)</script>"):
        answer = await http.get(path)
        assert "<script>alert" not in answer.text
        assert "<b>&" not in answer.text
    answer = await http.get("methods/%3Cscript%3Ealert(3)")
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    ("query", "found", "count"),
    [
        ("checksum", {"methods/demo.checksum"}, None),
        ("UNENCODABLE demo", {"methods/demo.unencodable"}, "1 entry"),
        ("updates on", {"events/core.get_jobs"}, None),
        ("nosuchword", set(), "0 entries"),
    ],
)
async def test_search(
    http: httpx.AsyncClient, query: str, found: set[str], count: str | None
) -> None:
    """A query finds by name and by words, without any script."""
    await log_in(http, "admin")
    answer = await http.get("", params={"q": query})
    entries = {x for x in links(answer) if x.startswith(("methods/", "events/"))}
    assert found <= entries
    assert count is None or count in text_of(answer)
    assert f'value="{query}"' in answer.text


async def test_address_without_a_slash(http: httpx.AsyncClient, world: World) -> None:
    """It leads to the one with a slash, by a relative address."""
    answer = await http.get(f"{world.server.url}/api/docs", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "docs/")


async def test_pages_below_a_base_path() -> None:
    """Behind a path of a proxy's, login, links, files and documents still work."""
    async with running_world(kernel={"base_path": "/behind"}) as world:
        await world.add_user("ann")
        async with httpx.AsyncClient(
            base_url=f"{world.server.url}/api/docs/", follow_redirects=True
        ) as http:
            index = await log_in(http, "ann")
            assert str(index.url) == str(http.base_url)
            assert "Logged in as ann" in index.text
            page = await http.get("methods/core.ping")
            for link in links(page) - {"../logout"}:
                answer = await http.get(page.url.join(link))
                assert answer.status_code == 200
                assert str(answer.url).startswith(str(http.base_url))
            document = (await http.get("openrpc.json")).json()
            assert document["servers"][0]["url"].endswith("/behind/api/current")


# Logging in


async def test_cookie(http: httpx.AsyncClient) -> None:
    """The cookie is for the pages only, out of reach of scripts and other sites."""
    form = {"username": "ann", "password": PASSWORD}
    answer = await http.post("login", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Path" not in cookie


async def test_cookie_logs_in_to_nothing_else(
    http: httpx.AsyncClient, world: World
) -> None:
    """What is in it is no token for calls."""
    await log_in(http, "ann")
    token = http.cookies[COOKIE]
    async with world.admin(watch=False) as wire:
        assert await wire.call("auth.login_with_token", token) is False
    header = {"Authorization": f"Token {token}"}
    answer = await http.get("openrpc.json", headers=header)
    assert answer.status_code == 401


async def test_logout(http: httpx.AsyncClient) -> None:
    """Afterwards the cookie is worth nothing, even to who kept it."""
    await log_in(http, "ann")
    token = http.cookies[COOKIE]
    answer = await http.post("logout")
    assert "Log in" in answer.text
    http.cookies.clear()
    http.cookies.set(COOKIE, token)
    assert "Logged in" not in (await http.get("")).text


async def test_removed_account_is_nobody(http: httpx.AsyncClient, world: World) -> None:
    """A cookie is worth what its account is when it is used."""
    account = await world.add_user("leaving")
    await log_in(http, "leaving")
    await world.server.context.call("user.delete", account)
    assert "Logged in" not in (await http.get("")).text


@pytest.mark.parametrize(
    ("form", "status", "words"),
    [
        ({"username": "ann", "password": "no"}, 403, "The name or the password"),
        ({"username": "<b>", "password": ""}, 403, "The name or the password"),
        ({"username": "ann"}, 400, "Expected a username"),
        ({"username": "ann", "password": "x" * 9000}, 413, "too large"),
        ({str(n): "x" for n in range(99)}, 400, "Expected a username"),
    ],
)
async def test_wrong_forms(
    http: httpx.AsyncClient, form: dict[str, Any], status: int, words: str
) -> None:
    """A form that proves nothing is told what is wrong, and gives no cookie."""
    answer = await http.post("login", data=form)
    assert answer.status_code == status
    assert words in answer.text
    assert COOKIE not in http.cookies


async def test_forms_of_other_sites(http: httpx.AsyncClient) -> None:
    """Another site cannot choose who looks."""
    form = {"username": "ann", "password": PASSWORD}
    for origin in ("https://evil.example", "null"):
        answer = await http.post("login", data=form, headers={"Origin": origin})
        assert answer.status_code == 403
    assert COOKIE not in http.cookies


async def test_logins_that_are_refused() -> None:
    """Too many failures, and plain HTTP from elsewhere, are told on the form."""
    kernel = {"login_attempts": 1, "trusted_proxies": ("127.0.0.1",)}
    tables = {"auth": {"failure_delay": 0.0}}
    async with running_world(kernel=kernel, tables=tables) as world:
        await world.add_user("ann")
        url = f"{world.server.url}/api/docs/login"
        form = {"username": "ann", "password": PASSWORD}
        async with httpx.AsyncClient() as http:
            headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}
            answer = await http.post(url, data=form, headers=headers)
            assert answer.status_code == 403
            assert "Logins over plain HTTP are refused" in answer.text
            await http.post(url, data={**form, "password": "no"})
            answer = await http.post(url, data={**form, "password": "no"})
            assert answer.status_code == 429
            assert "Rate Limit Exceeded" in answer.text
            assert COOKIE not in http.cookies


async def test_headers_of_programs(http: httpx.AsyncClient, world: World) -> None:
    """A program proves itself by a header, at both addresses of a document."""
    keys = world.server.context.call
    key = await keys("api_key.create", {"username": "ann", "name": "docs"})
    for header in (f"Bearer {key['key']}", "Basic YW5uOnB3"):
        for path in ("openrpc.json", f"{world.server.url}/api/openrpc.json"):
            answer = await http.get(path, headers={"Authorization": header})
            names = {method["name"] for method in answer.json()["methods"]}
            assert "t.echo" in names
            assert "vault.open_sesame" not in names
            assert answer.json()["servers"][0]["url"].endswith("/api/current")
    answer = await http.get("", headers={"Authorization": "Basic YW5uOm5v"})
    assert answer.status_code == 401
