"""What plugin authors test with: a running server, and a clock to drive."""

from pathlib import Path

import httpx
import pytest

from middlewared import CallError, Context, Plugin
from middlewared.client import connect
from middlewared.clock import Clock
from middlewared.errors import SettingsError
from middlewared.testing import ManualClock, running_server
from middlewared_jobs import Job, job


def pool_plugin() -> Plugin:
    """Declare a method, a job, and a setting that the clock answers."""
    plugin = Plugin("pool", requires=("jobs",))

    @plugin.method(public=True)
    async def now(ctx: Context) -> int:
        """Tell the time, in milliseconds."""
        return ctx.clock.time_ms()

    @plugin.method
    @job
    async def scrub(job: Job, pool: str) -> str:
        """Scrub a pool."""
        job.set_progress(50, "half")
        return f"{pool} is clean"

    return plugin


class TestManualClock:
    """A clock that stands still until it is told to go on."""

    def test_stands_still(self) -> None:
        """Reading it does not move it."""
        clock = ManualClock()
        assert clock.time_ms() == clock.time_ms() == 1_800_000_000_000
        assert clock.monotonic() == clock.monotonic() == 0.0

    def test_advance(self) -> None:
        """Both of its times go on together, to the millisecond."""
        clock = ManualClock(5)
        for seconds in (1, 0.25, 1.001):
            clock.advance(seconds)
        assert clock.time_ms() == 5 + 2251
        assert clock.monotonic() == pytest.approx(2.251)

    def test_set(self) -> None:
        """The wall clock can be set, forward and back; no time passes by that."""
        clock = ManualClock(5)
        clock.set(1_000)
        assert clock.time_ms() == 1_000
        clock.set(2)
        assert clock.time_ms() == 2
        assert clock.monotonic() == 0.0

    async def test_server_takes_it(self) -> None:
        """What the server tells is what the test says."""
        clock = ManualClock(1_000)
        async with running_server(pool_plugin(), clock=clock) as running:
            assert running.context.get(Clock) is clock  # type: ignore[type-abstract]  # by protocol
            assert await running.context.call("pool.now") == 1_000
            clock.advance(2)
            assert await running.context.call("pool.now") == 3_000


class TestRunningServer:
    """The real server, with a real database and real sockets."""

    async def test_everything_is_served(self) -> None:
        """Methods, jobs and pages, over the port and over the unix socket."""
        async with running_server(pool_plugin()) as running:
            async with running.client() as client:
                assert isinstance(await client.call("pool.now"), int)
                assert await client.job("pool.scrub", "tank") == "tank is clean"
                assert (await client.call("auth.me"))["pw_uid"] is not None
            async with connect(running.url) as client:
                assert await client.call("core.ping") == "pong"
                with pytest.raises(CallError, match="Not authenticated"):
                    await client.call("pool.scrub", "tank")
            async with httpx.AsyncClient() as http:
                answer = await http.get(f"{running.url}/healthz")
            assert answer.json() == {"status": "ok"}

    async def test_urls(self) -> None:
        """A free port of this machine, never reachable from others."""
        async with running_server() as running:
            assert running.url.startswith("http://127.0.0.1:")
            assert running.ws_url == f"ws{running.url[4:]}/api/current"
            assert running.socket_path.is_socket()

    async def test_nothing_is_left(self) -> None:
        """The folder of its data goes with it."""
        async with running_server() as running:
            data_path = running.app.settings.data_path
            assert (data_path / "middlewared.db").exists()
        assert not data_path.exists()

    async def test_given_folder_is_kept(self, tmp_path: Path) -> None:
        """A second start finds what the first one left."""
        async with running_server(data_dir=tmp_path) as running:
            await running.context.call("demo.noop", 5)
        async with running_server(data_dir=tmp_path) as running:
            (found,) = await running.context.call(
                "core.get_jobs", [["method", "=", "demo.noop"]]
            )
        assert found["result"] == 5

    async def test_settings(self) -> None:
        """Kernel settings by keyword, those of plugins as tables."""
        async with running_server(
            max_calls=5, tables={"auth": {"failure_delay": 0.5}}
        ) as running:
            assert running.app.settings.max_calls == 5
        with pytest.raises(SettingsError, match="unknown field `nosuch`"):
            async with running_server(tables={"auth": {"nosuch": 1}}):
                pass

    async def test_two_at_once(self) -> None:
        """Tests may run several servers in one process."""
        async with running_server() as one, running_server() as two:
            assert one.url != two.url
            async with one.client() as client:
                assert await client.call("core.ping") == "pong"

    async def test_failing_test_stops_it(self) -> None:
        """Its error comes out as it is, and nothing listens any more."""
        paths: list[Path] = []

        async def failing_test() -> None:
            async with running_server() as running:
                paths.append(running.socket_path)
                raise KeyError("of the test")

        with pytest.raises(KeyError, match="of the test"):
            await failing_test()
        assert not paths[0].exists()
