"""Looks a data directory and the settings over, and says what to do."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from middlewared.datadir import LOCK
from middlewared.errors import MiddlewareError, SettingsError
from middlewared.examination import Examined, Finding, check_directory
from middlewared.loader import find_plugins
from middlewared.plugin import Plugin
from middlewared.settings import Settings, decode_table, load_settings

__all__ = ["examine"]

_RESTORE = "Stop the server and restore a backup: middlewared restore"


def examine(path: Path, config: Path | None, *, full: bool) -> list[Finding]:
    """Look everything over; nothing is changed, and a server may run.

    Args:
        path: the data directory.
        config: the settings file, None for none.
        full: look at every row of the database, which may take minutes.
    """
    found = list[Finding]()
    plugins = list[Plugin]()
    settings = None
    try:
        settings = load_settings(config=config)
        folder = settings.plugins_dir
        plugins = find_plugins(Path(folder).expanduser() if folder else None)
        found += _check_settings(settings, plugins, config)
    except MiddlewareError as exc:
        subject = "settings" if isinstance(exc, SettingsError) else "plugins"
        text = "The server does not start with it"
        found.append(Finding("problem", subject, str(exc), text))
    if settings is None:
        with contextlib.suppress(MiddlewareError):
            plugins = find_plugins()
    return found + list(_examine_directory(path, plugins, full=full))


def _check_settings(
    settings: Settings, plugins: Sequence[Plugin], config: Path | None
) -> Iterator[Finding]:
    tables: dict[str, Any] = dict(settings.tables)
    for plugin in plugins:
        table = tables.pop(plugin.name, {})
        if plugin.settings is not None:
            decode_table(table, plugin.settings, name=f"table {plugin.name!r}")
        if plugin.build is not None:
            plugin.build(table)
    if tables:
        names = ", ".join(sorted(tables))
        raise SettingsError(f"there is no plugin for the tables {names}")
    where = "none were given with --config" if config is None else str(config)
    yield Finding("ok", "settings", where)


def _examine_directory(
    path: Path, plugins: Sequence[Plugin], *, full: bool
) -> Iterator[Finding]:
    if not path.is_dir():
        text, advice = f"there is none at {path}", "The first start makes one"
        yield Finding("note", "directory", text, advice)
        return
    served = _is_served(path)
    try:
        with _opened(path / "middlewared.db") as database:
            examined = Examined(path, database, served=served)
            yield from check_directory(examined)
            text = "one runs" if served else "none runs"
            yield Finding("ok", "server", text)
            if database is None:
                advice = "The first start makes one"
                yield Finding("note", "database", "there is none yet", advice)
                return
            yield from _check_database(examined, plugins, full=full)
            for check in (check for plugin in plugins for check in plugin.checks):
                yield from check(examined)
    except (OSError, sqlite3.Error) as exc:
        yield Finding("problem", "database", str(exc), _RESTORE)


def _is_served(path: Path) -> bool:
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    if not path.exists():
        yield None
        return
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with contextlib.closing(connection):
        yield connection


def _check_database(
    examined: Examined, plugins: Sequence[Plugin], *, full: bool
) -> Iterator[Finding]:
    pragma = "integrity_check(1)" if full else "quick_check(1)"
    found = examined.rows(f"PRAGMA {pragma}")[0][0]
    if found != "ok":
        yield Finding("problem", "database", str(found), _RESTORE)
        return
    size, free = (
        examined.rows(f"PRAGMA {name}")[0][0] * examined.rows("PRAGMA page_size")[0][0]
        for name in ("page_count", "freelist_count")
    )
    text = f"sound, {size // 2**20} MiB, {free // 2**20} MiB of them free for new rows"
    stiff = examined.rows("PRAGMA auto_vacuum")[0][0] == 0
    if stiff and free > size // 2:
        advice = (
            "It cannot shrink. With the server stopped: "
            "sqlite3 middlewared.db 'PRAGMA auto_vacuum=2; VACUUM'"
        )
        yield Finding("note", "database", text, advice)
    else:
        yield Finding("ok", "database", text)
    known = {
        plugin.name: len([m for m in plugin.migrations.iterdir() if _is_step(m.name)])
        for plugin in plugins
        if plugin.migrations is not None
    }
    rows = examined.rows("SELECT owner, version FROM schema_version ORDER BY owner")
    for owner, version in rows:
        yield _check_version(owner, version, known.get(owner))


def _is_step(name: str) -> bool:
    return name.endswith(".sql")


def _check_version(owner: str, version: int, known: int | None) -> Finding:
    text = f"{owner} has version {version}"
    if known is None:
        return Finding(
            "note",
            "tables",
            f"{text}, and its plugin is not installed",
            "Its rows stay",
        )
    if version > known:
        text += f", this program knows {known}"
        return Finding("problem", "tables", text, "Install the newer program again")
    if version < known:
        text += f", this program has {known}"
        advice = "The next start brings them up to date; make a backup before"
        return Finding("note", "tables", text, advice)
    return Finding("ok", "tables", text)
