"""The methods of ``core`` that every client needs: ping, options, events, methods."""

from middlewared_core import (  # noqa: F401 - importing them declares their methods
    _backup,
    _catalogue,
    _methods,
)
from middlewared_core._declaration import plugin

__all__ = ["plugin"]
