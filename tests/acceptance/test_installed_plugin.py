"""A plugin that comes as a distribution of its own, built and installed with pip."""

import subprocess
import sys
from pathlib import Path

import pytest
from server_process import ServerProcess

from middlewared.client import connect

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "middlewared-hello"
version = "2.1"
dependencies = ["middlewared"]

[project.entry-points."middlewared.plugins"]
hello = "middlewared_hello.declared:plugin"
"""

DECLARED = '''
"""Greet people and remember them."""

from importlib.resources import files

from middlewared import Context, Plugin
from middlewared_jobs import Job, job

plugin = Plugin(
    "hello",
    requires=("jobs",),
    migrations=files("middlewared_hello") / "migrations",
    version="2.1",
)


@plugin.method
@job(description="Greet {name}")
async def greet(job: Job, name: str) -> int:
    """Greet somebody and return how many were greeted."""
    database = job.context.database
    await database.execute(("INSERT INTO greeted VALUES (?)", (name,)))
    return (await database.read("SELECT count(*) FROM greeted"))[0][0]
'''


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Build and install the distribution; give the folder where it is."""
    source = tmp_path / "source"
    package = source / "middlewared_hello"
    (package / "migrations").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text('"""Greet people."""\n')
    (package / "declared.py").write_text(DECLARED)
    (package / "migrations" / "0001_greeted.sql").write_text(
        "CREATE TABLE greeted (name TEXT NOT NULL) STRICT;"
    )
    target = tmp_path / "site"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet"),
            *("--disable-pip-version-check", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--target", target, source),
        ],
        check=True,
        timeout=50,
    )
    return target


async def test_installed_plugin_is_served(tmp_path: Path, installed: Path) -> None:
    """Being installed is enough: its tables are made and its jobs run."""
    server = ServerProcess(
        tmp_path / "data",
        admin_password=None,
        environment={"PYTHONPATH": str(installed)},
    )
    with server:
        async with connect(str(server.socket_path)) as client:
            methods = await client.call("core.get_methods")
            assert methods["hello.greet"]["job"] is True
            assert await client.job("hello.greet", "ann") == 1
            job = client.job("hello.greet", name="bob")
            assert await job == 2
            assert (await client.call("job.get", job.id))["description"] == "Greet bob"
