"""The browser UI at ``/ui/`` and the JavaScript client that it is built on."""

from middlewared_dashboard._pages import plugin

__all__ = ["plugin"]
