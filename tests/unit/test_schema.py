"""JSON Schema from the annotations that decode."""

import dataclasses
import datetime as dt
import decimal
import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NewType, TypedDict, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from msgspec import Meta, UnsetType

from middlewared import Date, Secret, ejson
from middlewared.params import Params
from middlewared.results import Results
from middlewared.schema import Schemas, described, params_schema, result_schema

T = TypeVar("T")
Number = NewType("Number", int)
DATE = {
    "title": "date",
    "type": "object",
    "properties": {"$date": {"type": "integer"}},
    "required": ["$date"],
    "additionalProperties": False,
}


class Login(msgspec.Struct):
    username: Annotated[str, Meta(description="Who.")]
    password: Secret[str]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What may be asked for.

    It has two paragraphs.

    Attributes:
        depth: how deep, and this
            goes on.
        login: somebody.
    """

    depth: Annotated[int, Meta(ge=0)] = 3
    login: Login | None = None
    names: list[str] = []
    extra: str | UnsetType = msgspec.UNSET


class Borrowing(msgspec.Struct):
    """The same; the fields of `Options`."""

    depth: int


class Node(msgspec.Struct):
    """A tree."""

    children: list["Node"] = []


class Box(msgspec.Struct, Generic[T]):
    """Something in a box."""

    inside: T


class Left(msgspec.Struct, tag="left"):
    value: int


class Right(msgspec.Struct, tag="right"):
    value: str


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


class Settings(TypedDict, total=False):
    mode: Literal["a", "b"]


def schemas(handler: Any) -> dict[str, dict[str, Any]]:
    return {found["_name_"]: found for found in params_schema(Params(handler))}


def test_params_in_order_with_defaults() -> None:
    """Each has its name, whether it must be given, and its default."""

    def handler(
        ctx: object,
        pool: str,
        depth: Annotated[int, Meta(gt=0)] = 3,
        *,
        note: str | None = None,
    ) -> None:
        """Take three."""

    assert params_schema(Params(handler)) == [
        {"_name_": "pool", "_required_": True, "type": "string"},
        {
            "_name_": "depth",
            "_required_": False,
            "type": "integer",
            "exclusiveMinimum": 0,
            "default": 3,
        },
        {
            "_name_": "note",
            "_required_": False,
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "default": None,
        },
    ]


def test_secrets_have_the_type_inside_and_are_write_only() -> None:
    """A form knows what to ask for, and that it must not show it."""

    def handler(
        ctx: object,
        a: Secret[str],
        b: Secret[int] | None = None,
        c: list[Secret[str]] = [],  # noqa: B006 - only described
        d: Annotated[Secret[str], Meta(description="Key.")] = Secret("x"),  # noqa: B008
    ) -> None:
        """Take secrets."""

    found = schemas(handler)
    hidden = {"type": "string", "writeOnly": True}
    assert found["a"] == {"_name_": "a", "_required_": True, **hidden}
    assert found["b"]["anyOf"] == [
        {"type": "integer", "writeOnly": True},
        {"type": "null"},
    ]
    assert found["c"]["items"] == hidden
    assert found["d"].items() >= {**hidden, "description": "Key."}.items()


def test_default_of_a_secret_is_not_shown() -> None:
    """A declared default is a value like any other."""

    def handler(ctx: object, key: Secret[str] = Secret("hunter2")) -> None:  # noqa: B008
        """Take a secret."""

    assert schemas(handler)["key"]["default"] == "********"


def test_secret_field_of_a_struct() -> None:
    """Its field is write-only, too."""

    def handler(ctx: object, login: Login) -> None:
        """Take a struct."""

    properties = schemas(handler)["login"]["$defs"]["Login"]["properties"]
    assert properties["password"]["writeOnly"] is True
    assert properties["username"] == {"type": "string", "description": "Who."}


def test_other_kinds() -> None:
    """Choices, tuples, wire dates and anything at all have a schema."""

    def handler(
        ctx: object,
        choice: Literal["a", "b"],
        pair: tuple[int, str],
        when: Date,
        whatever: Any = None,
    ) -> None:
        """Take all sorts."""

    found = schemas(handler)
    assert found["choice"]["enum"] == ["a", "b"]
    assert found["pair"] == {
        "_name_": "pair",
        "_required_": True,
        "type": "array",
        "items": [{"type": "integer"}, {"type": "string"}],
        "additionalItems": False,
        "minItems": 2,
        "maxItems": 2,
    }
    assert found["when"].items() >= DATE.items()
    assert found["whatever"] == {
        "_name_": "whatever",
        "_required_": False,
        "default": None,
    }


def test_unknown_class_is_named() -> None:
    """A class that msgspec cannot describe has at least its name."""

    class Pool:
        """Something of a plugin's."""

    assert result_schema(Pool) == {"title": "Pool"}


def test_result() -> None:
    """A result is described like a param."""
    assert result_schema(list[int]) == {"type": "array", "items": {"type": "integer"}}
    assert result_schema(None) == {"type": "null"}
    assert result_schema(Any) == {}
    assert result_schema(Secret) == {"type": "string", "x-secret": True}


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (int | Any, {}),
        (msgspec.Raw | Secret[msgspec.Raw], {}),
        (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array"}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            Mapping[str, int],
            {"type": "object", "additionalProperties": {"type": "integer"}},
        ),
        (
            dict[Colour, Any],
            {"type": "object", "propertyNames": {"enum": ["red", "blue"]}},
        ),
        (dict[int, Any], {"type": "object"}),
        (Number, {"type": "integer"}),
        (T, {}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (decimal.Decimal, {"type": "string", "format": "decimal"}),
        (dt.datetime, DATE),
        (
            Annotated[list[int], Meta(min_length=1, max_length=2)],
            {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 1,
                "maxItems": 2,
            },
        ),
        (
            Annotated[str, Meta(min_length=1, pattern="^a", title="A")],
            {"type": "string", "minLength": 1, "pattern": "^a", "title": "A"},
        ),
        (
            Annotated[dict[str, Any], Meta(max_length=1)],
            {"type": "object", "maxProperties": 1},
        ),
        (Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)], {"type": "integer"}),
        (
            Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "array"})],
            {"type": "array"},
        ),
    ],
)
def test_each_kind(kind: Any, wanted: dict[str, Any]) -> None:
    """Every kind of annotation has the schema of what is sent for it."""
    found = result_schema(kind)
    assert found == wanted
    Draft7Validator.check_schema(found)


@pytest.mark.parametrize(
    ("kind", "sent", "also_accepted"),
    [
        (dt.datetime, {"$date": 0}, "1970-01-01T00:00:00Z"),
        (dt.date, {"$type": "date", "$value": "2027-01-31"}, "2027-01-31"),
        (dt.time, {"$time": "12:00:00"}, "12:00:00"),
        (ipaddress.IPv4Interface, {"$ipv4_interface": "10.0.0.1/8"}, "10.0.0.1/8"),
        (set[str], {"$set": ["a"]}, ["a"]),
    ],
)
def test_extended_forms(kind: Any, sent: Any, also_accepted: Any) -> None:
    """One form is sent; the plain text or array is accepted as well."""
    out, into = Schemas().sent(kind), Schemas().accepted(kind)
    assert Draft7Validator(out).is_valid(sent)
    assert not Draft7Validator(out).is_valid(also_accepted)
    assert Draft7Validator(into).is_valid(sent)
    assert Draft7Validator(into).is_valid(also_accepted)


def test_struct_that_is_sent() -> None:
    """It has all its fields, those that may be unset aside, and no others."""
    schemas = Schemas()
    assert schemas.sent(Options) == {"$ref": "#/components/schemas/Options"}
    found = schemas.components()
    assert list(found) == ["Login", "Options"]
    assert found["Options"] == {
        "title": "Options",
        "description": "What may be asked for.\n\nIt has two paragraphs.",
        "type": "object",
        "properties": {
            "depth": {
                "type": "integer",
                "minimum": 0,
                "description": "How deep, and this goes on.",
            },
            "login": {
                "anyOf": [{"$ref": "#/components/schemas/Login"}, {"type": "null"}],
                "description": "Somebody.",
            },
            "names": {"type": "array", "items": {"type": "string"}},
            "extra": {"type": "string"},
        },
        "required": ["depth", "login", "names"],
        "additionalProperties": False,
    }
    assert found["Login"]["additionalProperties"] is False
    assert "description" not in found["Login"]


def test_struct_that_is_accepted() -> None:
    """It may lack what has a default, and have more unless it forbids that."""
    schemas = Schemas()
    schemas.sent(Options)  # what was said before does not matter
    schemas.accepted(Options)
    found = schemas.components()
    assert "required" not in found["Options"]
    assert found["Options"]["additionalProperties"] is False
    defaults = {
        name: schema["default"]
        for name, schema in found["Options"]["properties"].items()
        if "default" in schema
    }
    assert defaults == {"depth": 3, "login": None, "names": []}
    assert found["Login"]["required"] == ["username", "password"]
    assert "additionalProperties" not in found["Login"]


def test_docs_may_stand_at_another_struct() -> None:
    """A struct that says it has another one's fields has their words."""
    schemas = Schemas()
    schemas.sent(Borrowing)
    depth = schemas.components()["Borrowing"]["properties"]["depth"]
    assert depth["description"] == "How deep, and this goes on."


def test_struct_may_hold_itself() -> None:
    """A tree is described by a reference to itself."""
    schema = result_schema(Node)
    assert schema["$defs"]["Node"]["properties"]["children"] == {
        "type": "array",
        "items": {"$ref": "#/$defs/Node"},
    }
    assert Draft7Validator(schema).is_valid({"children": [{"children": []}]})
    assert not Draft7Validator(schema).is_valid({"children": [{"other": []}]})


def test_generic_struct_has_a_name_for_each_kind() -> None:
    """A box of numbers is not a box of texts."""
    schemas = Schemas()
    schemas.sent(tuple[Box[int], Box[str]])
    found = schemas.components()
    assert list(found) == ["Box_int", "Box_str"]
    assert found["Box_int"]["properties"]["inside"] == {"type": "integer"}


def test_two_structs_of_one_name() -> None:
    """The second one is named after its module, too."""
    other = msgspec.defstruct("Login", [("id", int)], module="elsewhere")
    schemas = Schemas()
    schemas.sent(tuple[Login, other])  # type: ignore[valid-type]  # made at run time
    assert list(schemas.components()) == ["Login", "elsewhere.Login"]


def test_tagged_structs() -> None:
    """The tag says which of them it is."""
    schema = result_schema(Left | Right)
    validator = Draft7Validator(schema)
    assert validator.is_valid({"type": "left", "value": 1})
    assert not validator.is_valid({"type": "right", "value": 1})


def test_struct_as_an_array() -> None:
    """A struct that is encoded as an array is described as one."""
    pair = msgspec.defstruct("Pair", [("a", int), ("b", str, "")], array_like=True)
    schemas = Schemas()
    schemas.accepted(pair)
    assert (
        schemas.components()["Pair"].items()
        >= {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
        }.items()
    )


def test_dataclass_and_typed_dict() -> None:
    """What authors have besides structs is described, too."""
    assert result_schema(Point)["required"] == ["x", "y"]
    assert Schemas().accepted(Point)["required"] == ["x"]
    found = result_schema(Settings)
    assert found["properties"]["mode"]["enum"] == ["a", "b"]
    assert "required" not in found


def test_words_beside_a_reference() -> None:
    """Draft 7 ignores what stands beside a reference, so the reference moves in."""
    assert described({"$ref": "#/x"}, description="It.") == {
        "allOf": [{"$ref": "#/x"}],
        "description": "It.",
    }
    assert described({"type": "null"}, default=None) == {
        "type": "null",
        "default": None,
    }


VALUES: dict[Any, st.SearchStrategy[Any]] = {
    Options: st.builds(
        Options,
        depth=st.integers(0, 9),
        login=st.none() | st.builds(Login, st.text(), st.builds(Secret, st.text())),
        names=st.lists(st.text()),
        extra=st.just(msgspec.UNSET) | st.text(),
    ),
    Node: st.recursive(
        st.builds(Node), lambda inner: st.builds(Node, st.lists(inner, max_size=3))
    ),
    Point: st.builds(Point, st.integers(), st.floats(-9, 9)),
    set[str]: st.sets(st.text()),
    dt.datetime: st.datetimes(),
    tuple[int, Colour | None]: st.tuples(
        st.integers(), st.none() | st.sampled_from(Colour)
    ),
    dict[str, dt.date]: st.dictionaries(st.text(), st.dates()),
    Left | Right: st.builds(Left, st.integers()) | st.builds(Right, st.text()),
}


@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_what_is_sent_fits_its_schema(kind: Any) -> None:
    """Whatever a method returns is encoded as its schema says."""
    validator = Draft7Validator(result_schema(kind))
    results = Results(kind)

    @given(VALUES[kind])
    def holds(value: Any) -> None:
        validator.validate(msgspec.json.decode(results.encode(value)))

    holds()


@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_what_is_sent_is_accepted_too(kind: Any) -> None:
    """The form that is sent fits the schema of a param, and is bound as one."""

    def handler(ctx: object, value: Any) -> None:
        """Take one."""

    handler.__annotations__["value"] = kind
    params = Params(handler)
    validator = Draft7Validator(params_schema(params)[0])

    @given(VALUES[kind])
    def holds(value: Any) -> None:
        plain = msgspec.json.decode(ejson.encode(value, clear=True))
        validator.validate(plain)
        params.bind([ejson.from_wire(plain)], {})

    holds()
