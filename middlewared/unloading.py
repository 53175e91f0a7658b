"""Plugins that do not end: the process leaves them behind."""

import logging
import os
import threading

__all__ = ["Unloading"]

logger = logging.getLogger("middlewared")


class Unloading:
    """Ends the process when its plugins take too long to end.

    It waits in a thread, since what hangs may hang the loop, or refuse to be cancelled.
    What was acknowledged is on disk by then, and child processes end with the server.
    """

    def __init__(self) -> None:
        self._plugin: str | None = None
        self._timer: threading.Timer | None = None

    def begin(self, seconds: float) -> None:
        """Give all plugins together so many seconds from now on."""
        self._timer = threading.Timer(seconds, self._leave, [seconds])
        self._timer.daemon = True
        self._timer.start()

    def at(self, plugin: str | None) -> None:
        """Say which one ends now; None when all have."""
        self._plugin = plugin

    def end(self) -> None:
        """Say that all have ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _leave(self, seconds: float) -> None:
        what = "the server" if self._plugin is None else f"plugin {self._plugin!r}"
        logger.error("%s did not end in %g s; leaving it behind", what, seconds)
        logging.shutdown()
        os._exit(1)
