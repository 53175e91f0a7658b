"""Params that come as texts, in forms and queries, as the method wants them."""

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from middlewared import ejson
from middlewared.params import Params

__all__ = ["params_from_texts"]


def params_from_texts(params: Params, texts: Mapping[str, str]) -> dict[str, Any]:
    """Read texts as values of the types that a method has.

    A text that does not fit stays a text: the method's own check says what is wrong.
    """
    kinds = dict(zip(params.names, params.types, strict=True))
    return {name: _read(text, kinds.get(name, str)) for name, text in texts.items()}


def _read(text: str, kind: Any) -> Any:
    if _fits(text, kind, strict=True):
        return text
    if _fits(text, kind, strict=False):
        found = msgspec.convert(text, kind, strict=False, dec_hook=ejson.dec_hook)
        return msgspec.to_builtins(found, enc_hook=str)
    with contextlib.suppress(ValueError):  # msgspec.DecodeError, too
        return msgspec.json.decode(text)
    return text


def _fits(text: str, kind: Any, *, strict: bool) -> bool:
    try:
        msgspec.convert(text, kind, strict=strict, dec_hook=ejson.dec_hook)
    except (ValueError, TypeError):
        return False
    return True
