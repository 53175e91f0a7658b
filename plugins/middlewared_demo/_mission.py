"""A job with five steps and coded messages: the demo's mission for ArcGIS."""

import secrets
from typing import Annotated, Any

import anyio
from msgspec import Meta

from middlewared import Plugin
from middlewared_auth import JOB_USER
from middlewared_jobs import Job, job

__all__ = ["add_mission"]

_LAYERS = {
    "tracks": (1501, 1502),
    "communications": (1503, 1504),
    "events": (1505, 1506),
}
_MESSAGES = {
    1500: "Started mission creation.",
    1501: "Creating tracks layers for location awareness.",
    1502: "Created tracks layers for location awareness.",
    1503: "Creating communications layers for collaboration.",
    1504: "Created communications layers for collaboration.",
    1505: "Creating events layers for mission logs.",
    1506: "Created events layers for mission logs.",
    1507: "Creating map for visualization.",
    1508: "Created map for visualization.",
    1509: "Finishing mission creation.",
    1510: "Finished creating mission {mission}.",
}


def add_mission(plugin: Plugin) -> None:
    """Declare the job on the plugin."""

    @plugin.method(roles=[JOB_USER])
    @job(
        abortable=True,
        pausable=True,
        description="Create mission {title}",
        steps=[*_LAYERS, "map", "finish"],
        messages=_MESSAGES,
        dialects={
            "arcgis": {"operation": "services/createMission", "type": "addMission"}
        },
    )
    async def create_mission(
        job: Job,
        title: Annotated[str, Meta(min_length=1)],
        snippet: str = "",
        description: str = "",
        tags: str = "",
        seconds: Annotated[float, Meta(ge=0, le=60)] = 0.0,
        capabilities: str = "",
        extent: str = "-180,-90,180,90",
        locale: str = "en",
        licenseInfo: str = "",  # noqa: N803 - the wire's word
        appId: str = "",  # noqa: N803 - the wire's word
        templateWebMapId: str = "",  # noqa: N803 - the wire's word
        webMapDescription: str = "",  # noqa: N803 - the wire's word
        baseMap: dict[str, Any] = {},  # noqa: B006, N803 - the wire's word, never changed
    ) -> str:
        """Create a mission in five steps and return its id.

        A pretended one, to show steps and messages; each step takes *seconds*, and of
        the others, which the original has, only the title is shown.
        """
        mission = secrets.token_hex(16)
        job.message(1500)
        for name, (begin, _) in _LAYERS.items():
            async with job.step(name):
                job.message(begin)
                await anyio.sleep(seconds)
        for _, end in _LAYERS.values():
            job.message(end)
        async with job.step("map"):
            job.message(1507)
            await anyio.sleep(seconds)
            job.message(1508)
        async with job.step("finish"):
            job.message(1509)
            await anyio.sleep(seconds)
            job.set_attribute("missionId", mission)
            job.message(1510, mission=mission)
        return mission
