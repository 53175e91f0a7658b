"""Uploads over HTTP: who may, in which form, and what each mistake is answered with."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import jobs_pipes
import pytest
from jobs_pipes import BOUNDARY, Part, Uploader, uploading
from jobs_stage import World, running_world
from jobs_wire import Wire, is_event

GOOD = b'{"method": "pipes.optional", "params": []}'


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """Run a server that the tests of this module share, with an account ``ann``."""
    async with running_world(
        jobs_pipes.plugin,
        kernel={"max_message": 2000, "login_attempts": 1000},
        tables={"auth": {"failure_delay": 0.0}},
    ) as world:
        await world.add_user("ann")
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin that watches jobs, new answer style."""
    async with world.admin() as wire:
        yield wire


def port_of(world: World) -> tuple[str, int]:
    """Give the address of a server."""
    return "127.0.0.1", world.server.server.port


async def token_of(wire: Wire, **options: Any) -> str:
    """Make a token."""
    options = {"ttl": 600, "match_origin": False} | options
    return str(await wire.call("auth.generate_token", **options))


async def first_added(wire: Wire) -> dict[str, Any]:
    """Wait for the first new job that a connection sees; give its item."""
    frame = await wire.wait(lambda f: is_event(f) and f["params"]["msg"] == "added")
    item: dict[str, Any] = frame["params"]["fields"]
    return item


def added(wire: Wire) -> bool:
    """Tell whether a connection has seen a new job."""
    return any(event["msg"] == "added" for event in wire.events())


def basic(user: str, password: str) -> str:
    """Write the header of Basic credentials."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return f"Basic {pair}"


async def try_to(world: World, target: str = "/_upload", **headers: str) -> int:
    """Upload a file to a job that takes it; give the status."""
    async with uploading(port_of(world), target, **headers) as upload:
        await upload.part(Part("data", GOOD))
        await upload.file(b"four")
        return (await upload.finish()).status


# Who may.


async def test_passwords_and_keys(world: World, admin: Wire) -> None:
    """Basic and Bearer let in who is right, as that account; 401 for all others."""
    key = await admin.call("api_key.create", {"username": "ann", "name": "k"})
    for credentials, status in {
        basic("ann", "pw"): 200,
        f"Bearer {key['key']}": 200,
        f"bearer  {key['key']}": 200,
        basic("ann", "wrong"): 401,
        basic("nobody", "pw"): 401,
        "Basic ???": 401,
        "Basic": 401,
        "Bearer 1-x": 401,
        "Digest x": 401,
    }.items():
        assert await try_to(world, Authorization=credentials) == status, credentials
    assert await try_to(world) == 401
    jobs = await admin.call(
        "core.get_jobs", [["method", "=", "pipes.optional"]], {"order_by": ["-id"]}
    )
    owners = [
        (j["credentials"]["type"], j["credentials"]["data"]["username"]) for j in jobs
    ]
    assert owners == [("API_KEY", "ann"), ("API_KEY", "ann"), ("LOGIN_PASSWORD", "ann")]


async def test_tokens(world: World, admin: Wire) -> None:
    """In the header or the path; 403 for one that is used or for something else."""
    token = await token_of(admin)
    assert await try_to(world, Authorization=f"Token {token}") == 200
    assert await try_to(world, f"/_upload?auth_token={token}") == 200
    assert await try_to(world, f"/_upload/?auth_token={token}") == 200
    once = await token_of(admin, single_use=True)
    assert await try_to(world, f"/_upload?auth_token={once}") == 200
    assert await try_to(world, f"/_upload?auth_token={once}") == 403
    other = await token_of(admin, attrs={"job": 1})
    assert await try_to(world, f"/_upload?auth_token={other}") == 403
    assert await try_to(world, Authorization="Token x") == 403
    bound = await token_of(admin, match_origin=True)
    assert await try_to(world, Authorization=f"Token {bound}") == 403


async def test_locked_account(world: World, admin: Wire) -> None:
    """401, like a wrong password: nobody learns more."""
    await world.add_user("tom")
    user = await admin.call("user.query", [["username", "=", "tom"]], {"get": True})
    await admin.call("user.update", user["id"], {"locked": True})
    assert await try_to(world, Authorization=basic("tom", "pw")) == 401


async def test_foreign_pages(world: World, admin: Wire) -> None:
    """Browsers send Basic credentials for any page: only our own pages may."""
    right = {"Authorization": basic("ann", "pw")}
    assert await try_to(world, Origin="https://evil.example", **right) == 403
    assert await try_to(world, Origin="http://localhost", **right) == 200


async def test_roles_count(world: World) -> None:
    """403 for a method that the account may not call."""
    await world.add_user("eve", "READONLY_ADMIN")
    right = {"Authorization": basic("eve", "pw")}
    assert await try_to(world, **right) == 403


async def test_guessing_is_limited() -> None:
    """429 after too many failures."""
    async with running_world(
        jobs_pipes.plugin,
        kernel={"login_attempts": 2},
        tables={"auth": {"failure_delay": 0.0}},
    ) as world:
        wrong = {"Authorization": basic("ann", "x")}
        assert [await try_to(world, **wrong) for _ in range(3)] == [401, 401, 429]


# In which form.


@pytest.fixture
async def upload(world: World, admin: Wire) -> AsyncIterator[Uploader]:
    """Begin an upload as a full admin."""
    target = f"/_upload?auth_token={await token_of(admin)}"
    async with uploading(port_of(world), target) as uploader:
        yield uploader


@pytest.mark.parametrize(
    ("data", "status", "text"),
    [
        (b"{", 400, "Part 'data' is no JSON"),
        (b'{"method": "pipes.ignore", "params": [{"$date": "x"}]}', 400, "no JSON"),
        (b"[" * 1500, 400, "no JSON"),
        (b"7", 422, "Expected `object`"),
        (b"{}", 422, "missing required field `method`"),
        (b'{"method": 7}', 422, "Expected `str`"),
        (b'{"method": "pipes.ignore", "params": 7}', 422, "params"),
        (b'{"method": "no.such"}', 422, "Method 'no.such' does not exist"),
        (b'{"method": "core.ping"}', 422, "core.ping takes no upload"),
        (b'{"method": "pipes.die"}', 422, "pipes.die takes no upload"),
        (b'{"method": "pipes.ignore", "params": ["x"]}', 412, "[EINVAL] fail:"),
        (b'{"method": "pipes.ignore", "params": {"no": 1}}', 412, "Unknown"),
        (b'{"method": "pipes.ignore", "x": "%b"}' % (b"x" * 2000), 413, "2000 bytes"),
    ],
)
async def test_bad_data(
    upload: Uploader, admin: Wire, data: bytes, status: int, text: str
) -> None:
    """It is answered before any file comes, and there is no job."""
    await upload.part(Part("data", data))
    await upload.begin_file(b"x")
    answer = await upload.answer()
    assert answer.status == status
    assert text in answer.text
    assert not added(admin)


@pytest.mark.parametrize(
    "names",
    [
        ["file"],
        ["other"],
        ["data", "data"],
        ["data", "other"],
        ["data", "file", "x"],
    ],
)
async def test_wrong_order(upload: Uploader, admin: Wire, names: list[str]) -> None:
    """405 for parts that are not ``data`` and then ``file``."""
    for name in names:
        await upload.part(Part(name, GOOD))
    assert (await upload.answer()).status == 405
    assert added(admin) is ("file" in names[1:])


async def test_number_of_files(upload: Uploader, admin: Wire) -> None:
    """405 without any, before there is a job; 405 with six, and the job fails."""
    await upload.part(Part("data", GOOD))
    assert (await upload.finish()).status == 405
    assert not added(admin)


async def test_too_many_files(upload: Uploader, admin: Wire) -> None:
    """405 at the sixth; the job that reads all of them fails."""
    await upload.want("pipes.count_thread")
    for _ in range(6):
        await upload.file(b"x")
    answer = await upload.answer()
    assert (answer.status, answer.text) == (405, "More than 5 files\n")
    item = await admin.final((await first_added(admin))["id"])
    assert item["error"] == "[Errno 104] the upload was refused: More than 5 files"


async def test_params_by_name_and_extended(upload: Uploader, admin: Wire) -> None:
    """Params are those of any call."""
    data = b'{"method": "pipes.taste_thread", "params": {"size": 2}}'
    await upload.part(Part("data", data))
    await upload.file(b"four")
    assert (await upload.finish()).status == 200
    item = await admin.final((await first_added(admin))["id"])
    assert (item["arguments"], item["result"]) == ([2], ["fo"])


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x\r\n"),
        (f"multipart/form-data; boundary={'x' * 400}", b""),
        (f"multipart/form-data; boundary={BOUNDARY}", b"nonsense"),
        (f"multipart/form-data; boundary={BOUNDARY}", b""),
        (f"multipart/form-data; boundary={BOUNDARY}", Part("data", GOOD).head() + GOOD),
    ],
)
async def test_bodies_that_are_not_multipart(
    world: World, admin: Wire, kind: str, body: bytes
) -> None:
    """400, with a sentence."""
    headers = {"Authorization": f"Token {await token_of(admin)}", "Content-Type": kind}
    async with uploading(port_of(world), "/_upload", **headers) as upload:
        if body:
            await upload.piece(body)
        await upload.http.send(b"0\r\n\r\n")
        answer = await upload.answer()
    assert answer.status == 400
    assert answer.text.count("\n") == 1


async def test_body_that_ends_within_a_file(upload: Uploader, admin: Wire) -> None:
    """400, and the job fails: what it read was not the file."""
    await upload.want("pipes.count_thread")
    await upload.begin_file(b"half a f")
    await upload.http.send(b"0\r\n\r\n")
    assert (await upload.answer()).status == 400
    item = await admin.final((await first_added(admin))["id"])
    assert item["exc_info"]["type"] == "ConnectionResetError"


async def test_places_are_limited() -> None:
    """503 for an upload too many; a place is given back."""
    async with (
        running_world(jobs_pipes.plugin, max_transfers=1) as world,
        world.admin() as admin,
    ):
        target = f"/_upload?auth_token={await token_of(admin)}"
        async with uploading(port_of(world), target) as first:
            await first.want("pipes.count_loop")
            await first.begin_file(b"x")
            await first_added(admin)
            assert await try_to(world, target) == 503
            await first.piece(b"\r\n")
            assert (await first.finish()).status == 200
        assert await try_to(world, target) == 200
