"""Rules that hold for the whole source: exports, the test of each module, sizes, words.

Which module may import which is a matter of import-linter (`make check`).
"""

import ast
import functools
import importlib
import re
from pathlib import Path

import pytest

from middlewared.loader import find_plugins

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
MAX_LINES = 600
TASK_STARTERS = {"create_task", "ensure_future", "gather"}

#: Modules that the test of another one covers, because they are parts of one thing.
TESTED_BY: dict[str, str] = {}


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
            exported = importlib.import_module(node.module).__all__
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
    """No method and nothing public of the job manager has another word for it."""
    other = re.compile(r"cancel|kill|terminate|stop(?!ped)", re.IGNORECASE)
    methods = [name for plugin in find_plugins() for name in plugin.methods]
    named = [
        f"{name}: {node.name}"
        for name in SOURCES
        if name.startswith("middlewared_jobs")
        for node in ast.walk(tree(name))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
    ]
    assert [name for name in [*methods, *named] if other.search(name)] == []


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
