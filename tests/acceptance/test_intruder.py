"""What an intruder tries: to get in, and to see what another user's jobs hold.

Methods, collections and routes are those of the running server, so that what is new is
tried from its first day. What is not tried here is named in docs/security.md.
"""

import base64
import itertools
from collections.abc import AsyncIterator, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import anyio
import httpx
import msgspec
import pytest
from starlette.routing import Mount, Route
from wire_client import WireClient
from wire_server import WireServer, wire_server

from middlewared import CallError, Plugin
from middlewared.registry import Registry
from middlewared_jobs import Job, job

#: In everything that the victim's jobs hold, and in nothing else.
MARK = "vault7c1e"
USERS = ["JOB_USER"]
#: Calls that end the intruder's own sessions and tokens.
LEAVING = {"auth.logout", "auth.terminate_other_sessions"}
#: Methods that are for everybody; whoever adds one has thought about it.
PUBLIC = {
    "auth.login",
    "auth.login_ex",
    "auth.login_ex_continue",
    "auth.login_with_api_key",
    "auth.login_with_token",
    "auth.mechanism_choices",
    "core.ping",
    "core.set_options",
    "rpc.discover",
    "user.set_password",
}
#: How many ways of filling its params a method is tried with.
WAYS = 12

#: Other job APIs, and where the victim's jobs are in them.
DIALECTS = {
    "webex": {"family": "callRecording"},
    "arcgis": {"operation": "services/vault", "type": "vault"},
    "ocapi": {"job_id": "Vault"},
    "infolink": {"app": "7", "scenario": "Vault"},
}
#: Where each of them describes itself.
DOCUMENTS = ("/v1", "/arcgis", "/dw", "/api/v1")

vault = Plugin("vault", requires=("jobs", "dialects"))
gate = anyio.Event()


@vault.method(roles=USERS)
@job(
    logs=True,
    abortable=True,
    description="{text}",
    lock="lock {text}",
    dialects=DIALECTS,
)
async def fill(job: Job, text: str, *, wait: bool = False) -> dict[str, str]:
    """Put a text wherever a job can have one."""
    job.log.info("%s", text)
    job.set_progress(10, text, {text: text})
    job.message(text, text)
    job.error_item(text, text, text)
    job.count(text, 1)
    async with job.step(text):
        job.checkpoint({"text": text})
    while wait and not gate.is_set():
        job.set_progress(20, text)
        job.log.info("%s", text)
        with anyio.move_on_after(0.05):
            await gate.wait()
    return {text: text}


@vault.method(roles=USERS)
@job(pipes=["output"])
def pour(job: Job, text: str) -> None:
    """Write a text for a download."""
    assert job.pipes.output is not None
    job.pipes.output.write(text.encode())


@vault.method(roles=USERS)
@job(logs=True)
async def burst(job: Job, text: str) -> None:
    """Fail with a text."""
    job.log.info("%s", text)
    raise CallError(text, 5, {text: text})


class Spy(WireClient):
    """A client that keeps everything that it was ever sent."""

    seen: bytes = b""

    async def receive_text(self) -> bytes:
        """Read the next message, and keep it."""
        text = await super().receive_text()
        self.seen += text
        return text


class Stage:
    """The victim's jobs and schedule, and who would like to see them.

    Attributes:
        server: runs them.
        victim: whose jobs they are.
        ids: of the jobs: running, waiting, failed, successful.
        names: what else could lead to them: uids, paths of logs, keys.
        before: the jobs as their owner sees them.
    """

    def __init__(self, server: WireServer, victim: WireClient) -> None:
        self.server = server
        self.victim = victim
        self.ids: list[int] = []
        self.names: list[str] = []
        self.before: Any = None

    async def prepare(self) -> None:
        """Run the victim's jobs."""
        call = self.victim.call
        done = await call("vault.fill", f"{MARK} done")
        failed = await call("vault.burst", f"{MARK} failed")
        for number in (done, failed):
            await self.victim.request("core.job_wait", [number])
        options = {"key": "the victim's"}
        waits = [f"{MARK} waits", True]
        running = await call("job.submit", "vault.fill", waits, options)
        self.ids = [running, await call("vault.fill", *waits), failed, done]
        plan = {"name": MARK, "method": "vault.fill", "params": [MARK]}
        schedule = await call("schedule.create", {**plan, "cron": "@yearly"})
        assert schedule["id"] in self.ids
        for number in self.ids:
            record = await call("job.get", number)
            assert MARK in str(record)
            self.names += [record["uid"], str(number)]
            self.names += [record["logs_path"]] if record["logs_path"] else []
        self.before = await self.states()

    async def states(self) -> Any:
        """Give what nobody else may change."""
        found = await self.victim.call("job.query", [["id", "in", self.ids]])
        kept = ("id", "state", "message_ids", "attempt", "abort", "priority", "phase")
        jobs = [{name: item[name] for name in kept} for item in found]
        return jobs, await self.victim.call("schedule.query")

    async def spy(self, *roles: str) -> Spy:
        """Connect an intruder; with roles it logs in with an account of its own."""
        spy = await Spy.open(self.server.tcp)
        self.server.keep(spy)
        if roles:
            await self.server.user(*roles)
            token = self.server.token(*roles)
            assert await spy.call("auth.login_with_token", token)
        return spy


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    """Run a server on which somebody has jobs."""
    tables = {"auth": {"failure_delay": 0.0, "lockout_failures": 0}}
    settings: Any = {"login_attempts": 10**6, "ping_interval": 1e6, "tables": tables}
    async with wire_server(vault, **settings) as server:
        found = Stage(server, await server.user("JOB_USER", "VICTIM"))
        await found.prepare()
        yield found
        gate.set()


@vault.method(roles=["VICTIM"])
async def nothing(ctx: object) -> None:
    """Give the victim a role that makes its account another one."""


# What can be sent.


def ways(stage: Stage, kind: Any) -> list[Any]:
    """Give values for a param that could lead to the victim's jobs."""
    origin = get_origin(kind)
    if origin is Annotated:
        return ways(stage, get_args(kind)[0])
    if origin in (Union, UnionType):
        members = [m for m in get_args(kind) if m is not NoneType]
        return [value for member in members for value in ways(stage, member)]
    if origin is Literal:
        return list(get_args(kind))
    simple: dict[Any, list[Any]] = {
        int: stage.ids,
        float: [1.0],
        bool: [False, True],
        str: [*stage.names, "core.get_jobs", "job.query", "vault.fill", "job.get"],
        Any: [stage.ids[0], stage.names[0], {"id": stage.ids[0]}, stage.ids],
    }
    if kind in simple:
        return simple[kind]
    if origin in (list, tuple) or kind is list:
        return [[], [["id", "in", stage.ids]], [stage.ids], stage.names]
    return [{}, {"id": stage.ids[0]}, {"force": True}, {"job": stage.ids[0]}]


def calls(stage: Stage, kinds: tuple[Any, ...]) -> Iterator[list[Any]]:
    """Give params in many combinations, a few of those that there are."""
    yield []
    product = itertools.product(*(ways(stage, kind) for kind in kinds))
    whole = list(itertools.islice(product, 20_000))
    step = max(1, len(whole) // WAYS)
    for found in whole[::step]:
        yield list(found)
        yield list(found)[:1]


async def call_everything(stage: Stage, spy: Spy) -> int:
    """Call every method of the server in many ways; count what was answered."""
    registry = stage.server.running.context.get(Registry)
    count = 0
    for name, method in sorted(registry.methods.items()):
        if name in LEAVING or name.startswith(("vault.", "demo.")):
            continue
        for params in calls(stage, method.params.types):
            response = await spy.request(name, params)
            count += "result" in response
    return count


def collections(stage: Stage) -> Iterator[list[Any]]:
    """Give params of ``core.subscribe`` for everything that there is to hear."""
    bus = stage.server.running.context.events
    epoch = {"epoch": "x", "seq": 0}
    for name in (*bus.collections, "*", "vault.fill", "auth.sessions"):
        yield [name]
        for options in (
            {"snapshot": True},
            {"since": None, "removed": True},
            {"since": epoch, "snapshot": True},
            {"filters": [["id", "in", stage.ids]], "snapshot": True, "max_rate": 1000},
            {"snapshot": True, "select": [["arguments", "a"], "credentials.data"]},
        ):
            yield [name, options]
    for name, number in itertools.product(bus.sources, (*stage.ids, "x")):
        for arguments in ({"id": number}, {"id": number, "offset": 0}, {"path": "/"}):
            yield [f"{name}:{msgspec.json.encode(arguments).decode()}"]


async def listen_to_everything(stage: Stage, spy: Spy) -> None:
    """Subscribe to everything, and let the victim's jobs say something."""
    for params in collections(stage):
        await spy.request("core.subscribe", params)
    own = await stage.victim.call("core.subscribe", "core.get_jobs")
    await stage.victim.call("vault.fill", f"{MARK} live")
    await stage.victim.wait_event(
        lambda params: MARK in str(params) and params["fields"]["state"] == "SUCCESS"
    )
    await stage.victim.call("core.unsubscribe", own)
    await spy.call("core.ping")


def addresses(stage: Stage) -> Iterator[str]:
    """Give the paths of every route, with the victim's ids where one belongs."""
    registry = stage.server.running.context.get(Registry)
    routes = [route for plugin in registry.plugins for route in plugin.routes]
    names = [str(number) for number in stage.ids] + stage.names
    for route in routes:
        assert isinstance(route, Route | Mount)
        if not hasattr(route, "param_convertors") or "{" not in route.path:
            paths = [route.path]
        else:
            part = route.path.partition("{")[0]
            tail = route.path.rpartition("}")[2]
            paths = [f"{part}{name}{tail}" for name in names]
        for path in paths:
            keys = ("id", "jobId", "job_id", "trackingId", "uuid", "filename")
            query = "&".join(f"{key}={names[0]}" for key in keys)
            yield from (path, f"{path}?{query}&f=json")
    yield from ("/api/current", "/api/v26.0.0", "/api/versions", "/healthz")
    yield from ("/../data/middlewared.db", "/ui/../../middlewared.db", "/_download/")


async def fetch_everything(stage: Stage, **headers: str) -> set[int]:
    """Ask for every address in two ways; give the statuses."""
    statuses = set()
    async with httpx.AsyncClient(
        base_url=stage.server.running.url, headers=headers
    ) as web:
        for address in addresses(stage):
            for method in ("GET", "POST"):
                answer = await web.request(method, address)
                assert MARK not in answer.text, address
                statuses.add(answer.status_code)
    return statuses


# Another user's jobs.


@pytest.mark.parametrize("roles", [(), ("JOB_USER",), ("API_KEY_WRITE", "OTHER")])
async def test_no_method_shows_or_touches_the_jobs_of_others(
    stage: Stage, roles: tuple[str, ...]
) -> None:
    """Whatever is called with whatever leads there: nothing seen, nothing changed."""
    spy = await stage.spy(*roles)
    answered = await call_everything(stage, spy)
    assert answered > (100 if roles else 5)
    assert MARK not in spy.seen.decode()
    assert await stage.states() == stage.before


@vault.method(roles=["OTHER"])
async def other(ctx: object) -> None:
    """Give another intruder a role."""


@pytest.mark.parametrize("roles", [(), ("JOB_USER",)])
async def test_no_event_tells_of_the_jobs_of_others(
    stage: Stage, roles: tuple[str, ...]
) -> None:
    """Neither live nor replayed, nor as a snapshot, nor the tail of a log."""
    spy = await stage.spy(*roles)
    await listen_to_everything(stage, spy)
    assert MARK not in spy.seen.decode()


async def test_the_victim_sees_all_of_that(stage: Stage) -> None:
    """So the search above does find things."""
    spy = await Spy.open(stage.server.tcp)
    stage.server.keep(spy)
    token = await stage.victim.call("auth.generate_token")
    assert await spy.call("auth.login_with_token", token)
    for method, params in (
        ("core.get_jobs", []),
        ("job.get", [stage.ids[0]]),
        ("job.read_log", [stage.ids[0]]),
        ("core.subscribe", ["core.get_jobs", {"snapshot": True}]),
        ("schedule.query", []),
    ):
        spy.seen = b""
        await spy.call(method, *params)
        assert MARK in spy.seen.decode(), method


@pytest.mark.parametrize("who", ["guest", "user"])
async def test_no_address_shows_the_jobs_of_others(stage: Stage, who: str) -> None:
    """Routes of every plugin, with ids and uids, as a stranger and as another user."""
    headers = {}
    if who == "user":
        await stage.server.user("JOB_USER")
        headers["Authorization"] = f"Token {stage.server.token('JOB_USER')}"
    statuses = await fetch_everything(stage, **headers)
    assert statuses <= {200, 204, 302, 307, 400, 401, 403, 404, 405, 410, 412, 415, 426}
    assert await stage.states() == stage.before


async def dialect_requests(
    stage: Stage, token: str, web: httpx.AsyncClient
) -> AsyncIterator[httpx.Request]:
    """Ask the other job APIs for all that they say they have, with the victim's ids."""
    uids = [name for name in stage.names if name.count("-") == 4]
    ids = [*stage.names, *(f"j{uid.replace('-', '')}" for uid in uids), "the victim's"]
    headers = {"Authorization": f"Bearer {token}"}
    search = {"query": {"match_all_query": {}}, "select": "(**)", "count": 100}
    for document in DOCUMENTS:
        answer = await web.get(f"{document}/openapi.json", headers=headers)
        for path, methods in answer.json()["paths"].items():
            if path.startswith("/v1/") and "/callRecording" not in path:
                continue  # families of the demo
            names = ids if "{jobId}" in path or "{id}" in path else ids[:1]
            if document == "/api/v1":
                names = ids
            for name, method in itertools.product(names, methods):
                places = {"jobId": name, "id": name, "job_id": "Vault", "orgId": "me"}
                places["operation"] = "vault"
                yield web.build_request(
                    method,
                    path.format(**places),
                    params={
                        "apiKey": token,
                        "token": token,
                        "f": "json",
                        "appId": "7",
                        "jobId": name,
                        "detail": "true",
                        "select": "(**)",
                    },
                    json=search if path.endswith("search") else {"nothing": 1},
                    headers=headers,
                )


async def test_no_dialect_shows_or_touches_the_jobs_of_others(stage: Stage) -> None:
    """Lists, pages, searches, errors and actions, with ids in every spelling."""
    await stage.server.user("JOB_USER")
    token = stage.server.token("JOB_USER")
    statuses = set()
    async with httpx.AsyncClient(base_url=stage.server.running.url) as web:
        async for request in dialect_requests(stage, token, web):
            answer = await web.send(request)
            assert MARK not in answer.text, request.url
            statuses.add(answer.status_code)
    assert statuses <= {200, 202, 400, 403, 404}
    assert await stage.states() == stage.before


async def test_the_victim_sees_them_in_each_dialect(stage: Stage) -> None:
    """So the search above does find things."""
    token = await stage.victim.call("auth.generate_token")
    found = set()
    async with httpx.AsyncClient(base_url=stage.server.running.url) as web:
        async for request in dialect_requests(stage, token, web):
            if request.method == "GET" and "cancel" not in str(request.url):
                if "stopJob" in str(request.url):
                    continue
                answer = await web.send(request)
                if MARK in answer.text:
                    found.add(request.url.path.split("/")[1])
    assert found == {"v1", "arcgis", "dw", "api"}


async def test_a_token_for_a_job_is_no_right_to_it(stage: Stage) -> None:
    """Anybody can make a token with any attrs; the download asks whose job it is."""
    spy = await stage.spy("JOB_USER")
    async with httpx.AsyncClient(base_url=stage.server.running.url) as web:
        for number in stage.ids:
            token = await spy.call("auth.generate_token", 60, {"job": number})
            answer = await web.get(f"/_download/{number}?auth_token={token}")
            assert answer.status_code == 403
            assert MARK not in answer.text
        own = await spy.call("auth.generate_token", 60)
        answer = await web.get(f"/_download/{stage.ids[0]}?auth_token={own}")
        assert answer.status_code == 401


async def test_output_of_others_stays_on_offer(stage: Stage) -> None:
    """Who may not fetch a download does not end it either, nor sees that it is."""
    spy = await stage.spy("JOB_USER")
    number, path = await stage.victim.call(
        "core.download", "vault.pour", [MARK], "file", False
    )
    async with httpx.AsyncClient(base_url=stage.server.running.url) as web:
        token = await spy.call("auth.generate_token", 60, {"job": number})
        for method, text in (("HEAD", "x"), ("GET", "x"), ("GET", token)):
            answer = await web.request(method, f"/_download/{number}?auth_token={text}")
            assert answer.status_code == (403 if text == token else 401)
        answer = await web.get(path)
        assert (answer.status_code, answer.text) == (200, MARK)


async def test_filters_answer_the_same_without_the_jobs_of_others(
    stage: Stage,
) -> None:
    """A filter that fails on a job, or is slow on it, does neither for others."""
    spy = await stage.spy("JOB_USER", "API_KEY_READ")  # without jobs so far
    number = await spy.call("demo.noop", 1)
    await spy.request("core.job_wait", [number])
    for method in ("core.get_jobs", "job.query"):
        for filters in (
            [["description", "<", 5]],
            [["logs_path", "~", "(a*)*(a*)*(a*)*$"]],
            [["description", "~", "vault.*(.*)*x"]],
            [["arguments.0", ">", 1]],
            [["id", "in", stage.ids]],
        ):
            own = [["id", "=", number], *filters]
            assert (await spy.request(method, [filters])).keys() == (
                await spy.request(method, [own])
            ).keys()
        assert await spy.call(method, [["id", "<=", max(stage.ids)]]) == []
        count = await spy.call(method, [["id", "in", stage.ids]], {"count": True})
        assert count == 0


async def test_locks_and_keys_of_others_are_not_shared(stage: Stage) -> None:
    """The same call, lock or key gives the intruder a job of its own."""
    spy = await stage.spy("JOB_USER")
    waits = [f"{MARK} waits", True]
    mine = await spy.call("vault.fill", *waits)
    key = {"key": "the victim's"}
    keyed = await spy.call("job.submit", "vault.fill", waits, key)
    assert not {mine, keyed} & set(stage.ids)
    for number in (mine, keyed):
        assert (await spy.call("job.get", number))["state"] == "WAITING"
        await spy.call("core.job_abort", number)
    assert await stage.states() == stage.before


# Getting in.


async def test_public_methods_are_those_that_were_meant(stage: Stage) -> None:
    """Whatever else the server has is 207 for who has not logged in."""
    registry = stage.server.running.context.get(Registry)
    public = {name for name, m in registry.methods.items() if m.access.public}
    assert public == PUBLIC
    guest = await stage.server.anonymous()
    for name in registry.methods.keys() - PUBLIC:
        error = (await guest.request(name))["error"]
        assert (error["code"], error["data"]["error"]) == (-32001, 207), name


async def test_collections_are_closed_to_strangers(stage: Stage) -> None:
    """With options, with arguments, and by names that there are not."""
    guest = await stage.server.anonymous()
    for params in collections(stage):
        error = (await guest.request("core.subscribe", params))["error"]
        assert error["data"]["error"] == 207


async def test_tokens_cannot_be_forged(stage: Stage) -> None:
    """Not one bit of a token may change, and no part of it may be another one's."""
    spy = await stage.spy("JOB_USER")
    guest = await stage.server.anonymous()
    token = await spy.call("auth.generate_token", 600, {}, False)
    second = await spy.call("auth.generate_token", 600, {}, False)
    raw = base64.urlsafe_b64decode(token)
    for place in range(len(raw)):
        for bit in (0x01, 0x80):
            changed = bytearray(raw)
            changed[place] ^= bit
            forged = base64.urlsafe_b64encode(bytes(changed)).decode()
            assert not await guest.call("auth.login_with_token", forged)
    for cut in (1, 29, 32, 63):
        for forged in (token[:cut], token[:cut] + second[cut:], token + token[:cut]):
            if forged not in (token, second):
                assert not await guest.call("auth.login_with_token", forged)
    for forged in ("", "A" * 64, "_" * 64, token.lower(), f" {token}"):
        assert not await guest.call("auth.login_with_token", forged)
    assert await guest.call("auth.login_with_token", token)


async def test_nothing_much_logs_in(stage: Stage) -> None:
    """Neither empty nor odd names, passwords and keys, nor proofs of zeros."""
    guest = await stage.server.anonymous()
    call = stage.server.running.context.call
    await call("user.create", {"username": "empty"})
    names = ["", "empty", "system", "root", "admin", "empty\0", "Empty", "%", "' OR 1"]
    for name, word in itertools.product(names, ["", "\0", "null", "*"]):
        assert await guest.call("auth.login", name, word) is False
    for key in ("", "1-", "1-" + "0" * 64, "0-0", "-1-x", "1--x", "1-" + "a" * 128):
        assert await guest.call("auth.login_with_api_key", key) is False
    zeros = base64.b64encode(bytes(64)).decode()
    for name in ("empty:1", "empty:0", "empty", "nobody:1"):
        for proof in (zeros, "AA=="):
            data = {"mechanism": "SCRAM", "scram_type": "CLIENT_FIRST_MESSAGE"}
            data["rfc_str"] = f"n,,n={name},r=abc"
            answer = await guest.call("auth.login_ex", data)
            nonce = answer["rfc_str"].partition(",")[0]
            data["scram_type"] = "CLIENT_FINAL_MESSAGE"
            data["rfc_str"] = f"c=biws,{nonce},p={proof}"
            answer = await guest.call("auth.login_ex", data)
            assert answer == {"response_type": "AUTH_ERR"}
    error = (await guest.request("auth.me"))["error"]
    assert error["data"]["error"] == 207


async def test_rights_do_not_grow(stage: Stage) -> None:
    """A user gives no rights to itself, by any method of accounts, keys and tokens."""
    spy = await stage.spy("API_KEY_WRITE", "OTHER")
    me = await spy.call("auth.me")
    name = me["pw_name"]
    for method, params in (
        ("user.update", [me["pw_uid"], {"roles": ["FULL_ADMIN"]}]),
        ("user.create", [{"username": "x", "roles": ["FULL_ADMIN"]}]),
        ("privilege.create", [{"name": "x", "roles": ["FULL_ADMIN"]}]),
        ("api_key.create", [{"username": name, "name": "x", "roles": ["FULL_ADMIN"]}]),
        ("auth.login_link", []),
        ("auth.login_link", ["FULL_ADMIN"]),
        ("user.set_password", [{"username": "FULL_ADMIN", "new_password": "x"}]),
    ):
        assert "error" in await spy.request(method, params), method
    await spy.call("auth.set_attribute", "privilege", {"roles": ["FULL_ADMIN"]})
    await spy.call("auth.set_attribute", "roles", ["FULL_ADMIN"])
    assert (await spy.call("auth.me"))["privilege"] == me["privilege"]
