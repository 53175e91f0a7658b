"""What a run of some work cost: CPU of the server, seconds, how busy the load was."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec.structs import replace

__all__ = ["Run", "Sample", "Series", "alternate", "cpu_seconds", "sample"]


class Sample(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        units: how much was done: calls, deliveries, jobs.
        cpu: CPU seconds of the server's processes.
        seconds: of the wall clock.
        load_cpu: CPU seconds of what loaded the server.
        main_cpu: those of the main threads of the server's processes.
    """

    units: int
    cpu: float
    seconds: float
    load_cpu: float
    main_cpu: float = 0.0


class Series(msgspec.Struct):
    """Runs of the same work, one for each round."""

    samples: list[Sample] = msgspec.field(default_factory=list)

    @property
    def each(self) -> list[float]:
        """CPU microseconds of a unit, by round."""
        return [one.cpu / one.units * 1e6 for one in self.samples]

    @property
    def median(self) -> float:
        """CPU microseconds of a unit."""
        return statistics.median(self.each)

    @property
    def in_main(self) -> float:
        """CPU microseconds of a unit in the main thread, where a loop runs."""
        return statistics.median(s.main_cpu / s.units * 1e6 for s in self.samples)

    @property
    def spread(self) -> str:
        """The least and the most CPU microseconds of a unit."""
        return f"{min(self.each):.1f} to {max(self.each):.1f}"

    @property
    def with_load(self) -> "Series":
        """The same, with the CPU of the load on top of the server's."""
        return Series([replace(s, cpu=s.cpu + s.load_cpu) for s in self.samples])

    @property
    def rate(self) -> float:
        """Units a second."""
        return statistics.median(one.units / one.seconds for one in self.samples)

    @property
    def busy(self) -> float:
        """Part of the time that the load was busy."""
        return statistics.median(one.load_cpu / one.seconds for one in self.samples)


Run = Callable[[], Coroutine[Any, Any, Sample]]


def cpu_seconds(pids: Iterable[int]) -> float:
    """Give the CPU seconds of processes and of all their children so far.

    To the nanosecond for what lives, from the clock of each process (``man 3
    clock_getcpuclockid``); what has ended counts in hundredths of a second.
    """
    total = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                ended = one.cpu_times()
                total += time.clock_gettime((~one.pid << 3) | 2)
                total += ended.children_user + ended.children_system
    return total


def _main_seconds(pids: Iterable[int]) -> float:
    """Give the CPU seconds of the main threads of processes so far.

    To the nanosecond where the kernel counts them (``proc(5)``, schedstat), else in
    hundredths.
    """
    total = 0.0
    for pid in pids:
        try:
            counts = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text("ascii")
            total += int(counts.split()[0]) / 1e9
        except OSError:
            for thread in psutil.Process(pid).threads():
                if thread.id == pid:
                    total += thread.user_time + thread.system_time
    return total


async def sample(
    pids: Iterable[int], work: Callable[[], Coroutine[Any, Any, int]]
) -> Sample:
    """Do the work, which gives its units, and say what it cost."""
    load, began = time.process_time(), time.perf_counter()
    cpu, main = cpu_seconds(pids), _main_seconds(pids)
    units = await work()
    cpu, main = cpu_seconds(pids) - cpu, _main_seconds(pids) - main
    seconds, load = time.perf_counter() - began, time.process_time() - load
    return Sample(units, cpu, seconds, load, main)


async def alternate(rounds: int, runs: Mapping[str, Run]) -> dict[str, Series]:
    """Run all in turn, so many times; a round before the first warms them up."""
    found = {name: Series() for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            await asyncio.sleep(0)
            one = await run()
            if number:
                found[name].samples.append(one)
    return found
