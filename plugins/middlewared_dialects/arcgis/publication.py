"""How a job method appears in the ArcGIS Mission dialect."""

from collections.abc import Mapping
from typing import Any

import msgspec

from middlewared.registry import Registry
from middlewared_dialects.publications import Publications, Published

__all__ = ["Arcgis", "ArcgisPublication"]


class ArcgisPublication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a job method appears.

    Attributes:
        operation: its path below the root, as ``services/createMission``.
        type: what its jobs call it.
    """

    operation: str
    type: str


class Arcgis(Publications[ArcgisPublication]):
    """The job methods that the ArcGIS dialect shows."""

    def __init__(
        self, registry: Registry, settings: Mapping[str, dict[str, Any] | bool]
    ) -> None:
        super().__init__("arcgis", ArcgisPublication, registry, settings)

    def find_operation(self, path: str) -> Published[ArcgisPublication] | None:
        """Find the method of an operation, None when there is none."""
        for published in self:
            if published.options.operation == path:
                return published
        return None
