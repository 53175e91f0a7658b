"""Whatever users can name has its entry in the documents, and no entry is stale."""

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from middlewared import Context, Plugin
from middlewared import errors as kernel_errors
from middlewared.client import JobHandle
from middlewared.errors import CUSTOM_ERRNOS, RpcError
from middlewared.loader import find_plugins
from middlewared.registry import Registry
from middlewared.settings import PREFIX, Settings
from middlewared_jobs import Job
from middlewared_jobs.decorator import JobArguments

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md"), *DOCS.glob("design/*.md")])

#: Variables of the command line and of what jobs start, which are no settings.
OTHER_VARIABLES = {"URL", "USER", "PASSWORD", "API_KEY", "TOKEN", "CHILD_OF", "JOB_ID"}

#: What the body of a job may use.
JOB_NAMES = {n for n in dir(Job) if n[0] != "_"} | {
    "aborted",
    "context",
    "log",
    "pipes",
}


def own_plugins() -> list[Plugin]:
    """Load the plugins of this repository."""
    own = {path.name for path in (ROOT / "plugins").glob("middlewared_*")}
    return [p for p in find_plugins() if f"middlewared_{p.name}" in own]


PLUGINS = own_plugins()
METHODS = Registry(PLUGINS).methods
COLLECTIONS = {c.name: c.item for p in PLUGINS for c in p.collections}
SOURCES = {s.name: s.item for p in PLUGINS for s in p.sources}


def read(page: str) -> str:
    return (REFERENCE / f"{page}.md").read_text(encoding="utf-8")


def sections(text: str, level: str) -> dict[str, str]:
    """Cut a page into the parts below its headings of one level."""
    parts = re.split(rf"^{level} `?([\w. ]+?)`?$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_cells(text: str) -> list[str]:
    """Give the first cell of each row of the tables in a text, heads left out."""
    rows = re.findall(r"^\| (.+?) \|.*$\n?", text, re.MULTILINE)
    heads = re.findall(r"^\| (.+?) \|.*\n\| --- ", text, re.MULTILINE)
    return [row.strip("`") for row in rows if row != "---" and row not in heads]


def test_generated_parts_are_fresh() -> None:
    """What is generated in a document is what the code says now."""
    pages = [str(p) for p in [*DOCS.glob("**/*.md")] if "[[[cog" in p.read_text()]
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "-P", *pages],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: make fix"


def test_every_method_has_its_entry() -> None:
    """The methods of the reference are those of the registry."""
    entries = sections(read("methods"), "###")
    assert {name for name in entries if "." in name} == set(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_method_is_described(name: str) -> None:
    """An entry has the signature, each param, and the first line of the docstring."""
    method = METHODS[name]
    entry = sections(read("methods"), "###")[name]
    signature = re.search(rf"^`{name}\((.*)\)`$", entry, re.MULTILINE)
    assert signature is not None
    for place, param in enumerate(method.params.names):
        assert param in signature[1]
        assert first_cells(entry)[place] == param
    assert method.doc.partition("\n")[0].replace("``", "`").split(" *")[0] in entry
    assert ("A job: " in entry) is (method.deferred is not None)


def test_every_collection_has_its_entry() -> None:
    """The collections of the reference are those of the registry."""
    entries = sections(read("events"), "##")
    entries.pop("Objects")
    assert set(entries) == COLLECTIONS.keys() | SOURCES.keys()


@pytest.mark.parametrize("name", sorted(COLLECTIONS | SOURCES))
def test_fields_of_items_are_described(name: str) -> None:
    """Each field of an item has a row that says what it is."""
    item = (COLLECTIONS | SOURCES)[name]
    entry = sections(read("events"), "###")[item.__name__]
    wanted = [field.encode_name for field in msgspec.structs.fields(item)]
    assert first_cells(entry) == wanted
    assert not re.findall(r"^.*\| \|$", entry, re.MULTILINE)


def _table_of(plugin: Plugin | None) -> tuple[str, Any]:
    if plugin is None:
        return "Kernel", Settings
    return f"Table `{plugin.name}`", plugin.settings


@pytest.mark.parametrize(
    "plugin", [None, *(p for p in PLUGINS if p.settings)], ids=lambda p: p and p.name
)
def test_every_setting_has_its_entry(plugin: Plugin | None) -> None:
    """The settings of the reference are those of the structs, with their variables."""
    heading, kind = _table_of(plugin)
    entry = read("settings").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    names = [name for name in kind.__struct_fields__ if name != "tables"]
    assert first_cells(entry) == names
    table = "" if plugin is None else f"{plugin.name.upper()}__"
    for name in names:
        assert f"`{PREFIX}{table}{name.upper()}`" in entry
    assert not re.findall(r"^.*\| \|$", entry, re.MULTILINE)


def test_no_table_of_settings_is_stale() -> None:
    """The reference has no table of a plugin without settings."""
    found = re.findall(r"^## Table `(\w+)`$", read("settings"), re.MULTILINE)
    assert sorted(found) == sorted(p.name for p in PLUGINS if p.settings)


def test_every_code_has_its_entry() -> None:
    """The codes of the reference are those of the error classes."""
    tree = [getattr(kernel_errors, name) for name in kernel_errors.__all__]
    classes = [k for k in tree if inspect.isclass(k) and issubclass(k, RpcError)]
    wanted = {(str(k.code), k.__name__) for k in classes if k is not RpcError}
    table = sections(read("errors"), "##")["Codes"]
    found = re.findall(r"^\| `(-\d+)` \| .+? \| `(\w+)` \|", table, re.MULTILINE)
    assert set(found) == wanted
    protocol = (DOCS / "protocol.md").read_text(encoding="utf-8")
    for code in {code for code, _ in wanted}:
        assert f"\n| {code} |" in protocol


def test_every_custom_error_number_has_its_entry() -> None:
    """The numbers above those of the system are those of `CUSTOM_ERRNOS`."""
    table = sections(read("errors"), "##")["Error numbers of the protocol"]
    found = re.findall(r"^\| (\d+) \| `(\w+)` \|", table, re.MULTILINE)
    assert {int(number): name for number, name in found} == CUSTOM_ERRNOS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_in_the_text_exist(page: Path) -> None:
    """A method, a collection or a variable that a page names is there."""
    text = page.read_text(encoding="utf-8")
    spaces = "|".join(sorted({name.partition(".")[0] for name in METHODS}))
    named = set(re.findall(rf"[`\"]((?:{spaces})\.[a-z_]+)[`\"(:]", text))
    tables = {f"{p.name}.{f}" for p in PLUGINS for f in _fields(p)}
    known = METHODS.keys() | COLLECTIONS.keys() | SOURCES.keys() | tables
    of_jobs = {f"job.{name}" for name in (*JOB_NAMES, *dir(JobHandle), "item")}
    assert named - known - of_jobs == set()
    variables = set(re.findall(rf"\b{PREFIX}([A-Z_]+)\b", text))
    kernel = {name.upper() for name in Settings.__struct_fields__}
    plain = {name for name in variables if "__" not in name}
    assert plain - kernel - OTHER_VARIABLES == set()


def _fields(plugin: Plugin) -> tuple[str, ...]:
    return plugin.settings.__struct_fields__ if plugin.settings else ()


def _options(function: Any) -> set[str]:
    """Name the keyword parameters of a function."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("Plugin", _options(Plugin.__init__) | {"name"}),
        ("Plugin.method", _options(Plugin.method)),
        ("job", set(JobArguments.__annotations__)),
        ("Job", JOB_NAMES),
        ("Context", {n for n in dir(Context) if n[0] != "_"} - {"services"}),
    ],
)
def test_interface_of_authors_is_in_the_guide(what: str, names: set[str]) -> None:
    """Every option and attribute that an author may use is in the plugin guide."""
    guide = (DOCS / "plugins.md").read_text(encoding="utf-8")
    spans = " ".join(re.findall(r"`([^`\n]+)`", guide))
    assert {name for name in names if not re.search(rf"\b{name}\b", spans)} == set()


def test_every_dependency_is_explained() -> None:
    """The dependencies of the design page are those of the distribution."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["test"] + extras["dev"]
    text = (DOCS / "design/dependencies.md").read_text(encoding="utf-8")
    found = set(re.findall(r"^\| ([\w-]+) \|", text, re.MULTILINE)) - {"distribution"}
    assert found == {re.split(r"[^\w-]", name)[0] for name in wanted}
