"""The ``middlewared`` program at a terminal and in scripts, against the real server."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess

from middlewared.client.sync import Client

#: Seconds a command may take before a test fails; far more than any needs.
PATIENCE = 30.0

PLUGIN = '''
"""Jobs that the demo does not have."""

import anyio

from middlewared import CallError, Context, Plugin
from middlewared_jobs import Job, job

plugin = Plugin("odd", requires=("jobs",))


@plugin.method
@job
async def stubborn(job: Job, seconds: float) -> None:
    """Sleep, and be not abortable."""
    await anyio.sleep(seconds)


@plugin.method
@job(logs=True, abortable=True)
async def chatty(job: Job, lines: int) -> None:
    """Write a line every tenth of a second."""
    for number in range(lines):
        job.log.info("line %d é", number)
        await anyio.sleep(0.1)


@plugin.method
async def refuse(ctx: Context) -> None:
    """Fail with details."""
    raise CallError("the pool is busy", 16, {"pool": "tank"})
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Give a server that the tests of this module share."""
    folder = tmp_path_factory.mktemp("terminal")
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "middlewared_odd.py").write_text(PLUGIN)
    with ServerProcess(
        folder / "data", arguments=("--plugins-dir", str(plugins))
    ) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    """Give a client that looks at what the commands did."""
    with Client(server.socket_path) as connected:
        yield connected


Result = subprocess.CompletedProcess[str]


def run(server: ServerProcess, *words: str, stdin: str | None = None) -> Result:
    """Run a command that talks to the server's socket."""
    return server.command(*words, input_text=stdin, check=False)


def output(server: ServerProcess, *words: str, stdin: str | None = None) -> str:
    """Run a command that succeeds, and give what it printed."""
    result = run(server, *words, stdin=stdin)
    assert result.returncode == 0, result.stderr
    return result.stdout


def document(server: ServerProcess, *words: str, stdin: str | None = None) -> Any:
    """Run a command that succeeds with --json, and give the document."""
    return json.loads(output(server, *words, "--json", stdin=stdin))


def newest(client: Client, method: str) -> dict[str, Any]:
    """Give the record of the newest job of a method."""
    options = {"order_by": ["-id"], "limit": 1}
    (record,) = client.call("job.query", [["method", "=", method]], options)
    assert isinstance(record, dict)
    return record


def spawn(
    server: ServerProcess | Path, *words: str, **options: Any
) -> subprocess.Popen[str]:
    """Start a command in the background."""
    folder = server if isinstance(server, Path) else server.data_dir
    environment = os.environ | {"MIDDLEWARED_DATA_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "middlewared.cli", *words],
        text=True,
        env=environment | {"TERM": "xterm-256color", "PYTHONUNBUFFERED": "1"},
        **options,
    )


class Terminal:
    """A command on a terminal of 100 columns and 30 lines.

    Attributes:
        text: everything that was written to the terminal.
        stdout: what a command that only has its errors there wrote to its output.
    """

    def __init__(
        self, server: ServerProcess, *words: str, only_errors: bool = False
    ) -> None:
        self.text = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = spawn(
            server,
            *words,
            stdin=slave,
            stdout=subprocess.PIPE if only_errors else slave,
            stderr=slave,
        )
        os.close(slave)

    def read_until(self, pattern: str) -> str:
        """Read until the pattern shows up; give all that was read so far."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.text):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.text!r}"
            if select.select([self._master], [], [], left)[0]:
                try:
                    self.text += os.read(self._master, 65536).decode(errors="replace")
                except OSError:
                    # Linux: the other end is closed.
                    assert re.search(pattern, self.text), self.text
        return self.text

    def finish(self) -> int:
        """Read to the end and give the exit code."""
        while select.select([self._master], [], [], PATIENCE)[0]:
            try:
                self.text += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                break
        os.close(self._master)
        return self.process.wait(PATIENCE)


# ping, addresses, logins


def test_ping(server: ServerProcess) -> None:
    """The server on this host is found through its data directory."""
    assert re.fullmatch(r"pong \(\d+\.\d ms\)\n", output(server, "ping"))
    assert document(server, "ping")["answer"] == "pong"


def test_ping_by_url(server: ServerProcess) -> None:
    """A URL, the address of the dashboard, HOST:PORT and a socket path all do."""
    host_port = server.url.removeprefix("http://")
    for url in (
        server.url,
        f"{server.url}/ui/",
        server.ws_url,
        host_port,
        str(server.socket_path),
        f"ws+unix://{server.socket_path}",
    ):
        assert "pong" in output(server, "--url", url, "ping")


def test_no_server(server: ServerProcess, tmp_path: Path) -> None:
    """Without a server the exit code is 3 and the message says where none was."""
    result = run(server, "ping", "--data-dir", str(tmp_path))
    assert result.returncode == 3
    assert result.stderr == (
        f"middlewared: cannot connect to {tmp_path}/middlewared.sock: "
        "there is no such socket; is the server running?\n"
    )
    result = run(server, "ping", "--url", "127.0.0.1:1", "--json")
    assert result.returncode == 3
    assert json.loads(result.stderr)["error"]["kind"] == "CannotConnect"


@pytest.mark.parametrize(
    "words",
    [
        ("ping", "--url", "ftp://host"),
        ("no-such-command",),
        ("call",),
        ("call", "core.ping", "--no-such-option"),
        ("call", "core.ping", "-", "-"),
        ("ping", "--password-stdin"),
        ("job", "ls", "--state", "DONE"),
        ("job", "show", "seven"),
    ],
    ids=" ".join,
)
def test_wrong_usage(server: ServerProcess, words: tuple[str, ...]) -> None:
    """Wrong usage is exit code 2, with a message and no traceback."""
    result = run(server, *words)
    assert result.returncode == 2
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_login(server: ServerProcess) -> None:
    """Over the network one logs in with a password, an API key or a token."""
    by_url = ("--url", server.url)
    by_password = (*by_url, "--user", "admin", "--password-stdin")
    password = f"{server.admin_password}\n"
    who = ("call", "auth.me", "--json")
    result = run(server, *by_url, *who)
    assert result.returncode == 1
    assert json.loads(result.stderr)["error"]["errname"] == "ENOTAUTHENTICATED"
    key = output(server, "key", "add", "admin", "laptop").strip()
    make_token = ("call", "auth.generate_token", *by_password)
    token = output(server, *make_token, stdin=password).strip()
    for login in (
        by_password,
        (*by_url, "--api-key", key),
        (*by_url, "--api-key", key, "--user", "admin"),
        (*by_url, "--token", token),
    ):
        text = output(server, *who, *login, stdin=password)
        assert json.loads(text)["pw_name"] == "admin"


def test_login_from_the_environment(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts keep address and password in the environment."""
    monkeypatch.setenv("MIDDLEWARED_URL", server.url)
    monkeypatch.setenv("MIDDLEWARED_USER", "admin")
    monkeypatch.setenv("MIDDLEWARED_PASSWORD", server.admin_password or "")
    command = [sys.executable, "-m", "middlewared.cli", "call", "auth.me", "--json"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(text)["pw_name"] == "admin"


def test_wrong_password(server: ServerProcess) -> None:
    """Refused credentials are exit code 1 and one sentence."""
    result = run(
        server,
        *("ping", "--url", server.url, "--user", "admin", "--password-stdin"),
        stdin="wrong\n",
    )
    assert (result.returncode, result.stderr) == (
        1,
        "middlewared: login failed: the server does not accept these credentials\n",
    )


def test_hint_to_log_in(server: ServerProcess) -> None:
    """Who is not logged in is told how to."""
    result = run(server, "job", "ls", "--url", server.url)
    assert result.returncode == 1
    assert "--api-key" in result.stderr


# call


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("demo.noop", "text"), "text\n"),
        (("demo.noop", "5"), "5\n"),
        (("demo.noop", "-5"), "-5\n"),
        (("demo.noop", '"5"'), "5\n"),
        (("demo.noop",), "null\n"),
        (("demo.noop", '{"a": [1, "ü"]}'), '{\n  "a": [\n    1,\n    "ü"\n  ]\n}\n'),
        (("demo.noop", '{"a": [1, "ü"]}', "--json"), '{"a":[1,"ü"]}\n'),
        (("demo.noop", "text", "--json"), '"text"\n'),
        (("core.ping",), "pong\n"),
    ],
)
def test_result(server: ServerProcess, words: tuple[str, ...], text: str) -> None:
    """Args are JSON or text, and so is the result; -j also takes a plain method."""
    assert output(server, "call", "-j", *words) == text


def test_param_from_stdin(server: ServerProcess) -> None:
    """A - stands for standard input."""
    big = json.dumps(list(range(20_000)))
    text = output(server, "call", "-j", "-q", "--json", "demo.noop", "-", stdin=big)
    assert json.loads(text) == list(range(20_000))


def test_job_without_j(server: ServerProcess) -> None:
    """Without -j a job method prints the id of its job."""
    job_id = start_job(server, "demo.noop")
    assert document(server, "job", "show", str(job_id))["method"] == "demo.noop"


def test_progress_off_a_terminal(server: ServerProcess) -> None:
    """Off a terminal -j writes a line per state to standard error."""
    result = run(server, "call", "-j", "demo.sleep", "0.2", "2")
    lines = result.stderr.splitlines()
    assert result.returncode == 0
    assert re.fullmatch(r"job \d+ demo\.sleep SUCCESS after .*", lines[-1])
    assert len(lines) <= 3


def test_descriptions(server: ServerProcess) -> None:
    """With -jp description each new description is a line."""
    result = run(server, "call", "-j", "-jp", "description", "demo.sleep", "1", "2")
    for step in (1, 2):
        assert f"step {step} of 2" in result.stderr


def test_quiet(server: ServerProcess) -> None:
    """With -q or --json nothing but the result is written."""
    for option in ("-q", "--json"):
        result = run(server, "call", "-j", option, "demo.sleep", "0.1")
        assert result.stderr == ""
        assert float(result.stdout) >= 0.1


def test_progress_bar(server: ServerProcess) -> None:
    """On a terminal -j draws a bar with percent, words and time, then the result."""
    terminal = Terminal(
        server, "call", "-j", "demo.sleep", "1.5", "10", only_errors=True
    )
    terminal.read_until(r"[1-9]0%.*step \d+ of 10")
    assert terminal.finish() == 0
    assert terminal.process.stdout is not None
    with terminal.process.stdout as stdout:
        assert float(stdout.read()) >= 1.5
    for part in ("━", "demo.sleep", "100%", "✔", "step 10 of 10"):
        assert part in terminal.text
    assert re.search(r"1\.[5-9]s|2\.\ds", terminal.text)
    # The cursor is visible again.
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l")


def test_progress_bar_of_a_failure(server: ServerProcess) -> None:
    """A failure leaves a marked bar and says where to read more."""
    terminal = Terminal(server, "call", "-j", "demo.fail", "boom", "5")
    assert terminal.finish() == 1
    assert "✘" in terminal.text
    assert "failed: [EIO] boom" in terminal.text
    assert "middlewared job show" in terminal.text


def test_call_error(server: ServerProcess) -> None:
    """An error of a method is exit code 1, with its details, in words and as JSON."""
    result = run(server, "call", "odd.refuse")
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "middlewared: [EBUSY] the pool is busy",
        "  {",
        '    "pool": "tank"',
        "  }",
    ]
    result = run(server, "call", "odd.refuse", "--json")
    error = json.loads(result.stderr)["error"]
    assert (result.returncode, result.stdout) == (1, "")
    assert (error["code"], error["errno"], error["errname"], error["extra"]) == (
        -32001,
        16,
        "EBUSY",
        {"pool": "tank"},
    )


def test_refused_params(server: ServerProcess) -> None:
    """Params that do not fit are listed; with and without -j no job is made."""
    before = document(server, "job", "ls", "--limit", "1")
    for option in ((), ("-j",)):
        result = run(server, "call", *option, "demo.sleep", "long", "0")
        assert result.returncode == 1
        assert "does not accept these params\n" in result.stderr
        assert re.search(r"\n  (seconds|steps): ", result.stderr)
    assert document(server, "job", "ls", "--limit", "1") == before


def test_unknown_method(server: ServerProcess) -> None:
    """An unknown method is exit code 1 and says how to find the known ones."""
    result = run(server, "call", "demo.nothing")
    assert result.returncode == 1
    assert "does not exist" in result.stderr
    assert "middlewared methods" in result.stderr


def test_failed_job(server: ServerProcess) -> None:
    """A failed job is exit code 1; --json has job, state and traceback."""
    result = run(server, "call", "-j", "--json", "demo.fail", "boom", "13")
    error = json.loads(result.stderr)["error"]
    assert (result.returncode, result.stdout) == (1, "")
    assert error["state"] == "FAILED"
    assert error["errname"] == "EACCES"
    assert "Traceback" in error["exception"]
    assert document(server, "job", "show", str(error["job"]))["state"] == "FAILED"


def test_result_that_cannot_be_sent(server: ServerProcess) -> None:
    """A success whose result has no form on the wire is a success, and says so."""
    result = run(server, "call", "-j", "demo.unencodable")
    assert result.returncode == 0
    assert result.stdout == "null\n"
    assert "its result cannot be sent" in result.stderr


def test_transient_job(server: ServerProcess) -> None:
    """A job that leaves no history is waited for like any other."""
    assert output(server, "call", "-j", "demo.transient", "0.2") == "null\n"


def test_aborted_job(server: ServerProcess) -> None:
    """A job that somebody aborts is exit code 4 for who waits."""
    job_id = start_job(server, "demo.sleep", "60")
    waiting = spawn(
        server, "job", "wait", str(job_id), stderr=subprocess.PIPE, stdin=-3
    )
    assert waiting.stderr is not None
    with waiting.stderr as stderr:
        assert "RUNNING" in stderr.readline()
        output(server, "job", "abort", str(job_id))
        assert f"job {job_id} was aborted" in stderr.read()
    assert waiting.wait(PATIENCE) == 4


def test_interrupt(server: ServerProcess) -> None:
    """Ctrl-C leaves the job running, says how to abort it, and is exit code 130."""
    call = spawn(server, "call", "-j", "demo.sleep", "60", stderr=subprocess.PIPE)
    assert call.stderr is not None
    with call.stderr as stderr:
        line = stderr.readline()
        while "RUNNING" not in line:
            line = stderr.readline()
        call.send_signal(signal.SIGINT)
        words = stderr.read()
    assert call.wait(PATIENCE) == 130
    job_id = re.search(r"middlewared job abort (\d+)", words)
    assert job_id is not None, words
    assert "Traceback" not in words
    assert document(server, "job", "show", job_id[1])["state"] == "RUNNING"
    output(server, "job", "abort", job_id[1], "--wait")


# job


def test_job_ls(server: ServerProcess) -> None:
    """Jobs are listed newest first, filtered by state and method, up to a limit."""
    ids = [start_job(server, "demo.noop", str(n)) for n in range(3)]
    run(server, "call", "-j", "-q", "demo.fail", "boom")
    jobs = document(server, "job", "ls", "--method", "demo.noop", "--limit", "3")
    assert [one["id"] for one in jobs] == ids[::-1]
    for one in document(server, "job", "ls", "--state", "failed", "--method", "demo.*"):
        assert one["state"] == "FAILED"
        assert one["method"].startswith("demo.")
    everything = document(server, "job", "ls", "--all")
    assert [one["id"] for one in everything] == sorted(
        (one["id"] for one in everything), reverse=True
    )
    assert document(server, "job", "ls", "--method", "demo.nothing") == []


def test_job_ls_for_people(server: ServerProcess) -> None:
    """Off a terminal the list is a line per job without header, on one with."""
    job_id = start_job(server, "demo.noop")
    (line,) = output(server, "job", "ls", "--limit", "1").splitlines()
    assert line.split()[0] == str(job_id)
    assert "demo.noop" in line
    assert "\x1b" not in line
    terminal = Terminal(server, "job", "ls", "--limit", "3")
    assert terminal.finish() == 0
    assert "METHOD" in terminal.text
    assert "\x1b[32mSUCCESS" in terminal.text


def test_job_show(server: ServerProcess) -> None:
    """One job is shown with params, times, traceback; as JSON with its whole record."""
    run(server, "call", "-j", "-q", "demo.fail", "boom", "5")
    (job,) = document(server, "job", "ls", "--method", "demo.fail", "--limit", "1")
    text = output(server, "job", "show", str(job["id"]))
    for part in (
        f"job {job['id']}  demo.fail  FAILED",
        '["boom",5]',
        "[EIO] boom",
        "Traceback",
    ):
        assert part in text
    record = document(server, "job", "show", str(job["id"]))
    assert record["uid"]
    assert record["exc_info"]["errno"] == 5


@pytest.mark.parametrize("command", ["show", "logs", "abort", "wait"])
def test_unknown_job(server: ServerProcess, command: str) -> None:
    """A job that is not there is exit code 1 and one clear message."""
    result = run(server, "job", command, "987654321")
    assert (result.returncode, result.stdout) == (1, "")
    assert "987654321" in result.stderr
    assert "Traceback" not in result.stderr


def test_job_logs(server: ServerProcess) -> None:
    """The whole log is printed, however long, and as JSON in pieces."""
    count = 3_000
    run(server, "call", "-j", "-q", "demo.log", str(count))
    (job,) = document(server, "job", "ls", "--method", "demo.log", "--limit", "1")
    for option in ((), ("-f",)):
        text = output(server, "job", "logs", str(job["id"]), *option)
        lines = text.splitlines()
        assert len(lines) == count
        assert lines[0].endswith(f"line 1 of {count}")
        assert lines[-1].endswith(f"line {count} of {count}")
        pieces = [
            json.loads(line)
            for line in output(
                server, "job", "logs", str(job["id"]), *option, "--json"
            ).splitlines()
        ]
        assert "".join(piece["data"] for piece in pieces) == text
        assert pieces[-1]["offset"] == len(text.encode())


def test_job_without_log(server: ServerProcess) -> None:
    """A job that keeps no log says so."""
    job_id = start_job(server, "demo.noop")
    result = run(server, "job", "logs", str(job_id))
    assert result.returncode == 1
    assert "no logs" in result.stderr


def test_job_logs_live(server: ServerProcess) -> None:
    """With -f lines appear while the job runs, and the command ends with the job."""
    job_id = start_job(server, "odd.chatty", "600")
    tail = spawn(server, "job", "logs", "-f", str(job_id), stdout=subprocess.PIPE)
    assert tail.stdout is not None
    with tail.stdout as stdout:
        assert stdout.readline().endswith("line 0 é\n")
        assert document(server, "job", "show", str(job_id))["state"] == "RUNNING"
        output(server, "job", "abort", str(job_id), "--wait")
        lines = stdout.read().splitlines()
    assert tail.wait(PATIENCE) == 0
    numbers = [int(line.split()[-2]) for line in lines]
    assert numbers == list(range(1, len(numbers) + 1))


def test_abort_waiting(server: ServerProcess) -> None:
    """A waiting job is aborted at once, and the answer says so."""
    holder = start_job(server, "demo.locked", "60", "terminal")
    waiting = start_job(server, "demo.locked", "60", "terminal")
    text = output(server, "job", "abort", str(waiting))
    assert text.startswith(f"job {waiting} demo.locked ABORTED")
    job = document(server, "job", "abort", str(holder), "--wait")
    assert (job["id"], job["state"]) == (holder, "ABORTED")


def test_abort_ended(server: ServerProcess) -> None:
    """Aborting a job that ended in another way is told, exit code 1."""
    run(server, "call", "-j", "-q", "demo.noop")
    (job,) = document(server, "job", "ls", "--method", "demo.noop", "--limit", "1")
    result = run(server, "job", "abort", str(job["id"]))
    assert result.returncode == 1
    assert "had ended before" in result.stdout


def test_abort_not_abortable(server: ServerProcess) -> None:
    """A job that is not abortable goes on, unless an admin insists."""
    job_id = start_job(server, "odd.stubborn", "60")
    result = run(server, "job", "abort", str(job_id))
    assert result.returncode == 1
    assert "EPERM" in result.stderr
    text = output(server, "job", "abort", str(job_id), "--force", "--wait")
    assert "ABORTED" in text


def test_job_wait(server: ServerProcess) -> None:
    """Waiting gives the result of a job, running or ended, and its exit code."""
    job_id = start_job(server, "demo.sleep", "0.5")
    for _ in range(2):
        assert float(output(server, "job", "wait", "-q", str(job_id))) >= 0.5
    failed = start_job(server, "demo.fail", "boom")
    assert run(server, "job", "wait", str(failed)).returncode == 1


# watch, subscribe, methods


def test_watch_lines(server: ServerProcess) -> None:
    """Off a terminal watch prints a line per event."""
    watch = spawn(server, "watch", "-n", "3", stdout=subprocess.PIPE)
    _feed(server, watch)
    text, _ = watch.communicate(timeout=PATIENCE)
    assert watch.returncode == 0
    lines = text.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(r"\d\d:\d\d:\d\d (added|changed) +job \d+ demo\..*", line)


def test_watch_json(server: ServerProcess) -> None:
    """With --json watch prints each event as the wire has it."""
    watch = spawn(server, "watch", "-n", "4", "--json", stdout=subprocess.PIPE)
    _feed(server, watch)
    text, _ = watch.communicate(timeout=PATIENCE)
    assert watch.returncode == 0
    events = [json.loads(line) for line in text.splitlines()]
    assert len(events) == 4
    assert all(event["collection"] == "core.get_jobs" for event in events)
    assert all(event["fields"]["id"] == event["id"] for event in events)


def _feed(server: ServerProcess, command: subprocess.Popen[str]) -> None:
    """Make events until a command that counts them has ended."""
    deadline = time.monotonic() + PATIENCE
    while command.poll() is None and time.monotonic() < deadline:
        run(server, "call", "-j", "-q", "demo.noop")


def test_watch_table(server: ServerProcess) -> None:
    """On a terminal watch draws a table that follows the jobs."""
    job_id = start_job(server, "demo.sleep", "60", "600")
    terminal = Terminal(server, "watch")
    terminal.read_until(rf"{job_id}.*demo\.sleep.*RUNNING")
    terminal.read_until(r"step \d+ of 600")
    output(server, "job", "abort", str(job_id))
    terminal.read_until(rf"{job_id}.*demo\.sleep.*ABORTED")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.text
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l")


def test_output_that_nobody_reads(server: ServerProcess) -> None:
    """A reader that has enough, like head, ends the command without complaint."""
    start_job(server, "odd.chatty", "20")
    (job,) = document(server, "job", "ls", "--method", "odd.chatty", "--limit", "1")
    command = spawn(
        server,
        *("job", "logs", "-f", str(job["id"])),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None
    assert command.stderr is not None
    with command.stderr as stderr:
        command.stdout.readline()
        command.stdout.close()
        assert stderr.read() == ""
    assert command.wait(PATIENCE) == 0


def test_subscribe(server: ServerProcess) -> None:
    """Notifications are lines of JSON, up to the count."""
    command = spawn(
        server, "subscribe", "core.get_jobs", "-n", "2", stdout=subprocess.PIPE
    )
    _feed(server, command)
    text, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0
    assert [json.loads(line)["collection"] for line in text.splitlines()] == [
        "core.get_jobs",
        "core.get_jobs",
    ]


def test_subscribe_with_a_timeout(server: ServerProcess) -> None:
    """A timeout ends the command; with a count that was not reached it is a failure."""
    event = ("subscribe", 'job.logs:{"id":987654321}', "-t", "0.3")
    assert run(server, "subscribe", "core.get_jobs", "-t", "0.3").returncode == 0
    result = run(server, "subscribe", "core.get_jobs", "-t", "0.3", "-n", "50")
    assert result.returncode == 1
    assert "fewer than 50 notifications in 0.3 s" in result.stderr
    assert run(server, *event).returncode == 1


def test_methods(server: ServerProcess) -> None:
    """Methods are listed by prefix, with jobs marked and what they do."""
    table = document(server, "methods", "demo.")
    assert table["demo.sleep"]["job"] is True
    assert all(name.startswith("demo.") for name in table)
    text = output(server, "methods")
    assert re.search(r"^demo\.noop +job +Return", text, re.MULTILINE)
    assert re.search(r"^core\.ping {2,}\S", text, re.MULTILINE)


# user and key


def test_accounts(server: ServerProcess) -> None:
    """Accounts and keys are added, listed, used and removed on a running server."""
    _try_accounts(server)


def test_accounts_with_the_server_stopped(tmp_path: Path) -> None:
    """The same commands work on the database while no server runs."""
    _try_accounts(ServerProcess(tmp_path / "data", admin_password=None))


def _try_accounts(server: ServerProcess) -> None:
    add = ("user", "add", "bob", "--role", "JOB_USER", "--password-stdin")
    assert output(server, *add, stdin="open sesame 1\n") == "added user bob\n"
    again = run(server, *add, stdin="open sesame 1\n")
    assert again.returncode == 1
    assert "bob" in again.stderr
    (bob,) = [u for u in document(server, "user", "ls") if u["username"] == "bob"]
    assert bob["roles"] == ["JOB_USER"]
    assert re.search(r"bob +JOB_USER", output(server, "user", "ls"))
    key = document(server, "key", "add", "bob", "laptop", "--role", "JOB_USER")
    assert key["key"].startswith(f"{key['id']}-")
    keys = output(server, "key", "ls")
    assert re.search(r"bob .*laptop", keys)
    assert key["key"] not in keys
    if server.process is not None:
        job = ("call", "-j", "demo.noop", "5", "--url", server.url)
        assert output(server, *job, "--api-key", key["key"]) == "5\n"
        password = ("--user", "bob", "--password-stdin")
        assert output(server, *job, *password, stdin="open sesame 1\n") == "5\n"
        users = run(server, "user", "ls", "--url", server.url, "--api-key", key["key"])
        assert users.returncode == 1
    output(server, "key", "rm", str(key["id"]))
    assert "laptop" not in output(server, "key", "ls")
    assert output(server, "user", "rm", "bob") == "removed user bob\n"
    gone = run(server, "user", "rm", "bob")
    assert (gone.returncode, gone.stderr) == (
        1,
        "middlewared: [ENOENT] there is no user bob\n",
    )


def test_new_account_needs_a_password(server: ServerProcess) -> None:
    """Without a terminal to ask, a missing password is wrong usage."""
    result = run(server, "user", "add", "bob", stdin="")
    assert result.returncode == 2
    assert "--password-stdin" in result.stderr


# completion


def test_completion(server: ServerProcess) -> None:
    """The script for bash loads and completes commands."""
    program = f"{sys.executable} -m middlewared.cli"
    script = f'eval "$({program} completion bash)" && type _middlewared_completion'
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "_middlewared_completion is a function" in result.stdout


# serve


def _serve(*words: str, data_dir: Path) -> Result:
    command = [sys.executable, "-m", "middlewared.cli", "serve"]
    return subprocess.run(
        [*command, "--data-dir", str(data_dir), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_serve_refuses(server: ServerProcess, tmp_path: Path) -> None:
    """What prevents a start is one line and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "file").write_text("")
        (tmp_path / "bad.toml").write_text("listen = 5\n")
        anywhere = ("--listen", "127.0.0.1:0")
        for words, folder, part in (
            (("--listen", busy), tmp_path / "a", busy.rpartition(":")[2]),
            (anywhere, server.data_dir, str(server.data_dir)),
            (anywhere, tmp_path / "file" / "data", "file"),
            (("--listen", "here"), tmp_path / "b", "HOST:PORT"),
            (("--listen", "0.0.0.0:0"), tmp_path / "c", "insecure"),
            (("--unix", "/" + 120 * "x"), tmp_path / "d", "107"),
            (("--config", str(tmp_path / "bad.toml")), tmp_path / "e", "listen"),
            (("--config", str(tmp_path / "no.toml")), tmp_path / "f", "no.toml"),
            (("--plugins-dir", str(tmp_path / "no")), tmp_path / "g", "no"),
        ):
            result = _serve(*words, data_dir=folder)
            lines = result.stderr.splitlines()
            assert result.returncode == 2, (words, result.stderr)
            assert len(lines) == 1, (words, result.stderr)
            assert lines[0].startswith("middlewared: "), words
            assert part in lines[0], words


# Lost connections


def test_lost_for_good(server_process: ServerProcess) -> None:
    """When the server dies and stays away, who waits for a job leaves with 3."""
    call = spawn(
        server_process,
        *("call", "-j", "demo.sleep", "60", "--give-up-after", "1"),
        stderr=subprocess.PIPE,
    )
    assert call.stderr is not None
    with call.stderr as stderr:
        assert "demo.sleep" in stderr.readline()
        server_process.kill()
        words = stderr.read()
    assert call.wait(PATIENCE) == 3
    assert "no connection again in 1 s" in words
    assert "Traceback" not in words


def test_server_comes_back(server_process: ServerProcess) -> None:
    """Who waits for a job, watches or reads a log goes on after a restart."""
    job_id = start_job(server_process, "demo.sleep", "60")
    wait = spawn(
        server_process, "job", "wait", "-q", str(job_id), stderr=subprocess.PIPE
    )
    watch = spawn(server_process, "watch", "--json", stdout=subprocess.PIPE)
    assert watch.stdout is not None
    run(server_process, "call", "-j", "-q", "demo.noop", "before")
    first = json.loads(watch.stdout.readline())
    assert first["collection"] == "core.get_jobs"
    server_process.kill()
    server_process.restart()
    _, words = wait.communicate(timeout=PATIENCE)
    assert wait.returncode == 1
    assert f"job {job_id} failed: " in words
    with watch.stdout as stdout:
        deadline = time.monotonic() + PATIENCE
        seen = ""
        while '["after"]' not in seen and time.monotonic() < deadline:
            run(server_process, "call", "-j", "-q", "demo.noop", "after")
            seen += stdout.readline()
        watch.terminate()
        watch.wait(PATIENCE)
    assert '"arguments":["after"]' in seen
