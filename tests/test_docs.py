"""What the documents show is what the program does: their commands and frames run."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from server_process import STOP_SECONDS, ServerProcess
from websockets.sync.client import ClientConnection, connect, unix_connect

from middlewared.loader import find_plugins
from middlewared.settings import decode_table, load_settings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("**/*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
COMMAND_SECONDS = 50.0
FRAME_SECONDS = 20.0
FENCE = re.compile(
    r"^(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


def fences(path: Path) -> Iterator[tuple[str, str, str | None]]:
    """Give the kind, the text and the file name of each fence."""
    for found in FENCE.finditer(path.read_text(encoding="utf-8")):
        yield found["kind"], found["text"], found["file"]


# Consoles


def output_pattern(shown: str) -> re.Pattern[str]:
    """Turn shown output into a pattern: ``...`` is anything, ports and spaces vary."""
    parts = []
    for line in shown.splitlines(keepends=True):
        if line.strip() == "...":
            parts.append("(?:.*\n)*?")
            continue
        pattern = re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*")
        pattern = pattern.replace(r"127\.0\.0\.1:8420", r"127\.0\.0\.1:\d+")
        parts.append("[ \t]*" + pattern.replace(r"\ ", "[ \t]+") + "[ \t]*\n")
    return re.compile("".join(parts))


class Console:
    """A folder, a shell's variables, and the server that was started last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._variables = folder / ".variables"
        self._variables.touch()
        self._code = 0
        self._server: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MIDDLEWARED_")}
        self._environment = kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MIDDLEWARED_LISTEN": "127.0.0.1:0",
        }

    def type(self, text: str) -> None:
        """Run what follows each prompt and compare what it says."""
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if command.startswith("middlewared serve"):
                self._serve(command, shown)
            else:
                self._run(command, shown)

    def _script(self, command: str) -> list[str]:
        before = f". {self._variables}; cd {self.folder}; (exit {self._code})"
        after = f"code=$?; export -p > {self._variables}; exit $code"
        return ["bash", "-c", f"{before}\n{command}\n{after}"]

    def _run(self, command: str, shown: str) -> None:
        done = subprocess.run(
            self._script(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
            env=self._environment,
        )
        self._code = done.returncode
        if not re.fullmatch(output_pattern(shown), done.stdout):
            raise AssertionError(f"$ {command}\n{done.stdout}\nbut shown is:\n{shown}")

    def _serve(self, command: str, shown: str) -> None:
        assert self.stop() == 0
        script = f". {self._variables}; cd {self.folder}; exec {command}"
        self._server = subprocess.Popen(
            ["bash", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )
        assert self._server.stdout is not None
        said, wanted = "", output_pattern(shown)
        while not wanted.match(said):
            line = self._server.stdout.readline()
            assert line, f"$ {command}\n{said}\nbut shown is:\n{shown}"
            said += line
        # What it says later is read too, or it would wait for us to read it.
        self._reader = threading.Thread(target=self._server.stdout.read)
        self._reader.start()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Press Ctrl-C where the server runs; give its exit code."""
        if self._server is None:
            return 0
        self._server.send_signal(number)
        code = self._server.wait(STOP_SECONDS)
        if self._reader is not None:
            self._reader.join()
        assert self._server.stdout is not None
        self._server.stdout.close()
        self._server = self._reader = None
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", ["tutorial.md", "jobs.md"])
def test_pages_to_type(tmp_path: Path, page: str) -> None:
    """Who types what the page shows sees what the page shows."""
    with Console(tmp_path) as console:
        for kind, text, file in fences(DOCS / page):
            if file is not None:
                (tmp_path / file).parent.mkdir(exist_ok=True)
                (tmp_path / file).write_text(text)
            elif kind == "console":
                console.type(text)
        assert console.stop() == 0


#: Folders of the machine that the page on commands speaks of.
PLACES = re.compile(r"(/etc/restic|/srv/backup|/home)\b")


@pytest.mark.timeout(180)
def test_commands(tmp_path: Path) -> None:
    """The example of the commands works as shown, with a stand-in for its program.

    Its folders are below that of the test, and so is the program.
    """
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    page = tmp_path / "commands.md"
    page.write_text(PLACES.sub(rf"{tmp_path}\1", text), encoding="utf-8")
    program = tmp_path / "bin/restic"
    program.parent.mkdir()
    source = (ROOT / "tests/stand_in_restic.py").read_text(encoding="utf-8")
    program.write_text(f"#!{sys.executable}\n{source}")
    program.chmod(0o755)
    for name in ("one", "two"):
        (tmp_path / "home/ann" / name).mkdir(parents=True)
        (tmp_path / "home/ann" / name / "file").write_text(name)
    with Console(tmp_path) as console:
        console.type('$ export PATH="$PWD/bin:$PATH"\n')
        for kind, part, file in fences(page):
            if file is not None:
                (tmp_path / file).write_text(part)
            elif kind == "console":
                console.type(part)
        assert console.stop() == 0


# Frames


def agrees(shown: Any, real: Any) -> bool:
    """Compare JSON values; "..." is anything, as a key it is any further keys."""
    if shown == "...":
        return True
    if isinstance(shown, dict) and isinstance(real, dict):
        wanted = {key: value for key, value in shown.items() if key != "..."}
        if wanted.keys() - real.keys() or (
            "..." not in shown and len(wanted) < len(real)
        ):
            return False
        return all(agrees(value, real[key]) for key, value in wanted.items())
    if isinstance(shown, list) and isinstance(real, list):
        return len(shown) == len(real) and all(map(agrees, shown, real))
    return bool(shown == real)


def converse(socket: ClientConnection, text: str) -> None:
    """Send the lines after ``>`` and expect those after ``<``; ``< ...`` skips some."""
    skipping = False
    for line in text.splitlines():
        if line.startswith("> "):
            socket.send(line[2:])
        elif line == "< ...":
            skipping = True
        else:
            shown = msgspec.json.decode(line.removeprefix("< "))
            real = msgspec.json.decode(socket.recv(FRAME_SECONDS))
            while skipping and not agrees(shown, real):
                real = msgspec.json.decode(socket.recv(FRAME_SECONDS))
            assert agrees(shown, real), f"{real}\nbut shown is:\n{line}"
            skipping = False


def test_frames_of_the_protocol(server_process: ServerProcess) -> None:
    """The server answers every frame that the protocol page shows as it shows it."""
    found = [(k, t) for k, t, _ in fences(DOCS / "protocol.md") if k[:4] == "wire"]
    assert found
    for kind, text in found:
        if kind == "wire admin":
            dial = unix_connect(
                str(server_process.socket_path), "ws://localhost/api/current"
            )
        else:
            dial = connect(server_process.ws_url)
        with dial as socket:
            converse(socket, text)


# What can be checked without running


@pytest.mark.parametrize("name", NAMES)
def test_settings_files_load(name: str, tmp_path: Path) -> None:
    """Every settings file that a document shows is one that the server takes."""
    tables = {p.name: p.settings for p in find_plugins() if p.settings is not None}
    builds = {p.name: p.build for p in find_plugins() if p.build is not None}
    for kind, text, _ in fences(ROOT / name):
        if kind != "toml" or "[project" in text:
            continue
        file = tmp_path / "settings.toml"
        file.write_text(text)
        settings = load_settings(config=file, environ={})
        for table, values in settings.tables.items():
            if table in tables:
                decode_table(values, tables[table], name=table)
            elif table in builds:
                builds[table](values)


def anchors(path: Path) -> set[str]:
    """Collect the anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading).lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link of a document leads to a file, and to a heading in it."""
    document = ROOT / name
    text = re.sub(
        r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        target, _, anchor = link.partition("#")
        page = (document.parent / target).resolve() if target else document
        if not page.exists() or (anchor and anchor not in anchors(page)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize(
    ("page", "words"),
    [("protocol.md", "protocol page"), ("design/architecture.md", "design")],
)
def test_sections_that_comments_name_exist(page: str, words: str) -> None:
    """A comment that names a section of a page names one that is there."""
    text = (DOCS / page).read_text(encoding="utf-8")
    numbers = set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", text, re.MULTILINE))
    sources = [p for d in ("middlewared", "plugins") for p in (ROOT / d).rglob("*.py")]
    pattern = re.compile(
        rf"{words}[,:]?\s+(?:section\s+)?(\d+(?:\.\d+)?)", re.IGNORECASE
    )
    missing = {
        (str(source.relative_to(ROOT)), number)
        for source in sources
        for number in pattern.findall(source.read_text(encoding="utf-8"))
        if number not in numbers
    }
    assert not missing
