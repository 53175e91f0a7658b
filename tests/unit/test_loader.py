"""Finding plugins, and the order in which they start."""

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared.errors import PluginError
from middlewared.loader import GROUP, find_plugins, in_start_order
from middlewared.plugin import Plugin

HELLO = """
from middlewared import Context, Plugin

plugin = Plugin({name!r})


@plugin.method
async def hello(ctx: Context) -> str:
    \"\"\"Say hello.\"\"\"
    return "hello"
"""


UNDOCUMENTED = """
from middlewared import Plugin
plugin = Plugin("x")
@plugin.method
async def f(ctx) -> None:
    pass
"""


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what a test imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith("middlewared_"):
            del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(plugins: list[Plugin]) -> list[str]:
    return [plugin.name for plugin in plugins]


def added(folder: Path) -> list[str]:
    installed = {point.name for point in entry_points(group=GROUP)}
    return [name for name in names(find_plugins(folder)) if name not in installed]


class TestFind:
    """Installed plugins and those in a folder."""

    def test_installed(self) -> None:
        """Every entry point of the group is a plugin of its name."""
        expected = sorted(point.name for point in entry_points(group=GROUP))
        assert names(find_plugins()) == expected
        assert {"core", "auth", "jobs", "dashboard", "demo"} <= set(expected)

    def test_modules_and_packages_in_a_folder(self, tmp_path: Path) -> None:
        """A file or a package called middlewared_<name> is one, nothing else is."""
        write(tmp_path / "middlewared_tl_file.py", HELLO.format(name="tl_file"))
        package = tmp_path / "middlewared_tl_package"
        write(package / "__init__.py", "from middlewared_tl_package._p import plugin\n")
        write(package / "_p.py", HELLO.format(name="tl_package"))
        write(tmp_path / "other.py", "raise AssertionError('imported')\n")
        write(tmp_path / "middlewared_notes.txt", "no plugin\n")
        (tmp_path / "middlewared_empty").mkdir()
        assert added(tmp_path) == ["tl_file", "tl_package"]

    def test_modules_of_the_folder_may_import_each_other(self, tmp_path: Path) -> None:
        """The folder is on the import path, like an installed place."""
        write(tmp_path / "middlewared_tl_a.py", HELLO.format(name="tl_a"))
        text = (
            HELLO.format(name="tl_b")
            + "\nfrom middlewared_tl_a import hello as other\n"
        )
        write(tmp_path / "middlewared_tl_b.py", text)
        assert added(tmp_path) == ["tl_a", "tl_b"]

    def test_twice(self, tmp_path: Path) -> None:
        """Looking again finds the same plugins and adds no path."""
        write(tmp_path / "middlewared_tl_again.py", HELLO.format(name="tl_again"))
        first = find_plugins(tmp_path)
        path = list(sys.path)
        assert find_plugins(tmp_path) == first
        assert sys.path == path

    def test_no_folder(self, tmp_path: Path) -> None:
        """A folder that is not there is a mistake, not an empty one."""
        with pytest.raises(PluginError, match=r"plugins folder '.*/gone' is no folder"):
            find_plugins(tmp_path / "gone")

    def test_name_that_is_taken(self, tmp_path: Path) -> None:
        """Two plugins of one name are refused."""
        write(tmp_path / "middlewared_tl_core.py", HELLO.format(name="core"))
        with pytest.raises(PluginError, match=r"^two plugins are called 'core'$"):
            find_plugins(tmp_path)

    def test_module_that_is_taken(self, tmp_path: Path) -> None:
        """A module hidden by an installed one of its name is told, not ignored."""
        write(tmp_path / "middlewared_core.py", HELLO.format(name="mine"))
        with pytest.raises(PluginError, match="another middlewared_core is installed"):
            find_plugins(tmp_path)


class TestBroken:
    """A plugin that cannot be loaded is named with the line that fails."""

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("x = 1\n1 / 0\n", r"{}:2: ZeroDivisionError: division by zero"),
            ("import nosuchmodule\n", r"{}:1: ModuleNotFoundError: No module named "),
            ("x = (\n", r"{}:1: SyntaxError: '\(' was never closed"),
            ("x = 1\n", r"middlewared_tl_bad\.plugin is NoneType, expected a Plugin"),
            ("plugin = 5\n", r"middlewared_tl_bad\.plugin is int, expected a Plugin"),
            (
                UNDOCUMENTED,
                r"{}:4: x\.f has no docstring",
            ),
        ],
    )
    def test_in_a_folder(self, tmp_path: Path, text: str, message: str) -> None:
        """File and line are the author's."""
        path = write(tmp_path / "middlewared_tl_bad.py", text)
        where = tmp_path / "middlewared_tl_bad"
        with pytest.raises(
            PluginError, match=f"^plugin {where}: {message.format(path)}"
        ):
            find_plugins(tmp_path)

    def test_deep_in_a_package(self, tmp_path: Path) -> None:
        """The line is the one that failed, wherever it is."""
        package = tmp_path / "middlewared_tl_deep"
        write(package / "__init__.py", "from middlewared_tl_deep.part import plugin\n")
        part = write(
            package / "part.py", "def f():\n    raise KeyError('x')\n\n\nf()\n"
        )
        with pytest.raises(PluginError, match=f"{part}:2: KeyError: 'x'$"):
            find_plugins(tmp_path)


class TestOrder:
    """Each plugin starts after those it requires."""

    def test_dependencies_first(self) -> None:
        """Whatever order they were found in."""
        found = [
            Plugin("demo", requires=("jobs",)),
            Plugin("jobs", requires=("auth", "core")),
            Plugin("core"),
            Plugin("auth"),
        ]
        order = names(in_start_order(found))
        assert order == ["auth", "core", "jobs", "demo"]
        assert names(in_start_order(reversed(found))) == order

    @given(st.data())
    def test_any_graph_without_a_cycle(self, data: st.DataObject) -> None:
        """All of them start, none before one that it requires."""
        count = data.draw(st.integers(0, 8))
        plugins = [
            Plugin(
                str(number),
                requires=data.draw(
                    st.lists(st.integers(0, number - 1).map(str), unique=True)
                    if number
                    else st.just([])
                ),
            )
            for number in range(count)
        ]
        order = in_start_order(data.draw(st.permutations(plugins)))
        assert sorted(names(order)) == sorted(names(plugins))
        for place, plugin in enumerate(order):
            assert set(plugin.requires) <= set(names(order[:place]))

    def test_missing(self) -> None:
        """Who requires what is named."""
        with pytest.raises(
            PluginError,
            match=r"^plugin 'demo' requires 'jobs', which is not installed$",
        ):
            in_start_order([Plugin("demo", requires=("jobs",))])

    def test_cycle(self) -> None:
        """The whole circle is named."""
        plugins = [
            Plugin("a", requires=("b",)),
            Plugin("b", requires=("c",)),
            Plugin("c", requires=("a",)),
        ]
        with pytest.raises(
            PluginError, match=r"^plugins require each other: "
        ) as caught:
            in_start_order(plugins)
        circle = str(caught.value).partition(": ")[2].split(" -> ")
        assert circle[0] == circle[-1]
        assert set(circle) == {"a", "b", "c"}

    def test_itself(self) -> None:
        """A plugin that requires itself is the smallest circle."""
        with pytest.raises(PluginError, match="require each other: a -> a"):
            in_start_order([Plugin("a", requires=("a",))])

    def test_duplicate(self) -> None:
        """Two of one name are refused, the same one twice is one."""
        plugin = Plugin("a")
        assert in_start_order([plugin, plugin]) == [plugin]
        with pytest.raises(PluginError, match="two plugins are called 'a'"):
            in_start_order([plugin, Plugin("a")])
