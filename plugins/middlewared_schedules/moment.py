"""Moments as text."""

import datetime as dt

__all__ = ["moment"]


def moment(ms: int) -> str:
    """Write a moment as in ``2026-11-26T02:00:00Z``; milliseconds only if need be."""
    text = dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(
        timespec="milliseconds"
    )
    return f"{text.removesuffix('+00:00').removesuffix('.000')}Z"
