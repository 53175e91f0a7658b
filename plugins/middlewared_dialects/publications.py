"""Which job methods appear in a dialect, and under which names."""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from middlewared import PluginError
from middlewared.plugin import Method
from middlewared.registry import Registry
from middlewared_jobs import JobFunction, JobSpec

__all__ = ["Publications", "Published"]

P = TypeVar("P", bound=msgspec.Struct)


class Published(msgspec.Struct, Generic[P], frozen=True, eq=False):
    """A job method in a dialect.

    Attributes:
        method: the job method.
        spec: how its jobs are run.
        options: how it appears.
    """

    method: Method
    spec: JobSpec
    options: P

    @property
    def name(self) -> str:
        """The native name of the method."""
        return self.method.name


class Publications(Generic[P]):
    """The job methods that one dialect shows.

    A method is published by ``@job(dialects={NAME: {...}})`` or by the settings file,
    which wins; ``false`` there takes it out.

    Args:
        dialect: name of the dialect.
        kind: struct of the options.
        registry: all methods.
        settings: options of methods by their name, from the settings file.

    Raises:
        PluginError: the options of a method do not fit, or there is no such job method.
    """

    def __init__(
        self,
        dialect: str,
        kind: type[P],
        registry: Registry,
        settings: Mapping[str, Mapping[str, Any] | bool],
    ) -> None:
        self._found: dict[str, Published[P]] = {}
        for name, method in registry.methods.items():
            declared = method.deferred
            if not isinstance(declared, JobFunction):
                continue
            options = settings.get(name, declared.spec.dialects.get(dialect, False))
            if isinstance(options, bool):
                continue
            where = f"{name}, published in {dialect}"
            self._found[name] = Published(
                method, declared.spec, _decode(options, kind, where)
            )
        for name in settings:
            named = registry.methods.get(name)
            if named is None or not isinstance(named.deferred, JobFunction):
                raise PluginError(f"dialects.{dialect}: {name!r} is no job method")

    def __iter__(self) -> Iterator[Published[P]]:
        return iter(self._found.values())

    def get(self, method: str) -> Published[P] | None:
        """Give the publication of a method, None when it has none."""
        return self._found.get(method)

    @property
    def methods(self) -> list[str]:
        """The native names of all that is published."""
        return list(self._found)


def _decode(options: Mapping[str, Any], kind: type[P], where: str) -> P:
    try:
        return msgspec.convert(dict(options), kind)
    except msgspec.ValidationError as exc:
        raise PluginError(f"{where}: {exc}") from None
