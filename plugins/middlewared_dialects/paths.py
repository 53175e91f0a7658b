"""The rest of a path, whatever is in it: ``{rest:whole}`` in routes."""

from starlette.convertors import Convertor, register_url_convertor

__all__ = ["WHOLE"]

#: Name of the convertor; Starlette's own ``path`` ends at a line feed.
WHOLE = "whole"


class _Whole(Convertor[str]):
    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor(WHOLE, _Whole())
