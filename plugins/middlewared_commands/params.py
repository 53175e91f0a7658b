"""Params of a command, as the settings declare them."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

__all__ = [
    "BoolParam",
    "FloatParam",
    "IntParam",
    "ListParam",
    "Param",
    "PathParam",
    "SecretParam",
    "StrParam",
]


class _Declared(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
):
    """What every param has."""

    doc: Annotated[str, Meta(description="What it is, for people.")] = ""
    required: Annotated[
        bool | None,
        Meta(description="By default true, unless it is a `bool` or has a `default`."),
    ] = None
    env: Annotated[
        str | None,
        Meta(description="Variable that has its value; absent when it is not given."),
    ] = None


Flag = Annotated[
    str | None,
    Meta(
        description="Option before its value, as `--tag`, or joined, as `--tag=`; "
        "absent when it is not given."
    ),
]
Dash = Annotated[
    bool, Meta(description="Let values begin with `-`, as options of the program do.")
]
Stdin = Annotated[bool, Meta(description="Its value is the standard input.")]
Pattern = Annotated[
    str | None, Meta(description="Regular expression for the whole value.")
]
Under = Annotated[
    tuple[str, ...],
    Meta(description="Folders that it has to be in, links resolved; empty for any."),
]


class StrParam(_Declared, frozen=True, kw_only=True, tag="str"):
    """A text."""

    default: Annotated[str | UnsetType, Meta(description="Value when not given.")] = (
        UNSET
    )
    choices: Annotated[
        tuple[str, ...], Meta(description="The values that there are.")
    ] = ()
    pattern: Pattern = None
    min_length: Annotated[
        Annotated[int, Meta(ge=0)], Meta(description="Characters at least.")
    ] = 0
    max_length: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Characters at most.")
    ] = None
    flag: Flag = None
    dash: Dash = False
    stdin: Stdin = False


class IntParam(_Declared, frozen=True, kw_only=True, tag="int"):
    """A whole number."""

    default: Annotated[int | UnsetType, Meta(description="Value when not given.")] = (
        UNSET
    )
    choices: Annotated[
        tuple[int, ...], Meta(description="The values that there are.")
    ] = ()
    min: Annotated[int | None, Meta(description="The least value.")] = None
    max: Annotated[int | None, Meta(description="The greatest value.")] = None
    flag: Flag = None
    dash: Dash = False


class FloatParam(_Declared, frozen=True, kw_only=True, tag="float"):
    """A number."""

    default: Annotated[float | UnsetType, Meta(description="Value when not given.")] = (
        UNSET
    )
    min: Annotated[float | None, Meta(description="The least value.")] = None
    max: Annotated[float | None, Meta(description="The greatest value.")] = None
    flag: Flag = None
    dash: Dash = False


class BoolParam(_Declared, frozen=True, kw_only=True, tag="bool"):
    """Yes or no."""

    default: Annotated[bool, Meta(description="Value when not given.")] = False
    flag: Annotated[
        str | None, Meta(description="Option that is there when it is true.")
    ] = None


class PathParam(_Declared, frozen=True, kw_only=True, tag="path"):
    """An absolute path."""

    default: Annotated[str | UnsetType, Meta(description="Value when not given.")] = (
        UNSET
    )
    pattern: Pattern = None
    under: Under = ()
    flag: Flag = None


class ListParam(_Declared, frozen=True, kw_only=True, tag="list"):
    """Several texts or paths, each a word of its own."""

    items: Annotated[
        Literal["str", "path"], Meta(description="What each of them is.")
    ] = "str"
    default: Annotated[
        tuple[str, ...] | UnsetType, Meta(description="Value when not given.")
    ] = UNSET
    choices: Annotated[
        tuple[str, ...], Meta(description="The items that there are.")
    ] = ()
    pattern: Pattern = None
    under: Under = ()
    min_items: Annotated[
        Annotated[int, Meta(ge=0)], Meta(description="Items at least.")
    ] = 0
    max_items: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Items at most.")
    ] = None
    flag: Annotated[
        str | None, Meta(description="Option before each item, as for a text.")
    ] = None
    dash: Dash = False


class SecretParam(_Declared, frozen=True, kw_only=True, tag="secret"):
    """A text that nothing shows; `{name}` is the path of a private file with it."""

    flag: Flag = None
    stdin: Stdin = False


Param = (
    StrParam | IntParam | FloatParam | BoolParam | PathParam | ListParam | SecretParam
)
