"""All methods of all plugins."""

import pytest

from middlewared import Context, Plugin, PluginError
from middlewared.registry import Registry


async def ping(ctx: Context) -> str:
    """Answer."""
    return "pong"


def test_methods_of_all_plugins() -> None:
    """Two plugins may share a namespace."""
    one, two = Plugin("one"), Plugin("two", namespaces=("two", "one"))
    one.method(ping)
    two.method(namespace="one", name="other")(ping)
    registry = Registry([one, two])
    assert registry.plugins == (one, two)
    assert list(registry.methods) == ["one.ping", "one.other"]
    assert registry.methods["one.other"].plugin == "two"
    assert registry.runner is None


def test_method_of_two_plugins() -> None:
    """The same name in both is refused, with both places."""
    one, two = Plugin("one"), Plugin("two", namespaces=("one",))
    one.method(ping)
    two.method(ping)
    line = f"{__file__}:{ping.__code__.co_firstlineno}"
    with pytest.raises(PluginError) as caught:
        Registry([one, two])
    assert str(caught.value) == (f"{line}: one.ping is declared twice, first at {line}")


def test_roles() -> None:
    """All roles that some method names, each once."""
    plugin = Plugin("one")
    plugin.method(roles=["READ", "WRITE"])(ping)
    plugin.method(roles=["READ"], name="other")(ping)
    plugin.method(public=True, name="open")(ping)
    assert Registry([plugin]).roles == {"READ", "WRITE"}
    assert Registry([]).roles == frozenset()
