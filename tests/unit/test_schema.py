"""JSON Schema from the annotations that decode."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from middlewared import Date, Secret
from middlewared.params import Params
from middlewared.schema import params_schema, result_schema


class Login(msgspec.Struct):
    username: Annotated[str, Meta(description="Who.")]
    password: Secret[str]


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
    assert found["pair"]["prefixItems"] == [{"type": "integer"}, {"type": "string"}]
    assert "$date" in found["when"]["$defs"]["Date"]["properties"]
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
    assert result_schema(Secret) == {"type": "string", "writeOnly": True}
