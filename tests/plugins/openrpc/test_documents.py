"""The OpenRPC and the AsyncAPI document: what they say is what the server does."""

from typing import Any

import httpx
import msgspec
import pytest
from jobs_stage import World
from jobs_wire import Wire
from jsonschema import Draft7Validator

from middlewared import FULL_ADMIN, Context, Credentials, Plugin
from middlewared.registry import Registry
from middlewared_openrpc.documents import KEPT, Documents
from middlewared_openrpc.place import Place

HERE = Place("jobs.example:8420")


def fits(schema: dict[str, Any], document: dict[str, Any]) -> Draft7Validator:
    """Make a validator of a schema that refers to the document's components."""
    return Draft7Validator({**schema, "components": document["components"]})


def method_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(m for m in document["methods"] if m["name"] == name)
    return found


async def test_all_methods_for_full_admins(world: World, admin: Wire) -> None:
    """A full admin is told of every method that there is."""
    document = await admin.call("rpc.discover")
    assert document["openrpc"] == "1.4.1"
    names = [method["name"] for method in document["methods"]]
    assert names == sorted(world.server.context.get(Registry).methods)
    assert "servers" not in document
    for schema in document["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


async def test_public_methods_for_strangers(stranger: Wire) -> None:
    """Before login the document has what one needs to log in, and no more."""
    document = await stranger.call("rpc.discover")
    names = {method["name"] for method in document["methods"]}
    assert {"auth.login_ex", "core.ping", "rpc.discover"} <= names
    assert all(m["x-access"].startswith("For everybody") for m in document["methods"])
    assert document["x-events"] == []
    assert "JobRecord" not in document["components"]["schemas"]


async def test_own_methods_for_users(world: World) -> None:
    """A user is told of what a user may call."""
    async with world.user("ann", watch=False) as ann:
        document = await ann.call("rpc.discover")
        names = {method["name"] for method in document["methods"]}
        assert names == set(await ann.call("core.get_methods"))
        assert "t.echo" in names
        assert "vault.open_sesame" not in names
        assert "core.get_jobs" in document["x-events"]


async def test_method_object(admin: Wire) -> None:
    """Params, result, tags, roles and examples of a method are there."""
    document = await admin.call("rpc.discover")
    checksum = method_of(document, "demo.checksum")
    assert checksum["paramStructure"] == "either"
    assert [tag["name"] for tag in checksum["tags"]] == ["demo", "jobs"]
    path, algorithm = checksum["params"]
    assert path == {"name": "path", "required": True, "schema": {"type": "string"}}
    assert algorithm["required"] is False
    assert algorithm["schema"]["default"] == "sha256"
    assert checksum["result"]["schema"] == {"$ref": "#/components/schemas/Checksum"}
    assert checksum["x-roles"] == ["JOB_USER"]
    assert checksum["examples"][1]["params"][1] == {
        "name": "algorithm",
        "value": "blake2b",
    }
    assert "x-job" not in method_of(document, "core.ping")


async def test_job_traits(admin: Wire) -> None:
    """How jobs run is written out from their declaration, whatever that holds."""
    document = await admin.call("rpc.discover")
    locked = method_of(document, "t.locked")["x-job"]
    assert locked["lock"] == "l:{lock}"
    assert locked["abortable"] is True
    assert locked["lock_queue_size"] is None
    assert locked["kind"] == "loop"
    assert method_of(document, "t.deaf")["x-job"]["kind"] == "thread"


async def test_errors(admin: Wire) -> None:
    """The errors of a method have codes of their own, and texts."""
    document = await admin.call("rpc.discover")
    errors = document["components"]["errors"]
    assert len({error["code"] for error in errors.values()}) == len(errors)
    assert all(error["message"] for error in errors.values())
    for method in document["methods"]:
        names = [error["$ref"].rpartition("/")[2] for error in method["errors"]]
        assert {"CallError", "InvalidParams"} <= set(names) <= set(errors)
    error = await admin.fail("job.get", 10**9)
    code = next(e["code"] for e in errors.values() if e["code"] == error.code)
    assert code == -32602
    data = fits({"$ref": "#/components/schemas/ErrorData"}, document)
    data.validate(error.data)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("core.get_jobs", []),
        ("job.query", []),
        ("job.get", [1]),
        ("auth.me", []),
        ("core.set_options", [{}]),
        ("core.get_methods", []),
        ("core.get_services", []),
        ("user.query", []),
        ("auth.mechanism_choices", []),
        ("rpc.discover", []),
    ],
)
async def test_results_fit(admin: Wire, name: str, params: list[Any]) -> None:
    """What a method answers is what its result promises."""
    document = await admin.call("rpc.discover")
    await admin.run("t.echo", "a")
    result = method_of(document, name)["result"]["schema"]
    fits(result, document).validate(await admin.call(name, *params))


async def test_events_fit(world: World, admin: Wire, http: httpx.AsyncClient) -> None:
    """Every event that comes is one of the messages of its collection."""
    await http.post("login", data={"username": "admin", "password": "pw"})
    document = (await http.get("asyncapi.json")).json()
    await admin.call("core.subscribe", "core.get_jobs", {"removed": True, "tag": "a"})
    await admin.run("t.echo", [1, {"a": None}])
    await admin.call("core.subscribe", "core.get_jobs", {"snapshot": True})
    await admin.call("core.subscribe", "job.query", {"snapshot": True})
    await admin.final(await admin.start("demo.fail", "it broke", 28))
    job = await admin.start("demo.log", 3)
    await admin.final(job)
    await admin.call("core.subscribe", f'job.logs:{{"id":{job},"offset":0}}')
    await admin.wait(lambda frame: frame.get("method") == "notify_unsubscribed")
    operations = document["operations"]
    by_collection = {
        operation["title"]: [
            document["components"]["messages"][ref["$ref"].rpartition("/")[2]]
            for ref in operation["messages"]
        ]
        for operation in operations.values()
    }
    notifications = [frame for frame in admin.frames if "method" in frame]
    assert len(notifications) > 8
    for frame in notifications:
        name = frame["params"]["collection"].partition(":")[0]
        schema = {"anyOf": [m["payload"] for m in by_collection[name]]}
        fits(schema, document).validate(frame)


async def test_asyncapi_document(world: World, http: httpx.AsyncClient) -> None:
    """It says where the socket is, and how one subscribes."""
    assert (await http.get("asyncapi.json")).json()["operations"] == {}
    await http.post("login", data={"username": "ann", "password": "pw"})
    document = (await http.get("asyncapi.json")).json()
    host = world.server.url.removeprefix("http://")
    assert document["servers"] == {"current": {"host": host, "protocol": "ws"}}
    assert document["channels"]["current"]["address"] == "/api/current"
    jobs = document["operations"]["core_get_jobs"]
    assert jobs["x-subscribe"]["params"] == ["core.get_jobs"]
    assert jobs["summary"] == "Updates on job changes."
    logs = document["operations"]["job_logs"]
    assert logs["x-arguments"] == {"$ref": "#/components/schemas/LogTail"}
    assert len(document["channels"]["current"]["messages"]) == len(
        document["components"]["messages"]
    )


def test_place() -> None:
    """An address has a scheme, a host and a path with its prefix."""
    assert HERE.url == "ws://jobs.example:8420/api/current"
    assert Place("a", tls=True, prefix="/x").url == "wss://a/x/api/current"


def credentials(*roles: str) -> Credentials:
    return Credentials(
        type="TOKEN",
        account_id=1,
        username="ann",
        roles=frozenset(roles),
        login_id="1",
        login_at=0,
    )


async def test_documents_are_made_once(world: World) -> None:
    """Callers who may see the same share one, wherever they come from; few are kept."""
    documents = Documents(world.server.context.get(Registry))
    admin = await documents.openrpc(credentials(FULL_ADMIN))
    for number in range(3):
        place = Place(f"192.0.2.{number}")
        placed = msgspec.json.decode(
            await documents.openrpc(credentials(FULL_ADMIN), place)
        )
        assert placed.pop("servers") == [{"name": "current", "url": place.url}]
        assert placed == msgspec.json.decode(admin)
        await documents.asyncapi(None, place)
    assert await documents.openrpc(credentials("JOB_USER")) != admin
    assert len(documents._made) == 3


async def test_few_documents_are_kept() -> None:
    """However many ways there are to see some methods, memory is bounded."""
    plugin = Plugin("many")

    async def handler(ctx: Context) -> None:
        """Do nothing."""

    for number in range(7):
        plugin.method(roles=[f"R{number}"], name=f"m{number}")(handler)
    documents = Documents(Registry([plugin]))
    for number in range(2**7):
        roles = [f"R{place}" for place in range(7) if number >> place & 1]
        found = msgspec.json.decode(await documents.openrpc(credentials(*roles)))
        assert len(found["methods"]) == len(roles)
    assert len(documents._made) == KEPT
