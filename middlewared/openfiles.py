"""How many files and sockets the process may have open (getrlimit(2))."""

import logging
import resource

from middlewared.settings import Settings

__all__ = ["raise_limit"]

logger = logging.getLogger(__name__)

#: For everything besides connections: listeners, database, logs, children's pipes.
RESERVED = 1000


def raise_limit(settings: Settings) -> None:
    """Raise the soft limit to what ``max_connections`` needs, as far as allowed.

    Most systems start programs with 1,024, for the sake of old ones, and allow more.
    """
    wanted = settings.max_connections + RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < settings.max_connections:
        logger.warning(
            "the system allows %d open files: max_connections (%d) is out of reach",
            allowed,
            settings.max_connections,
        )
