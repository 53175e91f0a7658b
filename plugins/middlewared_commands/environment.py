"""The environment of a command: only what it is given."""

import os
from collections.abc import Iterable, Mapping

from middlewared_commands.account import Account

__all__ = ["DEFAULT_PATH", "RESERVED", "inherited"]

#: Variables of this program's own, which no command gets or sets.
RESERVED = "MIDDLEWARED_"
#: Where programs are looked for when the server has no ``PATH``.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def inherited(
    patterns: Iterable[str],
    account: Account | None,
    environ: Mapping[bytes, bytes] = os.environb,
) -> dict[bytes, bytes]:
    """Give what a command gets of the server's environment.

    Args:
        patterns: names, with ``*`` for any end.
        account: whose home, name and shell it has instead of the server's.
        environ: the server's.
    """
    wanted = [pattern.encode() for pattern in patterns]
    found = {
        name: value
        for name, value in environ.items()
        if not name.startswith(RESERVED.encode())
        and any(_matches(name, pattern) for pattern in wanted)
    }
    if account is not None:
        own = {
            b"HOME": account.home,
            b"USER": account.name,
            b"LOGNAME": account.name,
            b"SHELL": account.shell,
        }
        found |= {
            name: os.fsencode(text)
            for name, text in own.items()
            if any(_matches(name, pattern) for pattern in wanted)
        }
    return {b"PATH": DEFAULT_PATH.encode()} | found


def _matches(name: bytes, pattern: bytes) -> bool:
    if pattern.endswith(b"*"):
        return name.startswith(pattern[:-1])
    return name == pattern
