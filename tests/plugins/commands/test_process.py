"""Processes: held back, let go, asked, killed, and why they do not begin."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from process_table import is_running, session_of, wait_ended, wait_until

from middlewared import CallError
from middlewared_commands import launch
from middlewared_commands.output import CappedLog, Output, Stream
from middlewared_commands.process import Place, Process
from middlewared_commands.pump import Pipes, pump

#: Says what a program sees of itself.
LOOK = """
import json, os, signal, sys
status = open("/proc/self/status").read()
print(json.dumps({
    "argv": sys.argv[1:],
    "environ": dict(os.environ),
    "cwd": os.getcwd(),
    "umask": os.umask(0),
    "nice": os.nice(0),
    "pid": os.getpid(), "session": os.getsid(0), "group": os.getpgrp(),
    "ids": [os.getresuid(), os.getresgid(), sorted(os.getgroups())],
    "ignored": int(status.split("SigIgn:")[1].split()[0], 16),
    "blocked": int(status.split("SigBlk:")[1].split()[0], 16),
    "files": sorted(os.listdir("/proc/self/fd")),
    "oom": int(open("/proc/self/oom_score_adj").read()),
}))
"""
PYTHON = [sys.executable, "-I", "-S", "-c"]


class Collected:
    """All output."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def place(*words: str, folder: str = "/", **more: Any) -> Place:
    environment = more.pop("environment", {b"PATH": os.environb[b"PATH"]})
    return Place(words=words, environment=environment, folder=folder, **more)


@contextmanager
def held(wanted: Place) -> Iterator[tuple[Process, dict[int, Stream], Collected]]:
    """Start a program that is held back; its output goes to one pipe."""
    log = Collected()
    output = Output(CappedLog(log.write, 1 << 30), None)
    with Pipes(1) as pipes, open(os.devnull) as null:  # noqa: PTH123 - for its number
        streams = {pipes.outlets[0]: Stream(output, ())}
        inlet = pipes.inlets[0]
        with Process(
            wanted, stdin=null.fileno(), stdout=inlet, stderr=inlet
        ) as process:
            pipes.close_inlets()
            yield process, streams, log


def run(wanted: Place) -> tuple[int, bytes]:
    """Run a program; give its status and its output."""
    with held(wanted) as (process, streams, log):
        process.begin()
        pump(process, streams, lambda: None)
        return process.wait(), log.data


def look(wanted: Place) -> dict[str, Any]:
    """Let a program tell what it sees."""
    status, data = run(wanted)
    assert status == 0, data
    found: dict[str, Any] = json.loads(data)
    return found


def test_what_a_program_sees() -> None:
    """Its words, its variables and no others, a session, clean signals, no files."""
    environment = {b"PATH": b"/bin", b"ODD": "\u20ac".encode()}
    words = ["a b", "", "-x", "p\u00e4th", "\n"]
    found = look(
        place(*PYTHON, LOOK, *words, environment=environment, folder="/usr", nice=3)
    )
    assert found["argv"] == words
    # This one is put there by the interpreter, when it has no other.
    assert found["environ"].pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"
    assert found["environ"] == {"PATH": "/bin", "ODD": "\u20ac"}
    assert found["cwd"] == "/usr"
    assert found["pid"] == found["session"] == found["group"]
    # Python ignores two signals itself, and those of the C library nobody can set.
    own = {signal.SIGPIPE, signal.SIGXFSZ}
    settable = sum(1 << number - 1 for number in signal.valid_signals() - own)
    assert (found["ignored"] & settable, found["blocked"]) == (0, 0)
    assert found["files"] == ["0", "1", "2", "3"]  # the last one reads the list
    assert found["nice"] == os.nice(0) + 3
    assert found["oom"] == 500
    assert found["ids"][0] == list(os.getresuid())


def test_a_shell_has_its_signals_and_no_locale() -> None:
    """A broken pipe ends it; what the starter's interpreter sets does not reach it."""
    script = "kill -PIPE $$; echo still here"
    assert run(place("sh", "-c", script)) == (-signal.SIGPIPE, b"")
    _, data = run(place("env", environment={b"PATH": os.environb[b"PATH"]}))
    assert data == b"PATH=" + os.environb[b"PATH"] + b"\n"
    environment = {b"PATH": os.environb[b"PATH"], b"LC_CTYPE": b"C"}
    assert b"LC_CTYPE=C\n" in run(place("env", environment=environment))[1]


def test_the_starter_has_none_of_the_variables(tmp_path: Path) -> None:
    """What would run code of others runs in the program, never before it."""
    mark = tmp_path / "mark"
    (tmp_path / "usercustomize.py").write_text(f"open({str(mark)!r}, 'w')")
    environment = {
        b"PATH": os.environb[b"PATH"],
        b"PYTHONPATH": os.fsencode(tmp_path),
        b"LD_PRELOAD": b"/no/such/library.so",
        b"KEY": b"hunter2",
    }
    with held(place("env", environment=environment)) as (process, streams, log):
        path = Path(f"/proc/{process.pid}")
        assert wait_until(lambda: b"launch" in (path / "cmdline").read_bytes())
        assert (path / "environ").read_bytes() == b""
        process.begin()
        pump(process, streams, lambda: None)
        assert process.wait() == 0
    assert b"KEY=hunter2\n" in log.data
    assert log.data.count(b"library.so' from LD_PRELOAD") == 1
    assert not mark.exists()


def test_an_environment_of_any_size() -> None:
    """It is handed over whole, up to what the system takes."""
    environment = {b"PATH": os.environb[b"PATH"]}
    environment |= {b"V%d" % n: b"x" * 100_000 for n in range(10)}
    status, data = run(place("env", environment=environment))
    assert status == 0
    assert data.count(b"x" * 100_000) == 10
    with pytest.raises(CallError, match="Argument list too long"):
        run(place("env", environment={b"PATH": b"/bin", b"X": b"x" * 200_000}))


def test_umask() -> None:
    """The umask is as told, or that of the server."""
    assert look(place(*PYTHON, LOOK, umask="027"))["umask"] == 0o027
    before = os.umask(0o077)
    try:
        assert look(place(*PYTHON, LOOK))["umask"] == 0o077
    finally:
        os.umask(before)


def test_it_waits_to_be_let_go(tmp_path: Path) -> None:
    """Before that it has done nothing, and when it is left it never does."""
    mark = tmp_path / "mark"
    with held(place("touch", str(mark))) as (process, _, _):
        pid = process.pid
        assert session_of(pid) == pid
        assert wait_until(
            lambda: b"launch" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
    assert not is_running(pid)
    assert not mark.exists()
    assert run(place("touch", str(mark)))[0] == 0
    assert mark.exists()


def test_killed_before_it_begins() -> None:
    """An abort that comes so early is no failure to start."""
    with held(place("sleep", "60")) as (process, streams, _):
        process.kill()
        assert wait_ended([process.pid])
        process.begin()
        pump(process, streams, lambda: None)
        assert process.wait() == -signal.SIGKILL


def test_it_dies_with_its_starter(tmp_path: Path) -> None:
    """Held back or running, also as another user, it ends when the server is killed."""
    script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from middlewared_commands.account import find_account
from middlewared_commands.process import Place, Process
null = os.open(os.devnull, os.O_RDWR)
environment = {{b"PATH": os.environb[b"PATH"]}}
other = find_account("nobody", None) if os.geteuid() == 0 else None
found = []
for account in (None, None, other):
    place = Place(["sleep", "60"], environment, "/", account)
    found.append(Process(place, stdin=null, stdout=null, stderr=null))
for process in found[1:]:
    process.begin()
print(*(process.pid for process in found), flush=True)
sys.stdin.read()
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with starter:
        assert starter.stdout is not None
        pids = [int(text) for text in starter.stdout.readline().split()]
        assert all(map(is_running, pids))
        starter.kill()
    assert wait_ended(pids)


@pytest.mark.parametrize(
    ("wanted", "number", "text"),
    [
        (
            place("no such program"),
            errno.ENOENT,
            "program 'no such program' is in none of the folders of PATH, ",
        ),
        (
            place("/no/such/program"),
            errno.ENOENT,
            "program '/no/such/program' cannot be started: No such file or directory",
        ),
        (
            place("/etc/passwd"),
            errno.EACCES,
            "program '/etc/passwd' cannot be started: Permission denied",
        ),
        (
            place("true", folder="/no/such/folder"),
            errno.ENOENT,
            "working folder '/no/such/folder' cannot be entered: No such file",
        ),
        (
            place("true", folder="/etc/passwd"),
            errno.ENOTDIR,
            "working folder '/etc/passwd' cannot be entered: Not a directory",
        ),
        (
            place("true", "x" * 200_000),
            errno.E2BIG,
            "program 'true' cannot be started: Argument list too long",
        ),
    ],
)
def test_what_cannot_begin(wanted: Place, number: int, text: str) -> None:
    """The reason is told, with what it is about."""
    with pytest.raises(CallError) as raised:
        run(wanted)
    assert raised.value.text.startswith(text)
    assert raised.value.errno == number


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    """A text without a first line for the kernel is not given to a shell."""
    path = tmp_path / "script"
    path.write_text("touch x\n")
    path.chmod(0o700)
    with pytest.raises(CallError, match="Exec format error"):
        run(place(str(path)))


def test_output_in_constant_order() -> None:
    """Both outputs come in the order in which they were written."""
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done"
    _, data = run(place("sh", "-c", script))
    assert data == b"".join(b"out %d\nerr %d\n" % (i, i) for i in (1, 2, 3))


def test_output_that_ends_before_the_program() -> None:
    """A program that closes its outputs goes on, and is waited for."""
    started = time.monotonic()
    status, data = run(place("sh", "-c", "echo x; exec >&- 2>&-; sleep 0.2; exit 7"))
    assert (status, data) == (7, b"x\n")
    assert time.monotonic() - started >= 0.2


def test_output_that_somebody_else_holds_open(tmp_path: Path) -> None:
    """What has left the session does not keep the job; what it wrote before counts."""
    script = (
        f"setsid sh -c 'echo left; echo $$ > {tmp_path}/pid; exec sleep 60' & "
        f"while [ ! -s {tmp_path}/pid ]; do sleep 0.01; done; echo end"
    )
    started = time.monotonic()
    status, data = run(place("sh", "-c", script))
    assert status == 0
    assert sorted(data.split()) == [b"end", b"left"]
    assert time.monotonic() - started < 20
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_server_that_cannot_start_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the program that is blamed."""
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(CallError, match="the server cannot start processes: No such"):
        run(place("true"))


def test_no_descriptor_is_left() -> None:
    """Runs and failures to run close what they opened."""

    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    run(place("true"))
    before = count()
    for _ in range(5):
        run(place("true"))
        with pytest.raises(CallError):
            run(place("/no/such/program"))
        with pytest.raises(CallError):
            run(place("true", "x" * 200_000))
    assert count() == before


def test_launcher_without_a_server() -> None:
    """Without its starter it becomes nothing."""
    left, right = os.pipe()
    os.close(right)
    words = [str(left), "1", "-", "-", "0", "/", "echo", "begun"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(launch.__file__), *words],
        pass_fds=[left],
        capture_output=True,
        check=False,
    )
    os.close(left)
    assert done.returncode != 0
    assert done.stdout == b""
