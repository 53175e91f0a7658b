"""Texts of the settings with params in braces; pure."""

import string
from collections.abc import Mapping

import msgspec

__all__ = ["Slot", "Template", "TemplateError"]


class TemplateError(ValueError):
    """A text that is no template; the message says why."""


class Slot(msgspec.Struct, frozen=True):
    """The place of a value in a template."""

    name: str


class Template(msgspec.Struct, frozen=True):
    """A text with ``{name}`` for values; ``{{`` and ``}}`` are braces.

    What is put in is never looked at again: a value with braces stays what it is.

    Attributes:
        text: as it was written.
        pieces: literal texts and slots, in order; no literal is empty.
    """

    text: str
    pieces: tuple[str | Slot, ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Take a text apart.

        Raises:
            TemplateError: a brace without its other one, or more than a name in it.
        """
        if "\0" in text:
            raise TemplateError("there is a NUL character in it")
        pieces: list[str | Slot] = []
        try:
            fields = list(string.Formatter().parse(text))
        except ValueError as exc:
            raise TemplateError(f"{exc}; write {{{{ or }}}} for a brace") from None
        for literal, name, form, conversion in fields:
            if literal:
                pieces.append(literal)
            if name is None:
                continue
            if form or conversion or not name.isidentifier():
                raise TemplateError(
                    f"{{{name}}} is no name in braces; write {{{{ for a brace"
                )
            pieces.append(Slot(name))
        return cls(text, _joined(pieces))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values, in order."""
        return tuple(p.name for p in self.pieces if isinstance(p, Slot))

    @property
    def only(self) -> str | None:
        """The name, when the template is one slot and nothing else."""
        first = self.pieces[0] if len(self.pieces) == 1 else None
        return first.name if isinstance(first, Slot) else None

    @property
    def prefix(self) -> str:
        """The literal text that it begins with."""
        first = self.pieces[0] if self.pieces else ""
        return first if isinstance(first, str) else ""

    @property
    def leading(self) -> tuple[str, ...]:
        """Names of the values that may begin the text, if those before are empty."""
        found = []
        for piece in self.pieces:
            if isinstance(piece, str):
                break
            found.append(piece.name)
        return tuple(found)

    def fill(self, values: Mapping[str, str]) -> str:
        """Put the values in."""
        return "".join(
            piece if isinstance(piece, str) else values[piece.name]
            for piece in self.pieces
        )


def _joined(pieces: list[str | Slot]) -> tuple[str | Slot, ...]:
    """Join literals that stand beside each other, as braces make them."""
    joined: list[str | Slot] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, str) and isinstance(last, str):
            joined[-1] = last + piece
        else:
            joined.append(piece)
    return tuple(joined)
