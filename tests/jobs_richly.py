"""Jobs that use the whole record: steps, notes, retries, limits, pauses."""

import errno
from functools import partial
from typing import Any

import msgspec
from jobs_stage import USERS, Stage

from middlewared import CallError, Plugin, Secret
from middlewared_jobs import Backoff, Job, StepSpec, job

QUICK = Backoff(first=0.01, jitter=0.0)


def rich_plugin(stage: Stage) -> Plugin:
    """Declare jobs of namespace ``r``; they wait at the gates of a stage."""
    plugin = Plugin("r", requires=("jobs",))
    _add_steps(plugin, stage)
    _add_attempts(plugin, stage)
    return plugin


def _add_steps(plugin: Plugin, stage: Stage) -> None:
    @plugin.method(roles=USERS)
    @job(
        abortable=True,
        pausable=True,
        restartable=True,
        restart_limit=2,
        steps=[StepSpec(name="scan", total=4), "repair"],
        counts={"blocks": "total", "bad": "failed"},
        messages={7: "Block {number} is bad"},
        scopes=["tank"],
    )
    async def scrub(job: Job, name: str, fail_in: str = "") -> dict[str, Any]:
        """Do two steps and wait for a gate in each."""
        done = []
        for step_name in ("scan", "repair"):
            async with job.step(step_name) as step:
                if step.skipped:
                    continue
                job.checkpoint({"in": step_name, "before": job.checkpointed})
                step.advance(2)
                job.count("blocks", 2)
                await stage.pass_gate(f"{name}.{step_name}")
                if fail_in == step_name and not job.is_restart:
                    raise CallError(f"{step_name} broke", 5)
                done.append(step_name)
        return {"done": done, "restart": job.is_restart}

    @plugin.method(roles=USERS)
    @job(abortable=True, logs=True)
    async def notes(job: Job, secret: Secret[str] | None = None) -> None:
        """Note one of everything."""
        job.message(None, "plain")
        job.message(7, "with code", severity="warning")
        job.count("a", 3)
        job.count("a")
        job.error_item("disk 3", "E-7", "it is gone", location="rack", key="404")
        job.set_scopes(["one", "two"])
        job.set_attribute("mission", {"id": 5})
        job.set_exit("DONE_WELL", "all of it")

    @plugin.method(roles=USERS)
    @job
    async def garbles(job: Job) -> int:
        """Note what is no JSON; count what is refused."""
        refused = 0
        for text in (b'{"a":', b'"\xff"', b"1 2", b""):
            made = msgspec.Raw(text)
            job.set_progress(50, extra=made)
            for note in (job.checkpoint, partial(job.set_attribute, "a")):
                try:
                    note(made)
                except CallError as exc:
                    refused += exc.errno == errno.EINVAL
        job.set_scopes(["told"])
        return refused


def _add_attempts(plugin: Plugin, stage: Stage) -> None:
    @plugin.method(roles=USERS)
    @job(retries=2, backoff=QUICK, lock="flaky", abortable=True)
    async def flaky(job: Job, until: int) -> int:
        """Fail until an attempt."""
        if job.attempt < until:
            raise CallError(f"attempt {job.attempt}", 5)
        return job.attempt

    @plugin.method(roles=USERS)
    @job(timeout=0.05)
    async def slow(job: Job) -> None:
        """Take too long."""
        await stage.pass_gate("never")

    @plugin.method(roles=USERS)
    @job(heartbeat_timeout=0.05)
    async def silent(job: Job) -> None:
        """Say nothing."""
        await stage.pass_gate("never")

    @plugin.method(roles=USERS)
    @job(max_running=1, abortable=True)
    async def single(job: Job, name: str) -> str:
        """One at a time, by priority."""
        return await stage.pass_gate(name)

    @plugin.method(roles=USERS)
    @job(abortable=True)
    async def parent(job: Job, name: str) -> Any:
        """Wait for a child."""
        return await job.context.call("t.hold", name)

    @plugin.method(roles=USERS)
    @job
    async def keeps(job: Job, name: str, secret: Secret[str]) -> str:
        """Take a secret."""
        return f"{name} {len(secret.get())}"
