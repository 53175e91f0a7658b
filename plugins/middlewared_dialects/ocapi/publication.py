"""How a job method appears in the OCAPI dialect."""

from collections.abc import Mapping
from typing import Any

import msgspec

from middlewared import PluginError
from middlewared.registry import Registry
from middlewared_dialects.publications import Publications, Published

__all__ = ["Ocapi", "OcapiPublication"]


class OcapiPublication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a job method appears.

    Attributes:
        job_id: what it is called.
        restart: a new execution goes on with the last one, if that failed.
    """

    job_id: str
    restart: bool = False


class Ocapi(Publications[OcapiPublication]):
    """The job methods that the OCAPI dialect shows.

    Raises:
        PluginError: two methods want to be one job.
    """

    def __init__(
        self, registry: Registry, settings: Mapping[str, dict[str, Any] | bool]
    ) -> None:
        super().__init__("ocapi", OcapiPublication, registry, settings)
        self._by_job_id: dict[str, Published[OcapiPublication]] = {}
        for published in self:
            name = published.options.job_id
            other = self._by_job_id.setdefault(name, published)
            if other is not published:
                raise PluginError(
                    f"{published.name}, published in ocapi: {other.name} is job "
                    f"{name!r} already"
                )

    def find_job(self, job_id: str) -> Published[OcapiPublication] | None:
        """Give the method of a job, None when there is none."""
        return self._by_job_id.get(job_id)
