"""Real jobs on real files, for a first look and for the tutorial."""

from middlewared_demo._jobs import plugin

__all__ = ["plugin"]
