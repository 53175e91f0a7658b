"""How a job method appears in the Webex dialect."""

from collections.abc import Mapping
from typing import Any

import msgspec

from middlewared import PluginError
from middlewared.registry import Registry
from middlewared_dialects.publications import Publications, Published
from middlewared_dialects.webex.families import FAMILIES, Family

__all__ = ["Webex", "WebexPublication"]


class WebexPublication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a job method appears.

    Attributes:
        family: path of its family, as ``person/moveLocation``.
        body: the param that takes the whole body; by default its members are params.
        validate: native method that checks a body instead, when it says so.
    """

    family: str
    body: str = ""
    validate: str = ""

    @property
    def of(self) -> Family:
        """The family."""
        return FAMILIES[self.family]


class Webex(Publications[WebexPublication]):
    """The job methods that the Webex dialect shows; at most one for each family.

    Raises:
        PluginError: a family is unknown, or two methods want to be one.
    """

    def __init__(
        self, registry: Registry, settings: Mapping[str, dict[str, Any] | bool]
    ) -> None:
        super().__init__("webex", WebexPublication, registry, settings)
        self._by_family: dict[str, Published[WebexPublication]] = {}
        for published in self:
            family = published.options.family
            if family not in FAMILIES:
                raise PluginError(
                    f"{published.name}, published in webex: family is {family!r}, "
                    f"expected one of {', '.join(FAMILIES)}"
                )
            other = self._by_family.setdefault(family, published)
            if other is not published:
                raise PluginError(
                    f"{published.name}, published in webex: {other.name} is "
                    f"{family!r} already"
                )

    def of_family(self, family: Family) -> Published[WebexPublication] | None:
        """Give the method of a family, None when there is none."""
        return self._by_family.get(family.path)
