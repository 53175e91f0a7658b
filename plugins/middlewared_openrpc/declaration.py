"""The plugin's declaration."""

from middlewared import Plugin

__all__ = ["plugin"]

plugin = Plugin("openrpc", requires=("auth",), namespaces=("rpc",))
