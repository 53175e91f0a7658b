"""What one caller may call and watch; the documents speak of nothing else."""

from collections.abc import Hashable

import msgspec

from middlewared import Credentials
from middlewared.events import Collection, Source
from middlewared.plugin import Method
from middlewared.registry import Registry

__all__ = ["Visible", "visible_to"]


class Visible(msgspec.Struct, frozen=True):
    """What somebody may call and watch.

    Attributes:
        methods: by name.
        collections: by name.
        sources: collections with arguments, by name.
    """

    methods: dict[str, Method]
    collections: dict[str, Collection]
    sources: dict[str, Source]

    @property
    def key(self) -> Hashable:
        """Equal for callers who may see the same."""
        return (*self.methods, *self.collections, *self.sources)

    @property
    def events(self) -> dict[str, Collection | Source]:
        """Everything that can be subscribed to, by name."""
        return dict(sorted((self.collections | self.sources).items()))


def visible_to(registry: Registry, credentials: Credentials | None) -> Visible:
    """Select what a caller may call and watch; nobody logged in sees what is public."""
    plugins = registry.plugins
    collections = [c for p in plugins for c in p.collections]
    sources = [s for p in plugins for s in p.sources]
    return Visible(
        {
            name: method
            for name, method in sorted(registry.methods.items())
            if method.access.allows(credentials)
        },
        {c.name: c for c in collections if c.access.allows(credentials)},
        {s.name: s for s in sources if s.access.allows(credentials)},
    )
