"""The percentage of a job's progress: cheap to set from any thread."""

__all__ = ["MAX_PERCENT", "clamp"]

MAX_PERCENT = 100


def clamp(percent: float) -> int:
    """Clamp a percentage to 0..100, and cut it to an integer."""
    return int(max(0, min(MAX_PERCENT, percent)))
