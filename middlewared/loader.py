"""Plugins: found by entry point or in a folder, in the order they depend on."""

import importlib
import sys
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path

from middlewared.errors import PluginError
from middlewared.plugin import Plugin

__all__ = ["GROUP", "find_plugins", "in_start_order"]

GROUP = "middlewared.plugins"
PREFIX = "middlewared_"


def _load(where: str, module: str, attribute: str) -> Plugin:
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except PluginError as exc:
        raise PluginError(f"plugin {where}: {exc}") from exc
    except Exception as exc:
        raise PluginError(f"plugin {where}: {_import_failure(exc)}") from exc
    if not isinstance(found, Plugin):
        raise PluginError(
            f"plugin {where}: {module}.{attribute} is {type(found).__name__}, "
            "expected a Plugin"
        )
    return found


def _import_failure(exc: BaseException) -> str:
    """Say what failed and in which line of which file."""
    trace = exc.__traceback__
    place = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "importlib" not in file and file != __file__:
            place = f"{file}:{trace.tb_lineno}: "
        trace = trace.tb_next
    if isinstance(exc, SyntaxError):
        place = f"{exc.filename}:{exc.lineno}: "
    return f"{place}{type(exc).__name__}: {exc}"


def _names_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise PluginError(f"plugins folder {str(folder)!r} is no folder")
    return sorted(
        entry.stem
        for entry in folder.iterdir()
        if entry.name.startswith(PREFIX)
        and (entry.suffix == ".py" or (entry / "__init__.py").is_file())
    )


def find_plugins(folder: Path | None = None) -> list[Plugin]:
    """Load every installed plugin, and those in *folder*.

    Args:
        folder: holds modules or packages called ``middlewared_<name>`` with a
            ``plugin``; it is put on the import path.

    Raises:
        PluginError: one cannot be imported, is none, or two have one name.
    """
    found = [
        _load(repr(point.name), point.module, point.attr or "plugin")
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)
    ]
    if folder is not None:
        names = _names_in(folder)
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        for name in names:
            found.append(_load(str(folder / name), name, "plugin"))
            _check_place(folder, name)
    return _unique(found)


def _check_place(folder: Path, name: str) -> None:
    """Refuse a module that an installed one of the same name hides."""
    file = sys.modules[name].__file__
    if file is None or folder.resolve() not in Path(file).resolve().parents:
        raise PluginError(
            f"plugin {folder / name!s}: another {name} is installed, at {file}"
        )


def _unique(plugins: Iterable[Plugin]) -> list[Plugin]:
    by_name: dict[str, Plugin] = {}
    for plugin in plugins:
        if by_name.setdefault(plugin.name, plugin) is not plugin:
            raise PluginError(f"two plugins are called {plugin.name!r}")
    return list(by_name.values())


def in_start_order(plugins: Iterable[Plugin]) -> list[Plugin]:
    """Sort plugins so that each comes after those it requires.

    Raises:
        PluginError: a required one is missing, they require each other, or two have
            one name.
    """
    by_name = {plugin.name: plugin for plugin in _unique(plugins)}
    for plugin in by_name.values():
        for name in plugin.requires:
            if name not in by_name:
                raise PluginError(
                    f"plugin {plugin.name!r} requires {name!r}, which is not installed"
                )
    graph = {name: sorted(plugin.requires) for name, plugin in sorted(by_name.items())}
    try:
        return [by_name[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as exc:
        raise PluginError(
            f"plugins require each other: {' -> '.join(exc.args[1])}"
        ) from None
