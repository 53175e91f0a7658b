"""Our server and its rivals as processes of their own, on the core of the servers."""

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import msgspec
import psutil
from benchmarks.cores import server_side
from benchmarks.load import Address, LoadClient
from server_process import ADMIN_PASSWORD, ServerProcess

__all__ = [
    "Bench",
    "Rival",
    "log_in",
    "log_in_with",
    "missing",
    "our_server",
    "pid_of",
    "resident",
    "restart",
    "rival",
    "until",
]

TESTS = Path(__file__).parent.parent
#: Nothing but what keeps logs short: durability and limits are as they come.
CONFIG = 'log_level = "warning"\n'
#: Seconds between two looks of `until`.
LOOK_SECONDS = 0.02
PLUGINS = Path(__file__).parent / "plugins"


class Bench(msgspec.Struct, frozen=True):
    """How large a run is.

    Attributes:
        rounds: how often each program has its turn.
        scale: part of the full size.
        rivals: whether others run beside ours.
    """

    rounds: int = 5
    scale: float = 1.0
    rivals: bool = True

    def sized(self, full: int, least: int = 1) -> int:
        """Give the size of something that is *full* in a whole run."""
        return max(least, round(full * self.scale))

    def lasting(self, full: float) -> float:
        """Give the seconds of something that lasts so long in a whole run."""
        return max(0.5, full * self.scale)


@contextlib.contextmanager
def our_server(
    config: str = "", *, data: Path | None = None
) -> Iterator[ServerProcess]:
    """Run the real program, as it comes, on a temporary folder or on kept data."""
    with tempfile.TemporaryDirectory(prefix="middlewared-bench-") as folder:
        text = f'{CONFIG}plugins_dir = "{PLUGINS}"\n{config}'
        server = ServerProcess(
            data or Path(folder) / "data",
            config=text,
            environment={"PYTHONPATH": str(TESTS)},
        )
        with contextlib.ExitStack() as stack:
            with server_side():
                stack.enter_context(server)
            yield server


def pid_of(server: ServerProcess) -> int:
    """Give the number of the process that runs now."""
    assert server.process is not None
    return server.process.pid


def restart(server: ServerProcess) -> float:
    """Stop the program and start it again; give milliseconds to its listeners."""
    server.stop()
    server.port = 0  # others may have taken the one it had
    with server_side():
        began = time.perf_counter()
        server.start()
    return 1000 * (time.perf_counter() - began)


def resident(server: ServerProcess) -> float:
    """Give the MiB of the program that are in memory."""
    return float(psutil.Process(pid_of(server)).memory_info().rss / 2**20)


async def log_in(
    server: ServerProcess, count: int, username: str = "admin"
) -> list[LoadClient]:
    """Connect so many clients by TCP: one with the password, the others with tokens."""
    address = ("127.0.0.1", server.port)
    first = await LoadClient.open(address)
    proof = {
        "mechanism": "PASSWORD_PLAIN",
        "username": username,
        "password": ADMIN_PASSWORD,
    }
    await _prove(first, proof)
    clients = [first]
    token = await first.call("auth.generate_token")
    while len(clients) < count:
        client = await LoadClient.open(address)
        await log_in_with(token, client)
        clients.append(client)
    return clients


async def log_in_with(token: str, client: LoadClient) -> None:
    """Log a client in with a token."""
    await _prove(client, {"mechanism": "TOKEN_PLAIN", "token": token})


async def _prove(client: LoadClient, proof: dict[str, str]) -> None:
    answer = await client.call("auth.login_ex", proof)
    assert answer["response_type"] == "SUCCESS", answer


class Rival(msgspec.Struct, frozen=True):
    """A program beside ours.

    Attributes:
        process: it.
        address: where it listens.
    """

    process: subprocess.Popen[str]
    address: Address

    @property
    def pids(self) -> list[int]:
        """The processes whose CPU counts."""
        return [self.process.pid]


@contextlib.contextmanager
def rival(module: str, *arguments: str) -> Iterator[Rival]:
    """Run a module of this package that prints the port it listens on."""
    with server_side():
        process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(TESTS)},
        )
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        assert port, f"{module} {arguments} did not start"
        yield Rival(process, ("127.0.0.1", int(port)))
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a process that was started here, and its children."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.communicate()


async def until(ready: Callable[[], object]) -> None:
    """Wait until something holds that nobody tells; looking costs the load a little."""
    while True:
        if ready():
            return
        await anyio.sleep(LOOK_SECONDS)


def missing(package: str) -> bool:
    """Tell whether a package is not installed here."""
    return importlib.util.find_spec(package) is None
