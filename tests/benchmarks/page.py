"""The page of the results: what stands between its marks is written by a run."""

import importlib.metadata
import os
import platform
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import psutil
from benchmarks.tables import Table, markdown

__all__ = ["write_page"]

BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->\n"
PACKAGES = (
    "uvloop",
    "websockets",
    "msgspec",
    "aiohttp",
    "picows",
    "jsonrpcserver",
    "huey",
    "celery",
    "redis",
)
WORDS = {True: "met", False: "missed"}


def write_page(path: Path, tables: Sequence[Table]) -> None:
    """Put the tables between the marks of a page."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    parts = [_machine(), _summary(tables), *map(markdown, tables)]
    text = "\n".join(parts)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _machine() -> str:
    """Say what it ran on: the kind of machine, not which one."""
    kinds = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = psutil.virtual_memory().total / 2**30
    python = f"{platform.python_implementation()} {platform.python_version()}"
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return (
        f"Machine: {os.cpu_count()} cores of {kinds[0] if kinds else 'unknown kind'}, "
        f"{memory:.0f} GiB; {platform.system()} {platform.release()}.\n"
        f"{python} ({platform.python_compiler()}), SQLite {sqlite3.sqlite_version}; "
        f"{versions}.\n"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _summary(tables: Sequence[Table]) -> str:
    lines = ["| # | goal | reached | |", "| ---: | --- | ---: | --- |"]
    for table in tables:
        for goal in table.goals:
            if goal.met is not None:
                cells = (str(table.number), goal.text, goal.reached, WORDS[goal.met])
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
