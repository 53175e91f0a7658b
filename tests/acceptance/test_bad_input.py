"""Every method with every kind of bad params: an error of ours, and nothing else.

As a full admin and as a user with one role; the methods are those that
``core.get_methods`` lists, so that a new one is tested from its first day.
"""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from wire_client import WireClient
from wire_server import WireServer, wire_server

#: Bytes of a message; small, so that huge params are sent in no time.
LIMIT = 2**19 if os.environ.get("SOAK") else 64 * 2**10
#: What may be answered (protocol page, 1.5).
CODES = {-32602, -32001, -32000, -32603}
KEYS = {"error", "errname", "reason", "trace", "extra"}
#: Classes that only a mistake of ours can be; the caller is not to blame.
MISTAKES = {
    *("AssertionError", "AttributeError", "IndexError", "KeyError", "NameError"),
    *("NotImplementedError", "OverflowError", "RecursionError", "StoreError"),
    *("UnboundLocalError", "UnicodeEncodeError", "ExceptionGroup", "SystemExit"),
    *("OperationalError", "ProgrammingError", "InterfaceError", "IntegrityError"),
}
#: They end the session when they succeed.
LEAVING = {"auth.logout"}

BAD_VALUES = [
    "null",
    "true",
    "-1",
    "0.5",
    "-0.0",
    "1e300",
    "1" + "0" * 30,
    "-1" + "0" * 30,
    '""',
    '"\\u0000"',
    '"\\ud83d\\ude00"',
    '"../../etc/passwd"',
    '"%s{0}{self}\\r\\n"',
    "[]",
    "[[]]",
    "[null]",
    "{}",
    '{"a":1}',
    '{"":null}',
    '{"$date":1}',
    '{"$date":1e17}',
    '{"$set":[1]}',
    '{"$time":"01:02:03"}',
    "[" * 200 + "]" * 200,
    "[" * 900 + "]" * 900,
    '{"a":' * 200 + "1" + "}" * 200,
    '{"a":' * 900 + "1" + "}" * 900,
    '[{"$set":' * 150 + "[]" + "}]" * 150,
]
BAD_FILTERS = [
    '[["nothing","=",1]]',
    '[["id","??",1]]',
    '[["id"]]',
    '[["id","="]]',
    '[["id","=",1,2]]',
    "[[1,2,3]]",
    '[["OR"]]',
    '[["OR",[]]]',
    '[["OR",[["id"]]]]',
    '[["XOR",[["id","=",1]]]]',
    '["id","=",1]',
    '[["id","~","("]]',
    '[["id","in",1]]',
    '[["id","rin",null]]',
    '[["id","<",{}]]',
    '[["id.x.y","=",1]]',
    '[["","=",""]]',
    "[" + '["OR",[' * 100 + '["id","=",1]' + "]]" * 100 + "]",
    "[" + '["id","=",1],' * 3000 + '["id","=",1]]',
]
BAD_OPTIONS = [
    '{"nothing":1}',
    '{"limit":-1}',
    '{"limit":"x"}',
    '{"limit":1e300}',
    '{"limit":' + "9" * 30 + "}",
    '{"offset":-1}',
    '{"offset":' + "9" * 30 + "}",
    '{"order_by":1}',
    '{"order_by":[1]}',
    '{"order_by":[""]}',
    '{"order_by":["nothing"]}',
    '{"select":1}',
    '{"select":[1]}',
    '{"select":["nothing"]}',
    '{"select":[["id"]]}',
    '{"select":[["id","x","y"]]}',
    '{"get":1}',
    '{"count":"yes"}',
    '{"get":true,"count":true}',
]


def bad_params(info: dict[str, Any]) -> Iterator[str]:
    """Give the text of all params that a method is tried with."""
    names = [schema["_name_"] for schema in info["accepts"]]
    if any(schema["_required_"] for schema in info["accepts"]):
        yield "[]"
        yield "{}"
    yield f"[{','.join(['1'] * (len(names) + 1))}]"
    yield f"[{','.join(['null'] * 1000)}]"
    yield '{"nothing":1}'
    yield '{"":1,"self":2,"ctx":3,"__class__":4}'
    for name in names:
        for value in BAD_VALUES:
            yield f'{{"{name}":{value}}}'
    for value in BAD_VALUES if names else ():
        yield f"[{value}]"
        # As many as fit into a message: some methods have many params.
        count = min(len(names), max(1, (LIMIT - 300) // (len(value) + 1)))
        yield f"[{','.join([value] * count)}]"
    if names[:1] == ["filters"]:
        yield from (f"[{filters}]" for filters in BAD_FILTERS)
        yield from (f"[[],{options}]" for options in BAD_OPTIONS)
    if names:
        room = LIMIT - 300
        yield f'["{"x" * room}"]'
        yield f"[{'[' * 10}{','.join(['1'] * (room // 2 - 20))}{']' * 10}]"
        yield f'{{"{names[0]}":{{"{"k" * room}":1}}}}'


WHO = [((), True), (("JOB_USER",), False)]
if os.environ.get("SOAK"):
    WHO += [((), False), (("JOB_USER",), True)]


class Attempt:
    """Sends bad params and checks what comes back.

    Attributes:
        client: sends.
        witness: notices nothing of it.
        wrong: what broke a rule: method, params, answer.
        jobs: how many jobs were accepted.
    """

    def __init__(self, client: WireClient, witness: WireClient) -> None:
        self.client = client
        self.witness = witness
        self.wrong: list[tuple[str, str, str]] = []
        self.jobs = 0
        self._number = 0

    async def everything(self, methods: dict[str, Any]) -> None:
        """Try every method with everything."""
        for method, info in methods.items():
            for params in dict.fromkeys(bad_params(info)):
                if method in LEAVING and params in ("[]", "{}"):
                    continue
                await self.one(method, params, is_job=info["job"])
            assert await self.witness.call("core.ping") == "pong"

    async def one(self, method: str, params: str, *, is_job: bool) -> None:
        """Try one method with one kind of params."""
        self._number += 1
        number = f"bad {self._number}"
        await self.client.send_text(
            f'{{"jsonrpc":"2.0","id":"{number}","method":"{method}","params":{params}}}'
        )
        response = await self.client.answer_to(number)
        if "error" in response:
            if not self.is_documented(response["error"], params):
                self.wrong.append((method, params[:200], str(response)[:400]))
        elif is_job:
            self.jobs += 1

    @staticmethod
    def is_documented(error: dict[str, Any], params: str) -> bool:
        """Tell whether an error is one of ours, complete and decent."""
        if error["code"] == -32700:  # extended JSON that is none, or too deep
            return '"$' in params or "[" * 500 in params or '{"a":' * 500 in params
        if error["code"] not in CODES:
            return False
        if error["code"] == -32000:
            return "data" not in error
        data = error["data"]
        if set(data) != KEYS or set(data["trace"]) != {"class", "formatted", "repr"}:
            return False
        if error["code"] == -32602:
            return all(len(item) == 3 for item in data["extra"])
        return data["trace"]["class"] not in MISTAKES


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(
        max_message=LIMIT,
        login_attempts=10**6,
        tables={"auth": {"failure_delay": 0.001}, "jobs": {"transient_ttl": 3600.0}},
    ) as running:
        yield running


async def count_jobs(server: WireServer) -> int:
    """Count the jobs there are, transient ones among them."""
    count: int = await server.running.context.call("job.query", [], {"count": True})
    return count


async def accounts(server: WireServer) -> Any:
    """Give what must not change."""
    call = server.running.context.call
    users, keys = await call("user.query"), await call("api_key.query")
    for key in keys:
        key.pop("last_used", None)
    return users, keys


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("roles", "legacy_jobs"), WHO)
async def test_bad_params_do_nothing_but_fail(
    server: WireServer, roles: tuple[str, ...], legacy_jobs: bool
) -> None:
    """A documented error, the connection stays, others notice nothing."""
    client = await server.user(*roles)
    witness = await server.user(*roles)
    await witness.call("core.subscribe", "core.get_jobs")
    await client.call("core.set_options", {"legacy_jobs": legacy_jobs})
    methods = await client.call("core.get_methods")
    assert len(methods) > 20
    before, jobs_before = await accounts(server), await count_jobs(server)
    attempt = Attempt(client, witness)
    await attempt.everything(methods)
    assert attempt.wrong == []
    assert client.events == []
    name = "_".join(roles) or "FULL_ADMIN"
    assert (await client.call("auth.me"))["pw_name"] == name
    assert await accounts(server) == before
    if legacy_jobs:
        assert await count_jobs(server) == jobs_before + attempt.jobs
    assert isinstance(await witness.call("core.get_jobs"), list)


async def test_guest_learns_nothing_about_params(server: WireServer) -> None:
    """Whatever is sent, a protected method is 207 and an unknown one -32601."""
    admin = await server.user()
    methods = await admin.call("core.get_methods")
    guest = await server.anonymous()
    for method, info in methods.items():
        if info["no_auth_required"]:
            continue
        for params in ("[]", "{}", "[1]", '["x","y","z"]', '{"nothing":1}'):
            await guest.send_text(
                f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}'
            )
            error = (await guest.answer_to(1))["error"]
            assert (error["code"], error["data"]["error"]) == (-32001, 207), method
            assert set(error["data"]) == KEYS
            assert "Traceback" not in str(error)
        unknown = await guest.request(f"{method}x")
        assert unknown["error"] == {"code": -32601, "message": "Method does not exist"}


async def test_public_methods_take_bad_params_of_a_guest(server: WireServer) -> None:
    """Who is not logged in cannot do more harm than others."""
    admin = await server.user()
    methods = await admin.call("core.get_methods")
    open_to_all = {k: v for k, v in methods.items() if v["no_auth_required"]}
    assert "auth.login_ex" in open_to_all
    guest = await server.anonymous()
    attempt = Attempt(guest, admin)
    for method, info in open_to_all.items():
        for params in dict.fromkeys(bad_params(info)):
            if len(params) < 8000:
                await attempt.one(method, params, is_job=False)
    assert attempt.wrong == []
    assert (await guest.request("auth.me"))["error"]["data"]["error"] == 207


async def test_limited_user_is_refused_before_params_are_looked_at(
    server: WireServer,
) -> None:
    """What somebody may not call is EACCES, whatever the params."""
    admin, user = await server.user(), await server.user("JOB_USER")
    everything = await admin.call("core.get_methods")
    own = await user.call("core.get_methods")
    assert own.items() <= everything.items()
    forbidden = set(everything) - set(own)
    assert {"user.create", "api_key.create"} <= forbidden
    for method in forbidden:
        for params in ([], [1], ["x"] * 9, {"nothing": 1}):
            data = (await user.request(method, params))["error"]["data"]
            assert (data["errname"], data["error"]) == ("EACCES", 13), method


async def test_jobs_with_odd_params_can_be_listed_and_watched(
    server: WireServer,
) -> None:
    """What was accepted is shown everywhere, and breaks nothing there."""
    client = await server.user()
    await client.call("core.set_options", {"legacy_jobs": False})
    for value in (*BAD_VALUES, '"' + "x" * (LIMIT - 300) + '"'):
        await client.send_text(
            f'{{"jsonrpc":"2.0","id":"odd","method":"demo.noop","params":[{value}]}}'
        )
        response = await client.answer_to("odd")
        if "error" in response:
            assert Attempt.is_documented(response["error"], value)
            continue
        if len(value) < 300 and "e" not in value and "$" not in value:
            assert response["result"] == msgspec.json.decode(value)
        (job,) = await client.call(
            "core.get_jobs", [], {"limit": 1, "order_by": ["-id"]}
        )
        assert job["state"] == "SUCCESS"
        assert job["result"] == response["result"]
        assert (await client.call("job.get", job["id"]))["uid"]
        assert await client.call("core.job_wait", job["id"]) == response["result"]
