"""How a job method appears in the InfoLink dialect, and how a request names it."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from middlewared.registry import Registry
from middlewared_dialects.problems import DialectError, Problem
from middlewared_dialects.publications import Publications, Published

__all__ = [
    "RUN_SCENARIO",
    "Infolink",
    "InfolinkPublication",
    "Operation",
    "choose",
    "params_of",
]

RUN_SCENARIO = "RunScenario"


class InfolinkPublication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a job method appears.

    Attributes:
        app: id of the app that it belongs to.
        app_name: its name.
        scenario: name of the scenario that runs it; empty for an operation of its own.
        op: name of the operation.
        title: for people; by default the scenario, or the operation.
        type: scenario or workflow, for the activity log.
    """

    app: str = "1"
    app_name: str = "middlewared"
    scenario: str = ""
    op: str = RUN_SCENARIO
    title: str = ""
    type: Literal["scenario", "workflow"] = "scenario"

    @property
    def shown_title(self) -> str:
        """The title, or what stands in for it."""
        return self.title or self.scenario or self.op


class Operation(msgspec.Struct, rename="camel", frozen=True):
    """What a request asks to be run."""

    op_name: str
    op_params: dict[str, Any] = {}


class Infolink(Publications[InfolinkPublication]):
    """The job methods that the InfoLink dialect shows."""

    def __init__(
        self, registry: Registry, settings: Mapping[str, dict[str, Any] | bool]
    ) -> None:
        super().__init__("infolink", InfolinkPublication, registry, settings)


def choose(
    published: Iterable[Published[InfolinkPublication]], app: str, operation: Operation
) -> Published[InfolinkPublication]:
    """Find the method that an operation of an app names.

    Raises:
        DialectError: INVALID, a scenario is not named; NOT_FOUND, there is none.
    """
    scenario = ""
    if operation.op_name == RUN_SCENARIO:
        scenario = operation.op_params.get("scenario", "")
        if not isinstance(scenario, str) or not scenario:
            raise DialectError(
                Problem.INVALID, "operation.opParams.scenario parameter is required."
            )
    for one in published:
        options = one.options
        if (options.app, options.op, options.scenario) == (
            app,
            operation.op_name,
            scenario,
        ):
            return one
    what = f"Scenario '{scenario}'" if scenario else f"Operation '{operation.op_name}'"
    raise DialectError(Problem.NOT_FOUND, f"{what} does not exist in app {app}.")


def params_of(operation: Operation) -> dict[str, Any]:
    """Give the params of the method, by name.

    Raises:
        DialectError: INVALID, they are no object.
    """
    if operation.op_name != RUN_SCENARIO:
        return operation.op_params
    params = operation.op_params.get("parameters") or {}
    if not isinstance(params, dict):
        raise DialectError(
            Problem.INVALID,
            "operation.opParams.parameters is no object, expected names and values.",
        )
    return params
