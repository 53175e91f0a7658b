"""Takes the values of secret params out of what a body raises."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from middlewared_jobs.masking import Masker
from middlewared_jobs.remote import Remote, describe, rebuild

__all__ = ["scrub"]

#: Characters of a traceback that are kept; more than any setting shows.
MAX_TRACE = 2**20


def scrub(error: BaseException, secrets: Iterable[str]) -> BaseException:
    """Mask secrets in an exception: libraries quote the values that they get.

    Args:
        error: what the body raised.
        secrets: the texts to mask, also as ``repr`` and JSON write them.

    Returns:
        The exception itself when there is nothing to mask, else one of a class with
        the same name, number and base.
    """
    texts = list(secrets)
    forms = [repr(text)[1:-1] for text in texts]
    forms += [msgspec.json.encode(text).decode()[1:-1] for text in texts]
    masker = Masker([*texts, *forms])
    found = getattr(error, "remote", None)  # it came from a child process
    if not isinstance(found, Remote):
        found = describe(error, MAX_TRACE)
    masked = replace(
        found,
        text=masker.mask(found.text),
        shown=masker.mask(found.shown),
        trace=masker.mask(found.trace),
        reason=masker.mask(found.reason),
        extra=_mask_values(found.extra, masker),
    )
    return error if masked == found else rebuild(masked)


def _mask_values(value: Any, masker: Masker) -> Any:
    match value:
        case str():
            return masker.mask(value)
        case list() | tuple():
            return [_mask_values(item, masker) for item in value]
        case dict():
            return {key: _mask_values(item, masker) for key, item in value.items()}
        case _:
            return value
