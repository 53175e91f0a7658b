"""The ``middlewared`` program at a terminal and in scripts, against the real server."""

import fcntl
import json
import os
import pty
import re
import select
import signal
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
from wire_starts import Done

from middlewared.client import JobFailed
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
        # A server that stops waits for its jobs; those of a failed test are left.
        for item in connected.call("core.get_jobs", [["time_finished", "=", None]]):
            connected.call("job.abort", item["id"], {"force": True})


def run(server: ServerProcess, *words: str, stdin: str | None = None) -> Done:
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
    server: ServerProcess | Path,
    *words: str,
    **options: Any,
) -> subprocess.Popen[str]:
    """Start a command in the background."""
    folder = server if isinstance(server, Path) else server.data_dir
    environment = os.environ | {"MIDDLEWARED_DATA_DIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-m", "middlewared.cli", *words],
        text=True,
        env=environment | {"TERM": "xterm-256color", "PYTHONUNBUFFERED": "1"},
        **options,
    )
    SPAWNED.append(process)
    return process


#: Commands in the background of the present test.
SPAWNED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def no_command_stays() -> Iterator[None]:
    """End the commands that a failed test left behind."""
    yield
    while SPAWNED:
        process = SPAWNED.pop()
        if process.poll() is None:
            process.kill()
            process.wait()


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

    def write(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

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
    """The server on this host is found through its data directory, others by URL."""
    assert re.fullmatch(r"pong \(\d+\.\d ms\)\n", output(server, "ping"))
    assert document(server, "ping", "--url", f"{server.url}/ui/")["answer"] == "pong"


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
        ("job", "show", "seven"),
        ("call", "-j", "demo.noop", "a\udcff"),
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


def test_without_login(server: ServerProcess) -> None:
    """Refused credentials are exit code 1; who has none is told how to log in."""
    by_url = ("--url", server.url)
    result = run(
        server,
        *("ping", *by_url, "--user", "admin", "--password-stdin"),
        stdin="wrong\n",
    )
    assert (result.returncode, result.stderr) == (
        1,
        "middlewared: login failed: the server does not accept these credentials\n",
    )
    result = run(server, "job", "ls", *by_url)
    assert result.returncode == 1
    assert "--api-key" in result.stderr
    result = run(server, "job", "ls", *by_url, "--json")
    assert json.loads(result.stderr)["error"]["errname"] == "ENOTAUTHENTICATED"


# call


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("demo.noop", "-5"), "-5\n"),
        (("demo.noop", "text", "--json"), '"text"\n'),
        (("demo.noop", '{"a": [1, "ü"]}'), '{\n  "a": [\n    1,\n    "ü"\n  ]\n}\n'),
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


def test_job_without_j(server: ServerProcess, client: Client) -> None:
    """Without -j a job method prints the id of its job."""
    job_id = int(output(server, "call", "demo.noop", "5"))
    assert client.attach(job_id).result() == 5


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


@pytest.mark.parametrize("option", ["-q", "--json"])
def test_quiet(server: ServerProcess, option: str) -> None:
    """With -q or --json nothing but the result is written."""
    result = run(server, "call", "-j", option, "demo.sleep", "0.1")
    assert result.stderr == ""
    assert float(result.stdout) >= 0.09


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
    # The time is there, and the cursor visible again.
    assert re.search(r"\d\.\ds", terminal.text)
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


def test_refused_params(server: ServerProcess, client: Client) -> None:
    """Params that do not fit are listed; with and without -j no job is made."""
    before = client.call("core.get_jobs", [], {"count": True})
    for option in ((), ("-j",)):
        result = run(server, "call", *option, "demo.sleep", "long", "0")
        assert result.returncode == 1
        assert "does not accept these params\n" in result.stderr
        assert re.search(r"\n  (seconds|steps): ", result.stderr)
    assert client.call("core.get_jobs", [], {"count": True}) == before


def test_unknown_method(server: ServerProcess) -> None:
    """An unknown method is exit code 1 and says how to find the known ones."""
    result = run(server, "call", "demo.nothing")
    assert result.returncode == 1
    assert "does not exist" in result.stderr
    assert "middlewared methods" in result.stderr


def test_failed_job(server: ServerProcess, client: Client) -> None:
    """A failed job is exit code 1; --json has job, state and traceback."""
    result = run(server, "call", "-j", "--json", "demo.fail", "boom", "13")
    error = json.loads(result.stderr)["error"]
    assert (result.returncode, result.stdout) == (1, "")
    assert error["state"] == "FAILED"
    assert error["errname"] == "EACCES"
    assert "Traceback" in error["exception"]
    assert client.call("job.get", error["job"])["state"] == "FAILED"


def test_result_that_cannot_be_sent(server: ServerProcess) -> None:
    """A success whose result has no form on the wire is a success, and says so."""
    result = run(server, "call", "-j", "demo.unencodable")
    assert result.returncode == 0
    assert result.stdout == "null\n"
    assert "its result cannot be sent" in result.stderr


def test_transient_job(server: ServerProcess) -> None:
    """A job that leaves no history is waited for like any other."""
    assert output(server, "call", "-j", "demo.transient", "0.2") == "null\n"


def test_interrupt(server: ServerProcess, client: Client) -> None:
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
    assert "Traceback" not in words
    found = re.search(r"middlewared job abort (\d+)", words)
    assert found is not None, words
    job = client.attach(int(found[1]))
    assert job.item["state"] == "RUNNING"
    job.abort()


# job


def test_job_ls(server: ServerProcess, client: Client) -> None:
    """Jobs are listed newest first, filtered by state and method, up to a limit."""
    ids = [client.start("demo.noop", n).id for n in range(3)]
    for _ in (failing := client.start("demo.fail", "boom")):
        pass
    jobs = document(server, "job", "ls", "--method", "demo.noop", "--limit", "3")
    assert [one["id"] for one in jobs] == ids[::-1]
    failed = document(server, "job", "ls", "--state", "failed", "--method", "demo.*")
    assert failed[0]["id"] == failing.id
    assert {one["state"] for one in failed} == {"FAILED"}
    assert all(one["method"].startswith("demo.") for one in failed)
    everything = document(server, "job", "ls", "--all")
    assert [one["id"] for one in everything] == sorted(
        (one["id"] for one in everything), reverse=True
    )


def test_job_ls_for_people(server: ServerProcess, client: Client) -> None:
    """Off a terminal the list is a line per job without header, on one with."""
    client.job("demo.noop")
    (line,) = output(server, "job", "ls", "--limit", "1").splitlines()
    assert line.split()[0] == str(newest(client, "demo.noop")["id"])
    assert "\x1b" not in line
    terminal = Terminal(server, "job", "ls", "--limit", "3")
    assert terminal.finish() == 0
    assert "METHOD" in terminal.text
    assert "\x1b[32mSUCCESS" in terminal.text


def test_job_show(server: ServerProcess, client: Client) -> None:
    """One job is shown with params, times, traceback; as JSON with its whole record."""
    job = client.start("demo.fail", "boom", 5)
    assert [item["state"] for item in job][-1] == "FAILED"
    text = output(server, "job", "show", str(job.id))
    title = f"job {job.id}  demo.fail  FAILED"
    for part in (title, '["boom",5]', "[EIO] boom", "Traceback"):
        assert part in text
    record = document(server, "job", "show", str(job.id))
    assert record["uid"]
    assert record["exc_info"]["errno"] == 5


@pytest.mark.parametrize("command", ["show", "logs", "abort", "wait"])
def test_unknown_job(server: ServerProcess, command: str) -> None:
    """A job that is not there is exit code 1 and one clear message."""
    result = run(server, "job", command, "987654321")
    assert (result.returncode, result.stdout) == (1, "")
    assert "987654321" in result.stderr
    assert "Traceback" not in result.stderr


def test_job_logs(server: ServerProcess, client: Client) -> None:
    """The whole log is printed, however long, and as JSON in pieces."""
    count = 3_000
    job = client.start("demo.log", count)
    assert job.result() == count
    for option in ((), ("-f",)):
        text = output(server, "job", "logs", str(job.id), *option)
        lines = text.splitlines()
        assert len(lines) == count
        assert lines[0].endswith(f"line 1 of {count}")
        assert lines[-1].endswith(f"line {count} of {count}")
        pieces = [
            json.loads(line)
            for line in output(
                server, "job", "logs", str(job.id), *option, "--json"
            ).splitlines()
        ]
        assert "".join(piece["data"] for piece in pieces) == text
        assert pieces[-1]["offset"] == len(text.encode())


def test_job_without_log(server: ServerProcess, client: Client) -> None:
    """A job that keeps no log says so."""
    result = run(server, "job", "logs", str(client.start("demo.noop").id))
    assert result.returncode == 1
    assert "no logs" in result.stderr


def test_job_logs_live(server: ServerProcess, client: Client) -> None:
    """With -f lines appear while the job runs, and the command ends with the job."""
    job = client.start("odd.chatty", 600)
    tail = spawn(server, "job", "logs", "-f", str(job.id), stdout=subprocess.PIPE)
    assert tail.stdout is not None
    with tail.stdout as stdout:
        assert stdout.readline().endswith("line 0 é\n")
        assert job.item["state"] == "RUNNING"
        job.abort()
        lines = stdout.read().splitlines()
    assert tail.wait(PATIENCE) == 0
    numbers = [int(line.split()[-2]) for line in lines]
    assert numbers == list(range(1, len(numbers) + 1))


def test_retry_and_forget(server: ServerProcess, client: Client) -> None:
    """An ended job runs again, with another param, and is forgotten."""
    first = client.start("demo.sleep", 0)
    list(first)
    again = int(output(server, "job", "retry", str(first.id)))
    assert again != first.id
    text = output(server, "job", "retry", str(first.id), "-j", "--param", "seconds=0.1")
    assert 0.1 <= float(text) < 5
    keyed = [output(server, "job", "retry", str(first.id), "--key", "k") for _ in "ab"]
    assert keyed[0] == keyed[1]
    output(server, "job", "wait", keyed[0].strip())
    output(server, "job", "wait", str(again))
    assert output(server, "job", "rm", str(first.id), str(again)) == ""
    assert run(server, "job", "show", str(again)).returncode == 1


def test_what_a_job_cannot(server: ServerProcess, client: Client) -> None:
    """Restart and pause are refused in words where the method does not know them."""
    done = client.start("demo.sleep", 0)
    list(done)
    for command, word in (("restart", "ENOTSUP"), ("pause", "EBUSY"), ("resume", "")):
        refused = run(server, "job", command, str(done.id))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert word in refused.stderr
    assert "no =" in run(server, "job", "retry", "1", "--param", "x").stderr


def test_abort_waiting(server: ServerProcess, client: Client) -> None:
    """A waiting job is aborted at once, and the answer says so."""
    holder = client.start("demo.locked", 60, "terminal")
    waiting = client.start("demo.locked", 60, "terminal")
    text = output(server, "job", "abort", str(waiting.id))
    assert text.startswith(f"job {waiting.id} demo.locked ABORTED")
    job = document(server, "job", "abort", str(holder.id), "--wait")
    assert (job["id"], job["state"]) == (holder.id, "ABORTED")


def test_abort_ended(server: ServerProcess, client: Client) -> None:
    """Aborting a job that ended in another way is told, exit code 1."""
    job = client.start("demo.noop")
    job.result()
    result = run(server, "job", "abort", str(job.id))
    assert result.returncode == 1
    assert "had ended before" in result.stdout


def test_abort_not_abortable(server: ServerProcess, client: Client) -> None:
    """A job that is not abortable goes on, unless an admin insists."""
    job = client.start("odd.stubborn", 60)
    result = run(server, "job", "abort", str(job.id))
    assert result.returncode == 1
    assert "EPERM" in result.stderr
    text = output(server, "job", "abort", str(job.id), "--force", "--wait")
    assert "ABORTED" in text


def test_job_wait(server: ServerProcess, client: Client) -> None:
    """Waiting gives the result of a job, running or ended, and its exit code."""
    slow, failed = client.start("demo.sleep", 1.5), client.start("demo.fail", "boom")
    for _ in range(2):
        assert float(output(server, "job", "wait", "-q", str(slow.id))) >= 1.5
    assert run(server, "job", "wait", str(failed.id)).returncode == 1


def test_wait_for_an_aborted_job(server: ServerProcess, client: Client) -> None:
    """A job that somebody aborts is exit code 4 for who waits."""
    job = client.start("demo.sleep", 60)
    waiting = spawn(server, "job", "wait", str(job.id), stderr=subprocess.PIPE)
    assert waiting.stderr is not None
    with waiting.stderr as stderr:
        assert "RUNNING" in stderr.readline()
        job.abort()
        assert f"job {job.id} was aborted" in stderr.read()
    assert waiting.wait(PATIENCE) == 4


# watch, subscribe, methods


def feed(client: Client, command: subprocess.Popen[str]) -> str:
    """Make events until a command that counts them has ended; give its output."""
    deadline = time.monotonic() + PATIENCE
    while command.poll() is None and time.monotonic() < deadline:
        client.job("demo.sleep", 0.05)
    text, _ = command.communicate(timeout=1)
    assert command.returncode == 0
    return text


def test_watch_lines(server: ServerProcess, client: Client) -> None:
    """Off a terminal watch prints a line per event."""
    command = spawn(server, "watch", "-n", "3", stdout=subprocess.PIPE)
    lines = feed(client, command).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(r"\d\d:\d\d:\d\d (added|changed) +job \d+ demo\..*", line)


def test_watch_json(server: ServerProcess, client: Client) -> None:
    """With --json watch prints each event as the wire has it."""
    command = spawn(server, "watch", "-n", "4", "--json", stdout=subprocess.PIPE)
    events = [json.loads(line) for line in feed(client, command).splitlines()]
    assert len(events) == 4
    assert all(event["collection"] == "core.get_jobs" for event in events)
    assert all(event["fields"]["id"] == event["id"] for event in events)


def test_watch_table(server: ServerProcess, client: Client) -> None:
    """On a terminal watch draws a table that follows the jobs."""
    job = client.start("demo.sleep", 60, 600)
    terminal = Terminal(server, "watch")
    terminal.read_until(rf"{job.id}.*demo\.sleep.*RUNNING")
    terminal.read_until(r"step \d+ of 600")
    job.abort()
    terminal.read_until(rf"{job.id}.*demo\.sleep.*ABORTED")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.text
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l")


def test_output_that_nobody_reads(server: ServerProcess, client: Client) -> None:
    """A reader that has enough, like head, ends the command without complaint."""
    job = client.start("odd.chatty", 600)
    command = spawn(
        server,
        *("job", "logs", "-f", str(job.id)),
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
    job.abort()


def test_subscribe(server: ServerProcess, client: Client) -> None:
    """Notifications are lines of JSON, up to the count."""
    command = spawn(
        server, "subscribe", "core.get_jobs", "-n", "2", stdout=subprocess.PIPE
    )
    text = feed(client, command)
    assert [json.loads(line)["collection"] for line in text.splitlines()] == [
        "core.get_jobs",
        "core.get_jobs",
    ]


def test_subscribe_with_options(server: ServerProcess, client: Client) -> None:
    """Conditions, fields, the jobs there are, and what was missed since a position."""
    client.job("demo.noop", "first")
    options = ["--snapshot", "--filter", "method=demo.noop", "--select", "state,result"]
    lines = output(server, "subscribe", "core.get_jobs", *options, "-t", "2").split(
        "\n"
    )
    found = [json.loads(line)["fields"] for line in lines if line]
    assert {"state": "SUCCESS", "result": "first"} in found
    assert all(fields.keys() == {"state", "result"} for fields in found)
    command = spawn(
        server,
        *("subscribe", "core.get_jobs", "--filter", "state=SUCCESS", "-n", "1"),
        stdout=subprocess.PIPE,
    )
    (line,) = feed(client, command).splitlines()
    event = json.loads(line)
    assert event["fields"]["state"] == "SUCCESS"
    position = f"{event['epoch']}:{event['seq'] - 1}"
    again = ["--since", position, "--filter", "state=SUCCESS", "-n", "1"]
    assert json.loads(output(server, "subscribe", "core.get_jobs", *again)) == event
    result = run(server, "subscribe", "core.get_jobs", "--since", "x:1", "-t", "0.2")
    assert "is not kept any more" in result.stderr


def test_wrong_conditions_are_refused(server: ServerProcess) -> None:
    """Before a connection is made, or by the server."""
    result = run(server, "watch", "--filter", "state")
    assert (result.returncode, "is no condition" in result.stderr) == (2, True)
    result = run(server, "subscribe", "core.get_jobs", "--filter", '["id","?",1]')
    assert result.returncode == 1
    assert "unknown operator" in result.stderr


def test_watch_some_jobs(server: ServerProcess, client: Client) -> None:
    """Those of a method, or that match a condition."""
    options = ["--method", "demo.sl*", "--filter", "state=SUCCESS"]
    command = spawn(server, "watch", "-n", "2", *options, stdout=subprocess.PIPE)
    lines = feed(client, command).splitlines()
    for line in lines:
        assert re.fullmatch(r"\S+ changed +job \d+ demo\.sleep.*SUCCESS.*", line)


def test_subscribe_with_a_timeout(server: ServerProcess) -> None:
    """A timeout ends the command; with a count that was not reached it is a failure."""
    result = run(server, "subscribe", "core.get_jobs", "-t", "0.3")
    assert result.returncode == 0
    result = run(server, "subscribe", "core.get_jobs", "-t", "0.3", "-n", "50")
    assert result.returncode == 1
    assert "fewer than 50 notifications in 0.3 s" in result.stderr


def test_subscription_that_ends_with_an_error(server: ServerProcess) -> None:
    """What the server says at the end of a subscription is the error."""
    result = run(server, "subscribe", 'job.logs:{"id":987654321}')
    assert result.returncode == 1
    assert "987654321" in result.stderr


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
    """Accounts and keys work at once on a running server, and end at once."""
    add = ("user", "add", "bob", "--role", "JOB_USER", "--password-stdin")
    assert output(server, *add, stdin="open sesame 1\n") == "added user bob\n"
    again = run(server, *add, stdin="open sesame 1\n")
    assert again.returncode == 1
    assert "bob" in again.stderr
    key = document(server, "key", "add", "bob", "laptop", "--role", "JOB_USER")
    job = ("call", "-j", "demo.noop", "5", "--url", server.url)
    assert output(server, *job, "--api-key", key["key"]) == "5\n"
    output(server, "key", "rm", str(key["id"]))
    assert run(server, *job, "--api-key", key["key"]).returncode == 1
    password = ("--user", "bob", "--password-stdin")
    assert output(server, *job, *password, stdin="open sesame 1\n") == "5\n"
    output(server, "user", "rm", "bob")
    gone = run(server, *job, *password, stdin="open sesame 1\n")
    assert gone.returncode == 1


def test_accounts_with_the_server_stopped(tmp_path: Path) -> None:
    """The same commands work on the database while no server runs."""
    stopped = ServerProcess(tmp_path / "data", admin_password=None)
    add = ("user", "add", "bob", "--role", "JOB_USER", "--password-stdin")
    assert output(stopped, *add, stdin="open sesame 1\n") == "added user bob\n"
    assert re.search(r"bob +JOB_USER", output(stopped, "user", "ls"))
    key = document(stopped, "key", "add", "bob", "laptop")
    assert key["key"].startswith(f"{key['id']}-")
    keys = output(stopped, "key", "ls")
    assert re.search(r"bob .*laptop", keys)
    assert key["key"] not in keys
    output(stopped, "key", "rm", str(key["id"]))
    assert document(stopped, "key", "ls") == []
    output(stopped, "privilege", "add", "ops", "--role", "JOB_USER")
    words = ("--add-privilege", "ops", "--expires", "2100-01-31")
    changed = document(stopped, "user", "set", "bob", *words)
    assert changed["privileges"] == ["ops"]
    assert output(stopped, "user", "rm", "bob") == "removed user bob\n"
    gone = run(stopped, "user", "rm", "bob")
    assert (gone.returncode, gone.stderr) == (
        1,
        "middlewared: [ENOENT] there is no user bob\n",
    )


def test_new_account_needs_a_password(server: ServerProcess) -> None:
    """Without a terminal to ask, a missing password is wrong usage."""
    result = run(server, "user", "add", "bob", stdin="")
    assert result.returncode == 2
    assert "--password-stdin" in result.stderr


def test_password_is_asked_for(server: ServerProcess) -> None:
    """On a terminal a password is asked for, and not shown."""
    terminal = Terminal(server, "--url", server.url, "call", "auth.me", "--user=admin")
    terminal.read_until("Password of admin: ")
    terminal.write(f"{server.admin_password}\n")
    assert terminal.finish() == 0
    assert '"pw_name": "admin"' in terminal.text
    assert str(server.admin_password) not in terminal.text


# completion


def test_completion() -> None:
    """The script for bash loads."""
    program = f"{sys.executable} -m middlewared.cli"
    script = f'eval "$({program} completion bash)" && type _middlewared_completion'
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "_middlewared_completion is a function" in result.stdout


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
    """Who waits for a job or watches goes on after a restart."""
    watch = spawn(server_process, "watch", "--json", stdout=subprocess.PIPE)
    assert watch.stdout is not None
    with Client(server_process.socket_path, reconnect=True) as client:
        job = client.start("demo.sleep", 60)
        wait = spawn(server_process, "job", "wait", str(job.id), stderr=subprocess.PIPE)
        assert wait.stderr is not None
        with wait.stderr as stderr, watch.stdout as stdout:
            assert "RUNNING" in stderr.readline()
            client.job("demo.noop", "before")
            assert json.loads(stdout.readline())["collection"] == "core.get_jobs"
            server_process.kill()
            server_process.restart()
            assert f"job {job.id} failed: " in stderr.read()
            assert wait.wait(PATIENCE) == 1
            with pytest.raises(JobFailed):
                job.result()
            # What the server did while nobody watched is told, too.
            told = ""
            while told != "FAILED":
                event = json.loads(stdout.readline())
                if event["id"] == job.id:
                    told = event["fields"]["state"]
    watch.terminate()
    watch.wait(PATIENCE)
