"""What the declaration of a job says about one call: its spec, lock and description."""

import errno
import logging
from collections.abc import Sequence
from typing import Any

from middlewared import CallError
from middlewared.plugin import Method
from middlewared_jobs.spec import JobFunction, JobSpec, Template

__all__ = ["description_of", "limits_of", "lock_of", "spec_of"]

logger = logging.getLogger(__name__)


def spec_of(method: Method) -> JobSpec:
    """Give how jobs of a method are run.

    Raises:
        CallError: EINVAL, its calls are no jobs.
    """
    deferred = method.deferred
    if not isinstance(deferred, JobFunction):
        raise CallError(f"{method.name} is no job method", errno.EINVAL)
    return deferred.spec


def lock_of(spec: JobSpec, values: Sequence[Any]) -> str | None:
    """Give the lock that a call needs, None when it needs none.

    Raises:
        CallError: EINVAL, the template does not take these params.
    """
    if spec.lock is None:
        return None
    return _filled(spec.lock, values)


def _filled(template: Template, values: Sequence[Any]) -> str:
    try:
        return template.fill(values)
    except Exception as exc:  # noqa: BLE001 - a format of the author's, on any value
        raise CallError(
            "Error handling job lock. This is most likely caused by invalid call "
            f"arguments. ({exc})",
            errno.EINVAL,
        ) from None


def limits_of(
    method: Method, spec: JobSpec, values: Sequence[Any]
) -> tuple[tuple[str, int], ...]:
    """Give the keys whose limits a call counts against, and the limits.

    Raises:
        CallError: EINVAL, a template does not take these params.
    """
    if spec.max_running is None and not spec.limits:
        return ()
    limits = [(_filled(template, values), most) for template, most in spec.limits]
    if spec.max_running is not None:
        limits.append((f"method {method.name}", spec.max_running))
    return tuple(limits)


def description_of(spec: JobSpec, values: Sequence[Any]) -> str | None:
    """Give the description of a call; None, too, when it cannot be made."""
    if spec.description is None:
        return None
    try:
        return spec.description.tell(values).strip()
    except Exception:
        logger.exception("the description of a job could not be made")
        return None
