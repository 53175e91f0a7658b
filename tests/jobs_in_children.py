"""A plugin whose jobs run in child processes and behave in every way there is.

A module of its own, because children import it by name.
"""

import contextlib
import ctypes
import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from middlewared import CallError, Plugin, Secret, ValidationError, ValidationErrors
from middlewared.database import Database
from middlewared.settings import Settings
from middlewared_auth import JOB_USER
from middlewared_jobs import Job, JobAborted, job

__all__ = ["BADLY", "RAISED", "Limits", "plugin"]

USERS = (JOB_USER,)
SECONDS = 60.0


class Limits(msgspec.Struct, frozen=True):
    """Settings of the plugin."""

    depth: Annotated[int, Meta(ge=0)] = 3


class Given(msgspec.Struct):
    """What a child knows of its job."""

    id: int
    attempt: int
    user: str
    full_admin: bool
    pid: int
    session: int
    depth: int
    data_dir: str


class Key(msgspec.Struct):
    """A result with a secret."""

    name: str
    key: Secret[str]


plugin = Plugin("p", requires=("jobs",), settings=Limits)


class Mute(Exception):
    """An exception without a text."""


class Busy(CallError):
    """An error of the plugin's own."""


class Nasty(Exception):
    """An exception that breaks whoever looks at it."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")

    def __repr__(self) -> str:
        raise RuntimeError("nor this")


#: What a body may raise, by name.
RAISED: dict[str, BaseException] = {
    "call": CallError("no luck", 13),
    "call_extra": CallError("no luck", 5, {"path": "/x", "when": {1}}),
    "call_unencodable": CallError("no luck", 5, complex(1, 2)),
    "own": Busy("the pool is busy", 16, ["tank"]),
    "validation": ValidationError("path", "is bad", 2),
    "validations": ValidationErrors(
        [ValidationError("a", "one"), ValidationError("b.c", "two", 17)]
    ),
    "plain": ValueError("plain text"),
    "mute": Mute(),
    "nasty": Nasty(),
    "surrogate": RuntimeError("file \udcff is missing"),
    "os": FileNotFoundError(2, "No such file", "/x"),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "generator": GeneratorExit(),
    "aborted": JobAborted(),
    "stop": StopIteration(1),
    "group": ExceptionGroup("several", [ValueError("one"), TypeError("two")]),
    "huge": ValueError("x" * 300_000),
}


def segfault() -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


def close_everything() -> None:
    """Close every descriptor, as daemons do."""
    os.closerange(0, 1024)


def take_over() -> None:
    """Close every descriptor and open files that get their numbers."""
    os.closerange(0, 1024)
    for _ in range(64):
        os.open(os.devnull, os.O_RDWR)


def close_stdout() -> None:
    """Close the stream, and with it descriptor 1."""
    sys.stdout.close()


def fork_and_return() -> None:
    """Fork; both processes come back from the body."""
    if os.fork():
        os.wait()


def fork_and_stay() -> None:
    """Fork a process that outlives the body."""
    if not os.fork():
        time.sleep(SECONDS)


#: What a body may do to its process, by name.
BADLY: dict[str, Callable[[], object]] = {
    "segfault": segfault,
    "os_exit": lambda: os._exit(3),
    "os_exit_0": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "abort": os.abort,
    "close_everything": close_everything,
    "take_over": take_over,
    "fork_and_return": fork_and_return,
    "fork_and_stay": fork_and_stay,
    "chdir": lambda: os.chdir("/"),
    "umask": lambda: os.umask(0o777),
    "environ": lambda: os.environ.update(LEFT="behind"),
    "stdout": close_stdout,
    "no_stdout": lambda: setattr(sys, "stdout", None),
    "alarm": lambda: signal.alarm(1),
    "thread": lambda: threading.Thread(target=time.sleep, args=(SECONDS,)).start(),
    "handler": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "setsid": lambda: subprocess.Popen(["sleep", "0"], start_new_session=True),
}


def _note(path: str, text: str) -> None:
    """Write a file that is whole as soon as it is there."""
    part = Path(path + ".part")
    part.write_text(text)
    part.rename(path)


@plugin.method(roles=USERS)
@job(process=True, logs=True)
def given(job: Job) -> Given:
    """Tell what a child knows of its job."""
    who = job.context.credentials
    assert who is not None
    return Given(
        job.id,
        job.attempt,
        who.username,
        who.full_admin,
        os.getpid(),
        os.getsid(0),
        job.context.get(Limits).depth,
        str(job.context.get(Settings).data_path),
    )


@plugin.method(roles=USERS)
@job(process=True)
def services(job: Job) -> None:
    """Ask for something that lives in the server."""
    job.context.get(Database)


@plugin.method(roles=USERS)
@job(process=True)
def echo(job: Job, value: Any = None, *, times: int = 1) -> Any:
    """Return the value."""
    return [value] * times if times != 1 else value


@plugin.method(roles=USERS)
@job(process=True)
def pid(job: Job) -> int:
    """Return the number of the child."""
    return os.getpid()


@plugin.method(roles=USERS)
@job(process=True)
def fail(job: Job, kind: str) -> None:
    """Raise in a child."""
    raise RAISED[kind]


@plugin.method(roles=USERS)
@job
def fail_in_thread(job: Job, kind: str) -> None:
    """Raise in a thread, to compare."""
    raise RAISED[kind]


@plugin.method(roles=USERS)
@job(process=True)
def badly(job: Job, kind: str) -> str:
    """Do something to the process, and return the folder."""
    BADLY[kind]()
    return str(Path.cwd())


@plugin.method(roles=USERS)
@job(process=True)
def state_of_child(job: Job) -> dict[str, Any]:
    """Tell what an earlier job of the child may have changed."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "folder": str(Path.cwd()),
        "umask": umask,
        "left": os.environ.get("LEFT"),
        "pid": os.getpid(),
        "threads": threading.active_count(),
    }


@plugin.method(roles=USERS)
@job(process=True)
def unencodable(job: Job) -> Any:
    """Return something that has no form on the wire."""
    return sys.stdout


@plugin.method(roles=USERS)
@job(process=True)
def large(job: Job, size: int) -> str:
    """Return a long text."""
    return "x" * size


@plugin.method(roles=USERS)
@job(process=True, logs=True)
def secrets(job: Job, password: Secret[str]) -> Key:
    """Say a secret wherever something can be said, and return one."""
    text = password.get()
    job.log.info("logged %s", text)
    sys.stdout.write(f"printed {text}\n")
    os.write(1, f"written {text}\n".encode())
    subprocess.run(["echo", "echoed", text], check=True)
    job.logs_fd.write(f"raw {text}\n".encode())
    return Key("k", Secret("result-" + text))


@plugin.method(roles=USERS)
@job(process=True, logs=True)
def chatty(job: Job) -> None:
    """Write to the log in every way."""
    job.log.info("from the logger")
    job.logs_fd.write(b"raw \xff bytes\n")
    sys.stdout.write("printed\n")
    sys.stderr.write("to stderr\n")
    subprocess.run(["echo", "from a process"], check=True)
    logging.getLogger("library").warning("from a library")
    job.log.warning("é last")
    sys.stdout.write("no newline at the end")


@plugin.method(roles=USERS)
@job(process=True, logs=True)
def crash_with_log(job: Job) -> None:
    """Crash in a job that has a log."""
    segfault()


@plugin.method(roles=USERS)
@job(process=True)
def prints(job: Job, text: str) -> None:
    """Print without a log."""
    sys.stdout.write(f"{text}\n")


@plugin.method(roles=USERS)
@job(process=True, abortable=True)
def storm(job: Job, calls: int, threads: int) -> int:
    """Set progress very often from many threads."""

    def blow() -> None:
        for number in range(calls // threads):
            job.set_progress(100 * number / calls, f"{number}", {"number": number})

    crowd = [threading.Thread(target=blow) for _ in range(threads - 1)]
    for thread in crowd:
        thread.start()
    blow()
    for thread in crowd:
        thread.join()
    job.set_progress(99, "last", {"number": -1})
    job.set_description("after the storm")
    return calls


@plugin.method(roles=USERS)
@job(process=True)
def odd_progress(job: Job) -> None:
    """Set progress that cannot be sent as it is."""
    job.set_progress(10, extra=object())
    job.set_progress(20, extra="x" * 100_000)
    job.set_progress(30, "file \udcff")


@plugin.method(roles=USERS)
@job(process=True, abortable=True, lock="held:{name}")
def hold(job: Job, path: str, how: str = "sleep", name: str = "x") -> str:
    """Say that it runs by a file with its pid, and go on until it is ended.

    *how* says what it does meanwhile, and whether it listens.
    """
    _note(path, str(os.getpid()))
    deadline = time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            HOLDS[how](job)
    except JobAborted:
        if how == "clean":
            _note(path, "cleaned")
        elif how == "deaf":
            time.sleep(SECONDS)  # it came before the body was deaf
        raise
    return "not ended"


def _stay_deaf(job: Job) -> None:
    with contextlib.suppress(JobAborted):
        time.sleep(SECONDS)


def _run_process(job: Job) -> None:
    subprocess.run(["sleep", str(SECONDS)], check=True)


def _see_no_signal(job: Job) -> None:
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)


#: What `hold` does until it is ended, by name.
HOLDS: dict[str, Callable[[Job], object]] = {
    "sleep": lambda job: time.sleep(SECONDS),
    "clean": lambda job: time.sleep(SECONDS),
    "burn": lambda job: hashlib.sha256(bytes(100_000)).digest(),
    "progress": lambda job: job.set_progress(description="x"),
    "log": lambda job: job.log.info("x"),
    "wait": lambda job: threading.Event().wait(),
    "process": _run_process,
    "deaf": _stay_deaf,
    "native": _see_no_signal,
}


@plugin.method(roles=USERS)
@job(process=True, abortable=True)
def family(job: Job, path: str) -> None:
    """Start processes that ignore SIGTERM, and go on for ever."""
    script = "trap '' TERM HUP INT; echo $$; while :; do sleep 1; done"
    found = []
    for group in (None, 0):
        process = subprocess.Popen(
            ["sh", "-c", script], stdout=subprocess.PIPE, text=True, process_group=group
        )
        assert process.stdout is not None
        found.append(process.stdout.readline().strip())
    forked = os.fork()
    if not forked:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(SECONDS)
        os._exit(0)
    found += [str(forked), str(os.getpid())]
    _note(path, " ".join(found))
    time.sleep(SECONDS)
