"""The methods of ``core`` that every client needs: ping, options, events, methods."""

from middlewared_core._methods import plugin

__all__ = ["plugin"]
