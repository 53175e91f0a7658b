"""Rules that hold for the whole source: exports, the test of each module, sizes, words.

Which module may import which is a matter of import-linter (`make check`).
"""

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path

import pytest

import middlewared.client
import middlewared_jobs
from middlewared.loader import find_plugins

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
MAX_LINES = 600
TASK_STARTERS = {"create_task", "ensure_future", "gather"}

#: Tests that cover several modules: parts of one thing, or what shows only on the wire.
TOGETHER = {
    # Commands are run the way people run them: in a terminal, against a server.
    "": ("middlewared.unloading",),
    "acceptance/test_terminal.py": (
        "middlewared.cli.control",
        "middlewared.cli.call",
        "middlewared.cli.completion",
        "middlewared.cli.control",
        "middlewared.cli.follow",
        "middlewared.cli.job",
        "middlewared.cli.server",
        "middlewared.cli.subscribe",
        "middlewared.cli.watch",
    ),
    "acceptance/test_files.py": ("middlewared.cli.files",),
    "acceptance/test_backup.py": (
        "middlewared.cli.backup",
        "middlewared_core._backup",
    ),
    "acceptance/test_startup.py": ("middlewared.cli.serve",),
    "unit/test_dispatch.py": (
        "middlewared.batch",
        "middlewared.call",
        "middlewared.outcomes",
    ),
    "unit/test_cli_accounts.py": (
        "middlewared.cli.administration",
        "middlewared.cli.audit",
        "middlewared.cli.keys",
        "middlewared.cli.privileges",
        "middlewared.cli.sessions",
    ),
    # A session of the client is its connection, its login and the plain functions.
    "unit/test_client_session.py": (
        "middlewared.client.access",
        "middlewared.client.connection",
        "middlewared.client.sync",
    ),
    "unit/test_client_files.py": ("middlewared.client.web",),
    "unit/test_client_subscriptions.py": ("middlewared.client.logs",),
    # Parts of a login without a life of their own.
    "plugins/auth/test_parts.py": (
        "middlewared_auth.account",
        "middlewared_auth.accounts",
        "middlewared_auth.keys",
        "middlewared_auth.limits",
        "middlewared_auth.signing",
    ),
    "plugins/audit/test_querying.py": (
        "middlewared_audit.declaration",
        "middlewared_audit.item",
        "middlewared_audit.start",
    ),
    "plugins/auth/test_terminating.py": ("middlewared_auth.ending",),
    "plugins/auth/test_granting.py": ("middlewared_auth.privileges",),
    "plugins/auth/test_login.py": (
        "middlewared_auth.identity",
        "middlewared_auth.proving",
    ),
    "plugins/auth/test_sessions.py": ("middlewared_auth.profile",),
    "plugins/auth/test_start.py": (
        "middlewared_auth.declaration",
        "middlewared_auth.first",
    ),
    "plugins/auth/test_users.py": ("middlewared_auth.roles", "middlewared_auth.texts"),
    "plugins/core/test_core.py": (
        "middlewared_core._declaration",
        "middlewared_core._methods",
    ),
    # Figures are judged by what one reads.
    "plugins/metrics/test_metrics.py": (
        "middlewared_metrics.declaration",
        "middlewared_metrics.families",
        "middlewared_metrics.lag",
        "middlewared_metrics.methods",
        "middlewared_metrics.routes",
        "middlewared_metrics.snapshot",
    ),
    # The documents are judged by what the server does, the pages by what one sees.
    "plugins/openrpc/test_documents.py": (
        "middlewared_openrpc.asyncapi",
        "middlewared_openrpc.methods",
        "middlewared_openrpc.openrpc",
        "middlewared_openrpc.place",
        "middlewared_openrpc.visible",
    ),
    "plugins/openrpc/test_pages.py": (
        "middlewared_openrpc.declaration",
        "middlewared_openrpc.entrance",
        "middlewared_openrpc.index",
        "middlewared_openrpc.layout",
        "middlewared_openrpc.login",
        "middlewared_openrpc.reference",
        "middlewared_openrpc.routes",
        "middlewared_openrpc.sections",
    ),
    "plugins/demo/test_demo.py": ("middlewared_demo._jobs", "middlewared_demo._paths"),
    # Every store keeps one contract.
    "contract/test_job_store.py": (
        "middlewared_jobs.history",
        "middlewared_jobs.memory_store",
        "middlewared_jobs.rows",
        "middlewared_jobs.sqlite_store",
        "middlewared_jobs.store",
        "middlewared_jobs.views",
    ),
    # What the settings say, and how a command runs.
    "plugins/commands/test_annotations.py": ("middlewared_commands.params",),
    "plugins/commands/test_command.py": (
        "middlewared_commands.mistakes",
        "middlewared_commands.routes",
    ),
    "plugins/commands/test_environment.py": ("middlewared_commands.account",),
    "plugins/commands/test_process.py": (
        "middlewared_commands.launch",
        "middlewared_commands.pump",
    ),
    "plugins/commands/test_run.py": (
        "middlewared_commands.declaration",
        "middlewared_commands.handler",
    ),
    # The life of a job, as clients see it.
    "plugins/jobs/test_secrets.py": ("middlewared_jobs.insiders",),
    "plugins/jobs/test_order.py": (
        "middlewared_jobs.announcement",
        "middlewared_jobs.announcer",
        "middlewared_jobs.askers",
        "middlewared_jobs.body",
        "middlewared_jobs.jobs",
        "middlewared_jobs.run",
    ),
    # A pipe has two ends, and a job that is between them.
    "plugins/jobs/test_pipes.py": (
        "middlewared_jobs.feed",
        "middlewared_jobs.pipeend",
    ),
    "plugins/jobs/test_upload.py": (
        "middlewared_jobs.places",
        "middlewared_jobs.starting",
    ),
    "plugins/jobs/test_output.py": (
        "middlewared_jobs.delivery",
        "middlewared_jobs.offering",
        "middlewared_jobs.outlet",
    ),
    "plugins/jobs/test_download.py": ("middlewared_jobs.downloads",),
    "plugins/jobs/test_abort.py": ("middlewared_jobs.aborting",),
    "plugins/jobs/test_failures.py": (
        "middlewared_jobs.ending",
        "middlewared_jobs.outcome",
    ),
    "plugins/jobs/test_locks.py": ("middlewared_jobs.joining",),
    "plugins/jobs/test_log_wire.py": ("middlewared_jobs.tail",),
    "plugins/jobs/test_progress_events.py": ("middlewared_jobs.current_job",),
    "plugins/jobs/test_queries.py": ("middlewared_jobs.methods",),
    "plugins/jobs/test_recovery.py": (
        "middlewared_jobs.declaration",
        "middlewared_jobs.settings",
    ),
    # Jobs that start by themselves, as clients see them.
    "plugins/schedules/test_clockwork.py": (
        "middlewared_schedules.moment",
        "middlewared_schedules.starter",
    ),
    "plugins/schedules/test_methods.py": (
        "middlewared_schedules.access",
        "middlewared_schedules.declaration",
        "middlewared_schedules.drafts",
        "middlewared_schedules.schedules",
        "middlewared_schedules.settings",
    ),
    # The whole record, and what becomes of a job besides its end.
    "plugins/jobs/test_rich_jobs.py": (
        "middlewared_jobs.admission",
        "middlewared_jobs.answering",
        "middlewared_jobs.attempts",
        "middlewared_jobs.backoff",
        "middlewared_jobs.control",
        "middlewared_jobs.deadlines",
        "middlewared_jobs.decorator",
        "middlewared_jobs.exits",
        "middlewared_jobs.ledger",
        "middlewared_jobs.notebook",
        "middlewared_jobs.notes",
        "middlewared_jobs.options",
        "middlewared_jobs.desk",
        "middlewared_jobs.pausing",
        "middlewared_jobs.phase",
        "middlewared_jobs.recorder",
        "middlewared_jobs.restarting",
        "middlewared_jobs.retrying",
        "middlewared_jobs.roster",
        "middlewared_jobs.step",
        "middlewared_jobs.submission",
        "middlewared_jobs.timetable",
    ),
    "plugins/dialects/test_rendering.py": (
        "middlewared_dialects.arcgis.description",
        "middlewared_dialects.describing",
        "middlewared_dialects.infolink.description",
        "middlewared_dialects.ocapi.description",
        "middlewared_dialects.openapi",
        "middlewared_dialects.webex.description",
    ),
    # What both ways of waiting for a job in the server share.
    "plugins/jobs/test_wrapping.py": ("middlewared_jobs.succeeding",),
    # What every dialect stands on.
    "plugins/dialects/test_gateway.py": (
        "middlewared_dialects.bodies",
        "middlewared_dialects.declaration",
        "middlewared_dialects.entrance",
        "middlewared_dialects.organisation",
        "middlewared_dialects.publications",
        "middlewared_dialects.settings",
        "middlewared_jobs.reading",
    ),
    "plugins/dialects/test_arcgis.py": (
        "middlewared_demo._mission",
        "middlewared_dialects.arcgis.documents",
        "middlewared_dialects.arcgis.pages",
        "middlewared_dialects.arcgis.publication",
        "middlewared_dialects.arcgis.routes",
        "middlewared_dialects.texts",
    ),
    "plugins/dialects/test_ocapi.py": (
        "middlewared_demo._import",
        "middlewared_dialects.ocapi.documents",
        "middlewared_dialects.ocapi.faults",
        "middlewared_dialects.ocapi.publication",
        "middlewared_dialects.ocapi.routes",
        "middlewared_dialects.ocapi.searching",
        "middlewared_dialects.ocapi.xmlform",
    ),
    "plugins/dialects/test_webex.py": (
        "middlewared_demo._move",
        "middlewared_dialects.webex.documents",
        "middlewared_dialects.webex.families",
        "middlewared_dialects.webex.publication",
        "middlewared_dialects.webex.refusals",
        "middlewared_dialects.webex.routes",
    ),
    "plugins/dialects/test_infolink.py": (
        "middlewared_demo._scenario",
        "middlewared_dialects.infolink.documents",
        "middlewared_dialects.infolink.publication",
        "middlewared_dialects.infolink.requests",
        "middlewared_dialects.infolink.routes",
        "middlewared_jobs.resultsets",
    ),
    "acceptance/test_drain.py": ("middlewared.cli.drain",),
    "acceptance/test_unloading.py": ("middlewared.unloading",),
    "acceptance/test_doctor.py": ("middlewared.cli.doctor",),
    "unit/test_doctor.py": ("middlewared.examination",),
    # What keeps the house of the jobs.
    "plugins/jobs/test_retention.py": (
        "middlewared_jobs.jobfiles",
        "middlewared_jobs.removal",
    ),
    "plugins/jobs/test_largeresult.py": ("middlewared_jobs.freespace",),
    "plugins/jobs/test_page.py": ("middlewared_jobs.entry",),
    # Child processes and what forks, feeds and ends them.
    "plugins/jobs/test_forkserver.py": (
        "middlewared_jobs.childprocess",
        "middlewared_jobs.dying",
        "middlewared_jobs.place",
    ),
}
TESTED_BY = {name: test for test, names in TOGETHER.items() for name in names}


def sources() -> dict[str, Path]:
    """Give every module of the project by its import name."""
    found = {}
    for source_root, packages in ((ROOT, "middlewared"), (ROOT / "plugins", "*")):
        for path in source_root.glob(f"{packages}/**/*.py"):
            parts = path.relative_to(source_root).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


SOURCES = sources()
#: What is run is not imported.
IMPORTED = [name for name in SOURCES if not name.endswith("__main__")]


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text(encoding="utf-8"))


def mirror(name: str) -> Path:
    """Say where the test of a module belongs."""
    package, *rest = name.split(".")
    stem = "_".join(part.lstrip("_") for part in rest)
    if package == "middlewared":
        return TESTS / "unit" / f"test_{stem}.py"
    plugin = package.removeprefix("middlewared_")
    return TESTS / "plugins" / plugin / f"test_{stem}.py"


@pytest.mark.parametrize("name", IMPORTED)
def test_exports(name: str) -> None:
    """A module has a docstring, and an ``__all__`` of names that it has."""
    module = importlib.import_module(name)
    assert module.__doc__
    exported = module.__all__
    assert len(exported) == len(set(exported))
    assert [entry for entry in exported if not hasattr(module, entry)] == []
    assert [entry for entry in exported if entry.startswith("_")] == []


def test_only_what_is_exported_is_imported() -> None:
    """What one module takes from another is in the other one's ``__all__``."""
    hidden = []
    for name in SOURCES:
        for node in ast.walk(tree(name)):
            if not isinstance(node, ast.ImportFrom) or node.module not in SOURCES:
                continue
            exported = getattr(importlib.import_module(node.module), "__all__", ())
            for alias in node.names:
                is_module = f"{node.module}.{alias.name}" in SOURCES
                if not is_module and alias.name not in exported:
                    hidden.append(f"{name}: {node.module}.{alias.name}")
    assert hidden == []


def test_plugins_use_the_front_door_of_each_other() -> None:
    """A plugin imports the top level of another one, never a module inside it."""
    inside = []
    for name in SOURCES:
        own = name.partition(".")[0]
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                wanted = [node.module or ""]
            else:
                continue
            for module in wanted:
                package, _, rest = module.partition(".")
                if package.startswith("middlewared_") and package != own and rest:
                    inside.append(f"{name}: {module}")
    assert inside == []


def test_every_module_has_its_test() -> None:
    """Each module has the test module that mirrors it, or stands in the list above."""
    missing = [
        name
        for name, path in SOURCES.items()
        if path.stem not in ("__init__", "__main__")
        and name not in TESTED_BY
        and not mirror(name).exists()
    ]
    assert missing == []


def test_list_of_other_tests_is_true() -> None:
    """What the list says exists, and nothing in it has a test of its own."""
    assert [name for name in TESTED_BY if name not in SOURCES] == []
    assert [path for path in TESTED_BY.values() if not (TESTS / path).exists()] == []
    assert [name for name in TESTED_BY if mirror(name).exists()] == []


def test_every_unit_test_has_its_module() -> None:
    """No test of a module that is gone is left behind."""
    mirrors = {mirror(name) for name in SOURCES}
    tests = (TESTS / "unit").glob("test_*.py")
    assert [path.name for path in tests if path not in mirrors] == []


def test_modules_are_short() -> None:
    """Nobody wants to read more at a time."""
    long = {
        name: lines
        for name, path in SOURCES.items()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_no_module_for_everything() -> None:
    """A module has a subject; helpers, managers and utilities have none."""
    vague = re.compile(r"(^|[._])(utils?|helpers?|manager|misc|common|base)$")
    assert [name for name in SOURCES if vague.search(name)] == []


def test_tasks_have_an_owner() -> None:
    """Only `middlewared.tasks` starts bare tasks; all others use a task group or it."""
    bare = []
    for name in SOURCES:
        if name == "middlewared.tasks":
            continue
        for node in ast.walk(tree(name)):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in TASK_STARTERS:
                bare.append(f"{name}:{called.lineno}: {called.attr}")
    assert bare == []


def test_jobs_are_aborted() -> None:
    """No method, and nothing that authors and clients use, has another word for it."""
    other = re.compile(r"cancel|kill|terminate|stop", re.IGNORECASE)
    # Sessions are terminated, in the words of the reference.
    plugins = [plugin for plugin in find_plugins() if plugin.name != "auth"]
    names = [name for plugin in plugins for name in plugin.methods]
    for module in (middlewared_jobs, middlewared.client):
        for exported in module.__all__:
            found = getattr(module, exported)
            if inspect.isclass(found) and not issubclass(found, BaseException):
                names += [
                    f"{exported}.{name}" for name in vars(found) if name[0] != "_"
                ]
    assert [name for name in names if other.search(name)] == []


def test_plugins_is_a_source_root() -> None:
    """A package called ``plugins`` would hide that of everybody else."""
    assert not (ROOT / "plugins" / "__init__.py").exists()
    assert {path.name for path in (ROOT / "plugins").glob("*/")} - {"__pycache__"} == {
        name for name in SOURCES if "." not in name and name != "middlewared"
    }


@pytest.mark.parametrize("package", sorted(name for name in SOURCES if "." not in name))
def test_packages_are_typed(package: str) -> None:
    """Type checkers of other projects read our annotations."""
    assert (SOURCES[package].parent / "py.typed").exists()
