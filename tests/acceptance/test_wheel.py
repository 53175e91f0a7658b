"""What is released works without the source tree."""

import os
import queue
import re
import signal
import subprocess
import sys
import sysconfig
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = {"middlewared", *(path.name for path in ROOT.glob("plugins/middlewared_*"))}
#: What the packages are made of; anything else in them got there by accident.
KINDS = {".py", ".sql", ".typed", ".js", ".css", ".html", ".svg", ".json"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both distributions, the wheel from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--no-isolation"),
            *("--outdir", folder, ROOT),
        ],
        check=True,
        timeout=55,
        stdout=subprocess.DEVNULL,
    )
    return folder


def in_tree() -> set[str]:
    """List what the packages of the tree hold, as it is installed."""
    found = set()
    for package in PACKAGES:
        source_root = ROOT if package == "middlewared" else ROOT / "plugins"
        found |= {
            path.relative_to(source_root).as_posix()
            for path in (source_root / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
    return found


def test_tree_has_only_what_belongs_there() -> None:
    """No notes, backups or caches lie between the modules."""
    assert {name for name in in_tree() if Path(name).suffix not in KINDS} == set()


def test_wheel(built: Path) -> None:
    """It holds the packages, the SQL, the pages and the types, and nothing else."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        (info,) = {n.partition("/")[0] for n in names if ".dist-info/" in n}
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
    assert {name for name in names if not name.startswith(info)} == in_tree()
    assert f"{info}/licenses/LICENSE" in names
    assert "middlewared = middlewared.cli:main" in entry_points
    assert "schedule = middlewared_schedules.commands:schedule" in entry_points
    for package in PACKAGES - {"middlewared"}:
        plugin = package.removeprefix("middlewared_")
        assert f"{plugin} = {package}:plugin" in entry_points
    assert "License-Expression: BSD-3-Clause" in metadata


def test_source_distribution(built: Path) -> None:
    """It holds what is needed to test and to build, and nothing that was made."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile"} <= names
    assert {"tests/conftest.py", "tests/acceptance/test_wheel.py"} <= names
    made = re.compile(r"(^|/)(__pycache__|node_modules|\.venv|\.hypothesis|\.git)(/|$)")
    assert {name for name in names if made.search(name)} == set()
    tree = in_tree()
    prefixed = {n if n.startswith("middlewared/") else f"plugins/{n}" for n in tree}
    assert prefixed <= names


@pytest.fixture
def environment(built: Path, tmp_path: Path) -> Path:
    """Install the wheel in a fresh environment that sees the dependencies."""
    (wheel,) = built.glob("*.whl")
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    # A path in a .pth file is added as it is: the .pth of an editable install that
    # lies in that folder is not read, so that the tree stays out of sight.
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
            *("--disable-pip-version-check", "--no-index", "--no-deps"),
            *("--ignore-installed", wheel),
        ],
        check=True,
        timeout=55,
    )
    return folder


@contextmanager
def running(program: Path, folder: Path) -> Iterator[str]:
    """Run the installed program and give its URL; it has to stop cleanly."""
    with subprocess.Popen(
        [program, "serve", "--listen", "127.0.0.1:0"],
        cwd=folder,
        env=clean_environment(folder),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(
            target=lambda: [*map(lines.put, process.stdout or ())]
        )
        reader.start()
        try:
            url = lines.get(timeout=30).removeprefix("Listening on ").strip()
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(20)
            reader.join()
        assert code == 0


def clean_environment(folder: Path) -> dict[str, str]:
    """Give an environment in which nothing points to the tree."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"MIDDLEWARED_DATA_DIR": str(folder / "data")}


def test_wheel_runs(environment: Path, tmp_path: Path) -> None:
    """Server, command line, a job and the pages work from the wheel alone."""
    program = environment / "bin" / "middlewared"

    def run(*command: str | Path) -> str:
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=clean_environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout

    names = ", ".join(sorted(PACKAGES))
    code = f"import {names}; print(*(package.__file__ for package in ({names})))"
    places = run(environment / "bin" / "python", "-c", code).split()
    assert [p for p in places if not Path(p).is_relative_to(environment)] == []

    with running(program, tmp_path) as url:
        assert run(program, "call", "-j", "demo.noop", "5").strip() == "5"
        assert "demo.noop" in run(program, "job", "ls")
        for path, text in (
            ("/ui/", "<!doctype html>"),
            ("/ui/middlewared.js", "export"),
        ):
            with urllib.request.urlopen(f"{url}{path}", timeout=10) as answer:  # noqa: S310 - ours
                assert text in answer.read().decode().lower()
