"""Files at a terminal: uploaded, downloaded, and what the exit code says of them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from server_process import ServerProcess

SOAK = bool(os.environ.get("SOAK"))
#: Bytes that are moved each way: more than a server may have in memory.
SIZE = 2 * 2**30 if SOAK else 24 * 2**20
#: Bytes by which the server may grow meanwhile.
GROWTH = 8 * 2**20
PATIENCE = 900.0 if SOAK else 60.0

pytestmark = pytest.mark.timeout(1800 if SOAK else 120)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run the real program once for all tests here."""
    with ServerProcess(tmp_path_factory.mktemp("files") / "data") as running:
        yield running


@contextmanager
def started(
    server: ServerProcess, *arguments: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with pipes for its input and output, not beyond the block."""
    running = subprocess.Popen(
        [sys.executable, "-m", "middlewared.cli", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"MIDDLEWARED_DATA_DIR": str(server.data_dir)},
    )
    with running:
        try:
            yield running
        finally:
            running.kill()


def memory_of(server: ServerProcess) -> int:
    """Give the bytes of memory of the server."""
    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)


def test_upload(server: ServerProcess, tmp_path: Path) -> None:
    """Files and standard input reach the job; its result is printed."""
    path = tmp_path / "one"
    path.write_bytes(b"1234")
    done = server.command(
        "upload", "demo.count_upload", "-f", str(path), "-f", "-", input_text="56"
    )
    assert [(f["filename"], f["bytes"]) for f in json.loads(done.stdout)] == [
        ("one", 4),
        ("stdin", 2),
    ]
    assert "demo.count_upload SUCCESS" in done.stderr


def test_names_that_are_no_text(server: ServerProcess, tmp_path: Path) -> None:
    """Names of files are bytes: what UTF-8 cannot say is sent as a question mark."""
    path = tmp_path / "a\udcff"
    server.command("download", "demo.stream", "3", "-o", str(path))
    done = server.command("upload", "demo.count_upload", "-f", str(path))
    (received,) = json.loads(done.stdout)
    assert (received["filename"], received["bytes"]) == ("a?", 3)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("upload", "demo.noop", "-f", "/dev/null"), 1, "demo.noop takes no upload"),
        (("upload", "demo.count_upload", "-f", "/nowhere"), 2, "does not exist"),
        (("download", "demo.stream", "1", "-o", "/nowhere/x"), 2, "/nowhere/x: No"),
    ],
)
def test_what_does_not_work(
    server: ServerProcess, arguments: tuple[str, ...], code: int, text: str
) -> None:
    """It says what, and leaves no file."""
    done = server.command(*arguments, check=False)
    assert done.returncode == code
    assert text in done.stderr
    assert not Path("x").exists()


def test_download_appears_when_it_is_complete(
    server: ServerProcess, tmp_path: Path
) -> None:
    """A file that is there is whole; a broken one goes, and the exit code tells."""
    path = tmp_path / "random.bin"
    server.command("download", "demo.stream", "100000", "3", "-o", str(path))
    assert path.stat().st_size == 100_000
    other = str(tmp_path / "other.bin")
    with started(server, "download", "demo.stream", str(2**40), "-o", other) as running:
        jobs: list[dict[str, int]] = []
        while not jobs:
            found = server.command("--json", "job", "ls", "--state", "RUNNING")
            jobs = json.loads(found.stdout)
        server.command("job", "abort", str(jobs[0]["id"]))
        assert running.wait(PATIENCE) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["random.bin"]


def test_interrupted_download(server: ServerProcess, tmp_path: Path) -> None:
    """Ctrl-C leaves nothing behind, and the job does not go on."""
    path = tmp_path / "x"
    part = tmp_path / ".x.part"
    with started(
        server, "download", "demo.stream", str(2**40), "-o", str(path)
    ) as running:
        while not (part.exists() and part.stat().st_size):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130
    assert list(tmp_path.iterdir()) == []
    found = server.command("--json", "job", "ls", "--limit", "1")
    job = json.loads(found.stdout)[0]["id"]
    assert server.command("job", "wait", str(job), check=False).returncode == 1


def test_files_take_constant_memory(server: ServerProcess) -> None:
    """Byte for byte from the server and back to it, through a pipe and over a file."""
    before = memory_of(server)
    for options in ((), ("--buffered",)):
        arguments = ("download", "demo.stream", str(SIZE), "9", *options)
        with (
            started(server, *arguments) as source,
            started(server, "upload", "demo.count_upload", "-f", "-", "--json") as sink,
        ):
            assert source.stdout is not None
            assert sink.stdin is not None
            digest, size = hashlib.sha256(), 0
            while data := source.stdout.read(1 << 16):
                digest.update(data)
                size += len(data)
                sink.stdin.write(data)
            found = json.loads(sink.communicate(timeout=PATIENCE)[0])
            assert source.wait(PATIENCE) == 0
        assert (size, found[0]["bytes"]) == (SIZE, SIZE)
        assert found[0]["sha256"] == digest.hexdigest()
    assert memory_of(server) - before < GROWTH
