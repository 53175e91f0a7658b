"""Logs that a program writes by itself are cut back while its job runs."""

import subprocess
from pathlib import Path

from jobs_stage import USERS, Stage, running_world

from middlewared import Plugin
from middlewared_jobs import Job, job
from middlewared_jobs.logguard import LogGuard

LIMIT = 10_000


def noisy_plugin(stage: Stage) -> Plugin:
    """Declare a job whose program writes more than the log may have."""
    plugin = Plugin("n", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(logs=True)
    async def noisy(job: Job) -> None:
        """Let a program write, and wait."""
        subprocess.run(  # noqa: ASYNC221 - it is over at once
            ["head", "-c", "50000", "/dev/zero"], stdout=job.logs_fd, check=True
        )
        await stage.pass_gate("noisy")

    return plugin


async def test_a_running_job_is_cut_back() -> None:
    """The log is short while the job runs, and its excerpt says why."""
    stage = Stage()
    async with (
        running_world(noisy_plugin(stage), stage=stage, max_log=LIMIT) as world,
        world.admin() as wire,
    ):
        number = await wire.start("n.noisy")
        await stage["noisy"].wait_entered()
        size = 2 * LIMIT
        while size > LIMIT + 100:
            size = (await wire.call("job.read_log", number))["size"]
        stage.open()
        item = await wire.final(number)
        assert item["logs_excerpt"].endswith("the rest is dropped ...\n")


def test_a_log_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """Somebody removed it, or its folder; the next one is looked at all the same."""
    long = tmp_path / "2.log"
    long.write_bytes(b"x" * 50_000)
    guard = LogGuard(list, LIMIT)
    guard._cut([tmp_path / "gone" / "1.log", tmp_path, long])
    assert long.stat().st_size < LIMIT + 100
