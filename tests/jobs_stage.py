"""Jobs that a test holds in its hand: they begin, wait and end when it says so."""

import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
from jobs_wire import PATIENCE, Wire, open_wire

from middlewared import Plugin
from middlewared.testing import RunningServer, running_server
from middlewared_auth import JOB_USER
from middlewared_jobs import Job, job

USERS = (JOB_USER,)


class Gate:
    """What one body waits for, and what a test knows of it."""

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self.opened = anyio.Event()
        self.flag = threading.Event()

    def open(self) -> None:
        """Let the body go on."""
        self.opened.set()
        self.flag.set()

    async def wait_entered(self) -> None:
        """Wait until the body is there."""
        with anyio.fail_after(PATIENCE):
            await self.entered.wait()

    def enter_from_thread(self) -> None:
        """Say from a thread that the body is there."""
        anyio.from_thread.run_sync(self.entered.set)


class Stage:
    """The gates of one test, and the order in which bodies passed them.

    Attributes:
        ran: names of the bodies that began, in order.
        inside: names of the bodies that are in now.
    """

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.inside: list[str] = []
        self._gates: dict[str, Gate] = {}

    def __getitem__(self, name: str) -> Gate:
        return self._gates.setdefault(name, Gate())

    def open(self, *names: str) -> None:
        """Open gates, all that exist when none is named."""
        for name in names or tuple(self._gates):
            self[name].open()

    async def pass_gate(self, name: str) -> str:
        """Enter, wait for the gate, leave."""
        self.ran.append(name)
        self.inside.append(name)
        gate = self[name]
        gate.entered.set()
        try:
            await gate.opened.wait()
        finally:
            self.inside.remove(name)
        return name


def stage_plugin(stage: Stage) -> Plugin:
    """Declare the jobs of a stage, namespace ``t``."""
    plugin = Plugin("t", requires=("jobs",))
    _add_plain(plugin, stage)
    _add_threads(plugin, stage)
    _add_locks(plugin, stage)
    return plugin


def _add_plain(plugin: Plugin, stage: Stage) -> None:
    @plugin.method(roles=USERS)
    @job(abortable=True)
    async def hold(job: Job, name: str) -> str:
        """Wait for a gate."""
        return await stage.pass_gate(name)

    @plugin.method(roles=USERS)
    @job
    async def fixed(job: Job, name: str) -> str:
        """Wait for a gate; not abortable."""
        return await stage.pass_gate(name)

    @plugin.method(roles=USERS)
    @job(transient=True, abortable=True)
    async def fleeting(job: Job, name: str) -> str:
        """Wait for a gate and leave no history."""
        return await stage.pass_gate(name)

    @plugin.method(roles=USERS)
    @job
    async def echo(job: Job, value: Any = None) -> Any:
        """Return the value."""
        return value


def _add_threads(plugin: Plugin, stage: Stage) -> None:
    @plugin.method(roles=USERS)
    @job(abortable=True)
    def attentive(job: Job, name: str) -> str:
        """Wait for a gate in a thread and look at the flag."""
        gate = stage[name]
        gate.enter_from_thread()
        while not gate.flag.wait(0.005):
            job.check_aborted()
        return name

    @plugin.method(roles=USERS)
    @job(lock="deaf", abortable=True)
    def deaf(job: Job, name: str) -> str:
        """Wait for a gate in a thread and never look at the flag."""
        gate = stage[name]
        gate.enter_from_thread()
        gate.flag.wait()
        return name


def _add_locks(plugin: Plugin, stage: Stage) -> None:
    @plugin.method(roles=USERS)
    @job(lock="l:{lock}", abortable=True)
    async def locked(job: Job, name: str, lock: str = "x") -> str:
        """Wait for a gate and hold a lock meanwhile."""
        return await stage.pass_gate(name)

    @plugin.method(roles=USERS)
    @job(lock="alone", lock_queue_size=0, abortable=True)
    async def alone(job: Job, name: str) -> str:
        """Run only when nobody else runs or waits."""
        return await stage.pass_gate(name)

    @plugin.method(roles=USERS)
    @job(lock="shared", lock_queue_size=1, abortable=True)
    async def shared(job: Job, name: str, *, depth: int = 3) -> str:
        """Let one wait; equal calls share it."""
        return await stage.pass_gate(name)

    @plugin.method(roles=USERS)
    @job(lock="shared", lock_queue_size=1)
    async def neighbour(job: Job, name: str, *, depth: int = 3) -> str:
        """Take the lock of ``shared`` in another method."""
        return await stage.pass_gate(name)

    @plugin.method(roles=USERS)
    @job(lock="pair", lock_queue_size=2, abortable=True)
    async def pair(job: Job, name: str) -> str:
        """Let two wait; equal calls share the last one that is equal."""
        return await stage.pass_gate(name)


class World:
    """A running server with the jobs of a stage, and clients for it."""

    def __init__(self, server: RunningServer, stage: Stage) -> None:
        self.server = server
        self.stage = stage

    @contextlib.asynccontextmanager
    async def admin(
        self, *, new_style: bool = True, watch: bool = True
    ) -> AsyncIterator[Wire]:
        """Connect as a full admin, over the unix socket."""
        path = self.server.socket_path
        async with open_wire(path, new_style=new_style, watch=watch) as wire:
            yield wire

    @contextlib.asynccontextmanager
    async def user(
        self, name: str, *, new_style: bool = True, watch: bool = True
    ) -> AsyncIterator[Wire]:
        """Connect as an account, over TCP."""
        async with open_wire(
            self.server.ws_url, login=(name, "pw"), new_style=new_style, watch=watch
        ) as wire:
            yield wire

    async def add_user(self, name: str, *roles: str) -> int:
        """Make an account with the password ``pw``."""
        account = {"username": name, "password": "pw", "roles": list(roles or USERS)}
        made = await self.server.context.call("user.create", account)
        return int(made["id"])


@contextlib.asynccontextmanager
async def running_world(
    *plugins: Plugin,
    data_dir: Path | None = None,
    kernel: dict[str, Any] | None = None,
    stage: Stage | None = None,
    tables: dict[str, dict[str, Any]] | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """Run a server with the stage's jobs and *plugins*.

    Args:
        plugins: declared in the test.
        data_dir: a temporary folder by default.
        kernel: settings of the kernel.
        stage: of the plugins that have gates; a new one by default.
        tables: settings of other plugins.
        settings: of the table ``jobs``.
    """
    stage = stage or Stage()
    async with running_server(
        stage_plugin(stage),
        *plugins,
        data_dir=data_dir,
        tables={"jobs": settings, **(tables or {})},
        **{"interrupt_grace": 0.05, **(kernel or {})},
    ) as server:
        try:
            yield World(server, stage)
        finally:
            stage.open()
