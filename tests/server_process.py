"""The real program as a process: started, stopped, killed, started again."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from wire_starts import Done, shared_starts

ADMIN_PASSWORD = "correct horse battery"
START_SECONDS = 30.0
STOP_SECONDS = 20.0

#: Settings that make tests fast without changing what is tested.
CONFIG = """
log_level = "info"
shutdown_grace = 3.0
[auth]
failure_delay = 0.05
"""


class ServerProcess:
    """``middlewared serve`` on 127.0.0.1, port 0, with a data directory.

    Attributes:
        data_dir: the data directory.
        url: base URL, ``http://127.0.0.1:PORT``.
        ws_url: where WebSocket clients connect.
        admin_password: of the account ``admin``; None when there is no account.
        output: lines the program printed.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        config: str = CONFIG,
        admin_password: str | None = ADMIN_PASSWORD,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.admin_password = admin_password
        self.output: list[str] = []
        self.url = ""
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self._arguments = arguments
        self._config = data_dir.parent / f"{data_dir.name}.toml"
        self._config.parent.mkdir(parents=True, exist_ok=True)
        self._config.write_text(config)
        self._extra = environment or {}
        self._lines: queue.Queue[str | None] = queue.Queue()

    @property
    def ws_url(self) -> str:
        return f"ws{self.url.removeprefix('http')}/api/current"

    @property
    def socket_path(self) -> Path:
        return self.data_dir / "middlewared.sock"

    @property
    def login_link(self) -> str:
        """Make a one-time login link for ``admin``."""
        path = self.command("call", "auth.login_link", "admin").stdout.strip()
        return f"{self.url}{path}"

    def command(
        self, *arguments: str, input_text: str | None = None, check: bool = True
    ) -> Done:
        """Run ``middlewared`` with this server's data directory."""
        environment = {"MIDDLEWARED_DATA_DIR": str(self.data_dir), **self._extra}
        done = shared_starts().run(
            *arguments, environment=environment, input_text=input_text
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments} ended with {done}")
        return done

    def start(self) -> None:
        """Start the program and wait until it listens."""
        self.begin()
        self.url = self.wait_line(r"Listening on (https?://[^/\s]+)")
        self.port = int(self.url.rpartition(":")[2])

    def begin(self) -> None:
        """Start the program, and do not wait."""
        self._lines = queue.Queue()
        listen = f"127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "middlewared.cli",
                "serve",
                "--data-dir",
                str(self.data_dir),
                "--config",
                str(self._config),
                "--listen",
                listen,
                *self._arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | self._extra,
        )
        self._reader = threading.Thread(
            target=self._read, args=(self.process, self._lines), daemon=True
        )
        self._reader.start()

    def _read(
        self, process: subprocess.Popen[str], lines: queue.Queue[str | None]
    ) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.output.append(line)
                lines.put(line)
        lines.put(None)

    def wait_line(self, pattern: str, seconds: float = START_SECONDS) -> str:
        """Wait for a line of output; give the pattern's group."""
        while True:
            line = self._lines.get(timeout=seconds)
            assert line is not None, "the server ended: " + "".join(self.output)
            found = re.search(pattern, line)
            if found:
                return found[1] if found.groups() else found[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the program with a signal and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(STOP_SECONDS)
        # What it wrote last; a child that outlives it may hold the pipe.
        self._reader.join(1)
        return code

    def kill(self) -> None:
        """Kill the program the hard way."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def restart(self) -> None:
        """Stop the program if it runs and start it on the same port and data."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.start()

    def __enter__(self) -> Self:
        if self.admin_password is not None and not self.data_dir.exists():
            self.command(
                "user",
                "add",
                "admin",
                "--role",
                "FULL_ADMIN",
                "--password-stdin",
                "--data-dir",
                str(self.data_dir),
                input_text=self.admin_password + "\n",
            )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
