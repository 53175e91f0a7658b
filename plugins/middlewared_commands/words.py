"""The words of a command line, from templates and values: one value, one word; pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from middlewared import ValidationError, ValidationErrors
from middlewared_commands.params import (
    BoolParam,
    IntParam,
    ListParam,
    Param,
)
from middlewared_commands.template import Template
from middlewared_commands.values import texts_of

__all__ = ["Words", "WordsError"]

END_OF_OPTIONS = "--"


class WordsError(ValueError):
    """A template that cannot be used; the message says why."""


class Words(msgspec.Struct, frozen=True):
    """A command line that waits for its values.

    A value becomes one word, or part of one, whatever is in it; an item of a list
    becomes a word of its own. A word that a value begins may not begin with a dash,
    unless the settings allow it for that value or ``--`` stands before it.

    Attributes:
        templates: of the words.
        params: declarations by name; secrets that are no params have a `SecretParam`.
    """

    templates: tuple[Template, ...]
    params: Mapping[str, Param]

    @classmethod
    def compile(cls, texts: Sequence[str], params: Mapping[str, Param]) -> "Words":
        """Make it of texts.

        Raises:
            TemplateError: one is no template.
            WordsError: one could not be filled whatever the values are.
        """
        words = cls(tuple(map(Template.parse, texts)), params)
        for template in words.templates:
            words._check(template)
        return words

    @property
    def names(self) -> frozenset[str]:
        """The values that it uses."""
        return frozenset(name for t in self.templates for name in t.names)

    @property
    def leading(self) -> frozenset[str]:
        """The values that a program could take for options."""
        found: set[str] = set()
        for template in self.templates:
            if template.text == END_OF_OPTIONS:
                break
            only = template.only
            if only is not None and (self.params[only].flag or "").endswith("="):
                continue
            found.update(template.leading)
        return frozenset(found)

    def fill(self, values: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
        """Give the words.

        Args:
            values: of the params, by name; None for one that is not given.
            files: path of the private file of each secret, by name.

        Raises:
            ValidationErrors: a value could be taken for an option.
        """
        found: list[str] = []
        ended = False
        for template in self.templates:
            ended = ended or template.text == END_OF_OPTIONS
            for word, begun_by in self._fill(template, values, files):
                if not ended and begun_by and word.startswith("-"):
                    raise ValidationErrors([_option(begun_by, word)])
                found.append(word)
        return found

    def _check(self, template: Template) -> None:
        for name in template.names:
            if name not in self.params:
                known = ", ".join(self.params) or "(none)"
                raise WordsError(f"{name!r} is no param, expected one of {known}")
        if template.only is not None:
            return
        for name in template.names:
            param = self.params[name]
            if isinstance(param, ListParam):
                raise WordsError(f"list {name!r} cannot be a part of a word")
            if param.required is False and getattr(param, "default", None) in _NONE:
                raise WordsError(
                    f"{name!r} need not be given, so it cannot be a part of a word "
                    "without a default"
                )
            if param.flag is not None:
                raise WordsError(f"{name!r} has a flag, so it has to be a whole word")
        self._check_prefix(template)

    def _check_prefix(self, template: Template) -> None:
        """Refuse ``-{x}``: the value would choose the option."""
        if template.prefix.strip("-") or not template.prefix:
            return
        if template.names and not _may_choose(self.params[template.names[0]]):
            raise WordsError(
                f"{template.names[0]!r} would choose the option; give it choices, or "
                "allow it with dash = true"
            )

    def _fill(
        self, template: Template, values: Mapping[str, Any], files: Mapping[str, str]
    ) -> list[tuple[str, str | None]]:
        """Give words, each with the param that begins it and may not begin with "-"."""
        only = template.only
        if only is None:
            texts = {n: self._texts(n, values, files) for n in template.names}
            plain = {name: (found or [""])[0] for name, found in texts.items()}
            return [(template.fill(plain), self._beginner(template, plain))]
        param, texts_ = self.params[only], self._texts(only, values, files) or []
        flag = param.flag
        if isinstance(param, BoolParam) and flag is not None:
            return [(flag, None)] if values[only] else []
        begun_by = None if _may_lead(param) else only
        if flag is None:
            return [(text, begun_by) for text in texts_]
        if flag.endswith("="):
            return [(flag + text, None) for text in texts_]
        pairs = [((flag, None), (text, begun_by)) for text in texts_]
        return [word for pair in pairs for word in pair]

    def _beginner(self, template: Template, texts: Mapping[str, str]) -> str | None:
        """Name the value that begins a word, or lets what follows it do so."""
        begin = next((n for n in template.leading if texts[n]), None)
        begin = begin or next(iter(template.leading), None)
        return None if begin is None or _may_lead(self.params[begin]) else begin

    def _texts(
        self, name: str, values: Mapping[str, Any], files: Mapping[str, str]
    ) -> list[str] | None:
        if name in files:
            return [files[name]]
        return texts_of(self.params[name], values.get(name))


_NONE = (None, msgspec.UNSET)


def _may_lead(param: Param) -> bool:
    """Tell whether the settings let a value be an option: all of them, or by choice."""
    return bool(getattr(param, "dash", False) or getattr(param, "choices", ()))


def _may_choose(param: Param) -> bool:
    number = isinstance(param, IntParam) and param.min is not None and param.min >= 0
    return number or _may_lead(param)


def _option(name: str, word: str) -> ValidationError:
    return ValidationError(
        name,
        f"{word!r} begins with - and could be taken for an option, expected something "
        "else",
    )
