"""Every method the server knows, and the runner of those that outlive a request."""

from collections.abc import Iterable
from typing import Protocol

from middlewared.call import Call
from middlewared.errors import PluginError
from middlewared.figures import CallFigures
from middlewared.plugin import Method, Plugin

__all__ = ["Registry", "Runner"]


class Runner(Protocol):
    """Runs deferred handlers; a plugin registers one."""

    def accept(self, call: Call) -> None:
        """Take a call over: its answer is given later through the call itself."""
        ...


class Registry:
    """The plugins and their methods.

    Attributes:
        plugins: in the order they start.
        methods: by full name.
        figures: how the calls of each method ended, by the same names.
        runner: takes the deferred ones, None when no plugin does.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self.methods: dict[str, Method] = {}
        self.figures: dict[str, CallFigures] = {}
        self.runner: Runner | None = None
        for plugin in self.plugins:
            for name, method in plugin.methods.items():
                if name in self.methods:
                    raise PluginError(
                        f"{method.where}: {name} is declared twice, first at "
                        f"{self.methods[name].where}"
                    )
                self.methods[name] = method
                self.figures[name] = CallFigures()

    @property
    def roles(self) -> frozenset[str]:
        """Every role that some method names, besides FULL_ADMIN."""
        named = [method.access.roles for method in self.methods.values()]
        named += [m.deferred.read_roles for m in self.methods.values() if m.deferred]
        return frozenset().union(*named)
