"""Figures of a running server, for Prometheus: ``GET /metrics``."""

from middlewared_metrics import (  # noqa: F401 - importing them declares them
    methods,
    routes,
)
from middlewared_metrics.declaration import plugin

__all__ = ["plugin"]
