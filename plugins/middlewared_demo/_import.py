"""A job whose steps run for several scopes: the demo's import for OCAPI."""

from typing import Annotated

import anyio
from msgspec import Meta

from middlewared import Plugin
from middlewared_auth import JOB_USER
from middlewared_jobs import Job, StepSpec, job

__all__ = ["add_import"]

_SITES = ("SiteGenesis-DE", "SiteGenesis")
_CONFIGURED = "A step that executes a {} that can be configured via a parameter"


def _pipeline(name: str, scope: str, included_from: str | None = None) -> StepSpec:
    return StepSpec(
        name=name,
        scope=scope,
        included_from=included_from,
        type_id="ExecutePipeline",
        type_info="TestScheduleJobProcessPipeline-StartEnd",
        description=_CONFIGURED.format("pipeline"),
    )


def _script(
    name: str,
    scope: str,
    function: str,
    description: str = "",
    included_from: str | None = None,
) -> StepSpec:
    return StepSpec(
        name=name,
        scope=scope,
        included_from=included_from,
        type_id="ExecuteScriptModule",
        type_info=f"testScriptModuleStep.ds#{function}",
        description=description,
    )


def _included(site: str) -> list[StepSpec]:
    """Give the steps of another job that run for a site."""
    other = "JobExecutionTestJob2"
    told = "testReturnStatusOkWithCodeAndMessage"
    return [
        _pipeline("Step3 - Step1", site, other),
        _script("Step3 - Step2", site, told, included_from=other),
    ]


_STEPS = [
    _pipeline("Step1", "Organization"),
    _script(
        "Step2",
        "Organization",
        "execute",
        _CONFIGURED.format("script module function"),
    ),
    *(step for site in _SITES for step in _included(site)),
]


def add_import(plugin: Plugin) -> None:
    """Declare the job on the plugin."""

    @plugin.method(roles=[JOB_USER])
    @job(
        logs=True,
        abortable=True,
        pausable=True,
        restartable=True,
        lock="import customers",
        lock_queue_size=0,
        description="Import customers",
        steps=_STEPS,
        scopes=["SiteGenesis", "SiteGenesis-US", "SiteGenesis-DE"],
        dialects={"ocapi": {"job_id": "CustomerImportJob"}},
    )
    async def import_customers(
        job: Job,
        seconds: Annotated[float, Meta(ge=0, le=60)] = 0.0,
        fail_in: str = "",
    ) -> None:
        """Import customers in steps over scopes; a pretended one, to show them.

        Each step takes *seconds*; the one named *fail_in* fails at its first try.
        """
        for spec in _STEPS:
            async with job.step(spec.name, scope=spec.scope) as step:
                if step.skipped:
                    continue
                job.log.info("%s for %s", spec.name, spec.scope)
                await anyio.sleep(seconds)
                if spec.name == fail_in and not job.is_restart:
                    raise ValueError(f"{spec.name} failed for {spec.scope}")
                if spec.name.endswith("- Step2"):
                    step.set_exit("SUCCESS", "Step was successful!")
