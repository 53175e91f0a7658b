"""How a call ends that did not just return: awaited, failed, put off."""

import asyncio
import errno
import logging
import traceback
from collections.abc import Coroutine
from typing import Any

from middlewared.call import Call
from middlewared.errors import CallError, RpcError
from middlewared.plugin import Method
from middlewared.results import holds_secret

__all__ = ["finish_later", "report"]

logger = logging.getLogger(__name__)


async def finish_later(call: Call, work: Coroutine[Any, Any, Any]) -> None:
    """Await what a handler does, and answer.

    Raises:
        asyncio.CancelledError: the server stops; the call is answered all the same.
    """
    try:
        value = await work
    except asyncio.CancelledError:
        if not call.cancelled:
            call.fail(CallError("The server stops", errno.EBUSY))
            raise
        call.fail(CallError("The client gave the call up", errno.ECANCELED))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a border: the caller is told
        report(call, exc)
    else:
        call.finish(value)


def report(call: Call, exc: BaseException) -> None:
    """Answer with what a handler raised; what no handler should raise is logged."""
    if not isinstance(exc, RpcError):
        _log_failure(call.method, exc)
    call.fail(exc)


def _log_failure(method: Method, exc: BaseException) -> None:
    """Log a mistake with its traceback; without a text that may quote secrets."""
    if any(map(holds_secret, method.params.types)):
        lines = "".join(traceback.format_tb(exc.__traceback__))
        logger.error("%s failed: %s\n%s", method.name, type(exc).__name__, lines)
    else:
        logger.error("%s failed", method.name, exc_info=exc)
