"""get_methods and get_services."""

from typing import Any

from jobs_stage import World, running_world
from jobs_wire import Wire
from jsonschema import Draft7Validator

from middlewared import Context, Example, Plugin
from middlewared_jobs import Job, job

#: Keys that the reference clients look for (protocol page, 7).
KEYS = {
    "description",
    "cli_description",
    "examples",
    "no_auth_required",
    "no_authz_required",
    "cli_private",
    "filterable",
    "filterable_schema",
    "pass_application",
    "job",
    "downloadable",
    "uploadable",
    "check_pipes",
    "roles",
    "accepts",
    "returns",
}


async def test_methods_are_described(admin: Wire) -> None:
    """Every method has its text, its schema, and says whether it is a job."""
    found = await admin.call("core.get_methods")
    assert {"core.ping", "core.get_jobs", "job.get", "auth.me", "t.echo"} <= set(found)
    assert list(found) == sorted(found)
    assert found["t.echo"]["job"] is True
    assert found["core.ping"]["job"] is False
    assert found["core.ping"]["no_auth_required"] is True
    assert found["core.get_jobs"]["no_authz_required"] is True
    assert found["t.echo"]["roles"] == ["JOB_USER"]
    sleep = found["demo.sleep"]["accepts"]
    assert [param["_name_"] for param in sleep] == ["seconds", "steps"]
    for method in found.values():
        assert set(method) == KEYS
        assert method["description"][:3] == method["cli_description"][:3]
        for schema in (*method["accepts"], method["returns"]):
            Draft7Validator.check_schema(schema)


async def test_descriptions_fit_their_own_schema(admin: Wire) -> None:
    """The answer is what the schema of its result promises."""
    found = await admin.call("core.get_methods")
    for name in ("core.get_methods", "core.get_services"):
        answer = await admin.call(name)
        Draft7Validator(found[name]["returns"]).validate(answer)


async def test_examples(admin: Wire) -> None:
    """An example has its params, and its result where that is shown."""
    found = await admin.call("core.get_methods")
    name = "is somebody there"
    wanted = [{"name": name, "params": [], "result": "pong"}]
    assert found["core.ping"]["examples"] == wanted
    log = found["core.subscribe"]["examples"][1]
    assert log == {"name": "the log of a job", "params": ['job.logs:{"id":1}']}


async def test_filterable_methods(admin: Wire) -> None:
    """What takes filters says so, and what they speak of when that is declared."""
    found = await admin.call("core.get_methods")
    assert found["core.get_jobs"]["filterable"] is True
    schema = found["core.get_jobs"]["filterable_schema"]
    await admin.call("t.echo")
    for item in await admin.call("core.get_jobs"):
        Draft7Validator(schema).validate(item)
    assert found["user.query"]["filterable"] is True
    assert found["user.query"]["filterable_schema"] is None
    assert found["core.ping"]["filterable"] is False


async def test_methods_of_one_service(admin: Wire) -> None:
    """A namespace narrows the list."""
    found = await admin.call("core.get_methods", "job")
    assert found
    assert all(name.startswith("job.") for name in found)
    assert await admin.call("core.get_methods", "none") == {}


async def test_target_is_one_of_three(admin: Wire) -> None:
    """The targets of the reference clients are accepted, others are not."""
    for target in ("WS", "CLI", "REST"):
        assert await admin.call("core.get_methods", "job", target)
    assert (await admin.fail("core.get_methods", None, "FTP")).code == -32602


async def test_methods_are_those_one_may_call(world: World) -> None:
    """A user is shown what a user may call, and may call all of it."""
    await world.add_user("ann")
    async with world.user("ann", watch=False) as ann:
        found = await ann.call("core.get_methods")
        assert "t.echo" in found
        assert "user.create" not in found
        assert (await ann.fail("user.create", {"username": "x"})).errno == 13
        assert "api_key" not in await ann.call("core.get_services")
    async with world.admin(watch=False) as admin:
        assert "user.create" in await admin.call("core.get_methods")


async def test_strangers_are_told_nothing(stranger: Wire) -> None:
    """Before login neither list is there."""
    for name in ("core.get_methods", "core.get_services"):
        assert (await stranger.fail(name)).errno == 207


async def test_services(admin: Wire) -> None:
    """Each namespace says what kind of service it is."""
    found = await admin.call("core.get_services")
    methods = await admin.call("core.get_methods")
    assert set(found) == {name.rpartition(".")[0] for name in methods}
    assert found["user"] == {
        "type": "crud",
        "config": {"namespace": "user", "private": False},
    }
    assert found["core"]["type"] == found["t"]["type"] == "service"
    assert await admin.call("core.get_services", "CLI") == found


def odd_plugin() -> Plugin:
    """Declare a service of settings, and jobs with files."""
    plugin = Plugin("odd", requires=("jobs",))

    @plugin.method
    async def config(ctx: Context) -> dict[str, Any]:
        """Give the settings."""
        return {}

    @plugin.method(examples=[Example("nothing", {"changes": {}})])
    async def update(ctx: Context, changes: dict[str, Any]) -> dict[str, Any]:
        """Change the settings.

        Not really.
        """
        return changes

    @plugin.method
    @job(pipes=("output",))
    async def fetch(job: Job) -> None:
        """Write a download."""

    @plugin.method
    @job(pipes=("input", "output"), check_pipes=False)
    async def convert(job: Job) -> None:
        """Read an upload and write a download, if there are any."""

    return plugin


async def test_service_of_settings() -> None:
    """A service with settings that can be changed is a config."""
    async with running_world(odd_plugin()) as world, world.admin(watch=False) as admin:
        services = await admin.call("core.get_services")
        assert services["odd"]["type"] == "config"
        update = (await admin.call("core.get_methods", "odd"))["odd.update"]
        assert update["cli_description"] == "Change the settings."
        assert update["examples"] == [{"name": "nothing", "params": {"changes": {}}}]


async def test_jobs_with_files() -> None:
    """A job says whether it takes a file, gives one, and needs them."""
    async with running_world(odd_plugin()) as world, world.admin(watch=False) as admin:
        found = await admin.call("core.get_methods", "odd")
    keys = ("downloadable", "uploadable", "check_pipes")
    assert [found["odd.fetch"][key] for key in keys] == [True, False, True]
    assert [found["odd.convert"][key] for key in keys] == [True, True, False]


async def test_jobs_without_files(admin: Wire) -> None:
    """A job that neither takes nor gives a file says so."""
    found = (await admin.call("core.get_methods", "t"))["t.echo"]
    for key in ("downloadable", "uploadable", "check_pipes"):
        assert found[key] is False
