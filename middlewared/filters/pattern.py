"""Patterns of the operator `~`: bounded in size when compiled, in time when matched."""

import errno
import re
import time
from typing import Any

# The package ships no type information.
import regex  # type: ignore[import-untyped]

from middlewared.errors import CallError
from middlewared.filters.tree import Incomparable, QueryError

__all__ = ["MAX_PATTERN_SIZE", "PATTERN_SECONDS", "Budget", "Patterns"]

PATTERN_SECONDS = 0.2
"""CPU seconds that the patterns of one query may use together."""

MAX_PATTERN_SIZE = 10_000
"""Size of all patterns of one query together, repetitions written out."""

# A match shorter than this is free: the budget is for patterns that backtrack, not
# for the number of rows.
_FREE_SECONDS = 20e-6
# Most matches end within microseconds. They keep the interpreter lock, because giving
# it up costs a wait of 5 ms each while another thread computes; a match that needs
# longer than this starts again without the lock, so that it freezes nobody.
_LOCKED_SECONDS = 0.001

_COUNT = re.compile(r"(.?)\{([0-9]+)", re.DOTALL)
_VERBOSE = re.compile(r"\(\?[A-Za-z0-9-]*x[A-Za-z0-9-]*[:)]")


class Budget:
    """The time that the patterns of one query may still use.

    One budget serves one query in one thread. It counts the thread's CPU time, so a
    busy machine does not fail queries.

    Args:
        seconds: CPU seconds left.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float = PATTERN_SECONDS) -> None:
        self.seconds = seconds

    def match(self, pattern: Any, text: str) -> bool:
        """Say whether a compiled pattern matches at the start of a text.

        Raises:
            CallError: ETIMEDOUT, the budget is used up.
            TypeError: the text is no string.
        """
        started = time.thread_time()
        try:
            return self._match(pattern, text)
        except TimeoutError:
            self.seconds = 0.0
            raise CallError(
                "filter_list: the patterns of this query took too long",
                errno.ETIMEDOUT,
            ) from None
        finally:
            self.seconds -= max(0.0, time.thread_time() - started - _FREE_SECONDS)

    def _match(self, pattern: Any, text: str) -> bool:
        if self.seconds <= 0:
            raise TimeoutError
        try:
            found = pattern.match(
                text, concurrent=False, timeout=min(_LOCKED_SECONDS, self.seconds)
            )
        except TimeoutError:
            if self.seconds <= _LOCKED_SECONDS:
                raise
            found = pattern.match(text, concurrent=True, timeout=self.seconds)
        return found is not None


class Patterns:
    """Compiles the patterns of one query, refusing what would exhaust the memory."""

    def __init__(self) -> None:
        self._size = 0

    def compile(self, text: Any) -> Any:
        """Compile one pattern.

        Raises:
            QueryError: too large, verbose, nested too deeply, or malformed; the text
                says where.
            Incomparable: the pattern is no string.
        """
        if not isinstance(text, str):
            raise Incomparable("first argument must be string or compiled pattern")
        if _VERBOSE.search(text):
            raise QueryError("filter_list: verbose patterns are not supported")
        self._size += pattern_size(text)
        if self._size > MAX_PATTERN_SIZE:
            raise QueryError(
                f"filter_list: patterns are larger than {MAX_PATTERN_SIZE} characters"
            )
        try:
            # The package's cache would keep the patterns of strangers alive.
            return regex.compile(text, regex.VERSION0, cache_pattern=False)
        except RecursionError:
            raise QueryError("filter_list: pattern is nested too deeply") from None
        except regex.error as exc:
            raise QueryError(str(exc)) from None


def pattern_size(text: str) -> int:
    """Estimate from above how large a pattern is with its repetitions written out.

    The package compiles `a{1000}` to a thousand nodes, and `(a{1000}){1000}` to a
    million of 270 bytes each: without this, forty characters exhaust any memory,
    before a match could time out. Groups are taken as nested in each other, which
    errs on the safe side.
    """
    size, nesting = len(text), 1
    for before, digits in _COUNT.findall(text):
        # Ten digits are beyond every limit; int() refuses thousands of them.
        count = max(1, int(digits[:10]))
        if before == "" or before in ")}+*?":
            nesting *= count
        elif before == "]":
            size += count * len(text)
        else:
            size += count
    return size * nesting
