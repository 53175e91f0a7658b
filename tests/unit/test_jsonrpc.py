"""Text to described calls, outcomes to text; both ways of reading give one answer."""

import datetime as dt
import os
import random
import subprocess
import sys
import uuid
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from middlewared import CallError, Context, Date, Secret, ValidationError, jsonrpc
from middlewared.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    NotAuthenticated,
    ParseError,
    TooManyCalls,
    ValidationErrors,
)
from middlewared.params import Params

EXAMPLES = 3000 if os.environ.get("SOAK") else 150

# The two ways of reading a request, held against each other.


class Lenient(msgspec.Struct):
    """Takes unknown keys, as the options of some methods do."""

    a: int = 0
    b: str | None = None


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    a: int


NUMBERS: dict[str, int] = {}
ONE = Secret(1)


async def nothing(ctx: Context) -> None: ...
async def any_(ctx: Context, x: Any, y: Any = None) -> None: ...
async def number(ctx: Context, x: int, y: int = 5) -> None: ...
async def real(ctx: Context, x: float, y: bool = True) -> None: ...
async def text(ctx: Context, x: str = "q", *, z: bool = True) -> None: ...
async def limited(
    ctx: Context,
    x: Annotated[int, Meta(gt=0, le=10**6)],
    y: Annotated[float, Meta(ge=0)] = 1.0,
) -> None: ...
async def structs(ctx: Context, x: Lenient, y: Strict | None = None) -> None: ...
async def lists(ctx: Context, x: list[int], y: dict[str, int] = NUMBERS) -> None: ...
async def secret(ctx: Context, x: Secret[str], y: Secret[int] = ONE) -> None: ...
async def words(ctx: Context, x: Literal["a", "b"], y: Literal[1, 2] = 1) -> None: ...
async def times(ctx: Context, x: dt.datetime | None, y: bytes = b"") -> None: ...
async def keys(
    ctx: Context, x: dict[int, int], y: frozenset[int] = frozenset()
) -> None: ...
async def tuples(ctx: Context, x: tuple[int, str], y: tuple[int, ...] = ()) -> None: ...
async def both(ctx: Context, x: int, y: float) -> None: ...
async def every(ctx: Context, x: Any, y: dict[str, int] | None, *, z: bool) -> None: ...
async def unions(ctx: Context, x: uuid.UUID, y: int | str | None = None) -> None: ...


METHODS = {
    handler.__name__: Params(handler)
    for handler in (
        nothing,
        any_,
        number,
        real,
        text,
        limited,
        structs,
        lists,
        secret,
        words,
        times,
        keys,
        tuples,
        both,
        every,
        unions,
    )
}


class Target:
    def __init__(self, params: Params) -> None:
        self.params = params

    def bind(self, args: list[Any], named: dict[str, Any]) -> list[Any]:
        return self.params.bind(args, named)


def find(name: str) -> Target | None:
    return Target(METHODS[name]) if name in METHODS else None


def flat(value: Any) -> Any:
    """Tell 1 from 1.0 and from true, and look into secrets."""
    if isinstance(value, Secret):
        return ("secret", flat(value.get()))
    if isinstance(value, msgspec.Struct):
        return (type(value), flat(msgspec.structs.astuple(value)))
    if isinstance(value, dict):
        return ("dict", [(flat(k), flat(v)) for k, v in value.items()])
    if isinstance(value, (list, tuple)):
        return (type(value), [flat(item) for item in value])
    return (type(value), repr(value))


def read_fast(raw: bytes) -> tuple[Any, bytes] | None:
    """Read the way of plainly well-formed requests: values and id."""
    name, params, number = jsonrpc.read_plain(raw) or ("", b"", b"")
    if name not in METHODS:
        return None
    values = METHODS[name].decode(params)
    return None if values is None else (flat(values), number)


def read_with_dates(raw: bytes) -> tuple[Any, bytes] | None:
    """Read the way of well-formed requests with extended JSON: values and id."""
    name, params, number = jsonrpc.read_extended(raw) or ("", [], b"")
    if name not in METHODS:
        return None
    args, named = ([], params) if isinstance(params, dict) else (params, {})
    try:
        return flat(METHODS[name].bind(args, named)), number
    except CallError:
        return None


def read_completely(raw: bytes) -> tuple[Any, bytes] | Exception | None:
    """Read the way of all requests: values and id, or what is wrong."""
    description = jsonrpc.describe(raw, find)
    if description.target is None:
        return description.error
    return flat(description.values), description.id


def check_same(raw: bytes) -> None:
    """What the fast way takes, the complete way takes, and takes it alike."""
    fast, extended = read_fast(raw), read_with_dates(raw)
    complete = read_completely(raw)
    if extended is not None:
        assert extended == complete
    if fast is None:
        return
    if isinstance(complete, ParseError) and b"e400" in raw:
        # A number beyond a double in a member that nobody reads. JSON leaves the range
        # to us (RFC 8259, section 6), and the fast way does not look there.
        return
    assert fast == complete


VALUES = [
    *("1", "0", "-0", "1.0", "-1", "1e2", "1E2", "1.5", "1e400", "1e-400", "NaN"),
    *("01", "1.", ".5", "+1", "-", "Infinity", "123456789012345678901234567890"),
    *("9007199254740993", "18446744073709551615", "18446744073709551616"),
    *("-9223372036854775809", "1e19", "true", "false", "null", "tru", "1000000"),
    *('""', '"a"', '"\\u0061"', '"\\ud800"', '"\\ud83d\\ude00"', '"\N{SNOWMAN}"'),
    *('"\x00"', '"\n"', '"\\x"', '"\\"', '"1"', '"2020-01-01T00:00:00Z"'),
    *('"YWJj"', '"YWJj="', '"12345678-1234-5678-1234-567812345678"'),
    *("[]", "[1]", "[1,2]", "[1.0]", '[1,"a"]', "[1,]", "[1 2]", "[[1]]"),
    *("{}", '{"a":1}', '{"a":1,"a":2}', '{"a":"1"}', '{"a":1,"b":null,"c":3}'),
    *('{"1":1}', '{"1":1,"1":2}', '{"01":1}', '{"c":01}', '{"c":"\\ud800"}'),
    *('{"a":1,}', '{"$date":1}', '{"$set":[1]}', '{"$date":1,"x":2}', "{a:1}"),
    *('{"\\u0024date":1}', '{"$type":"date","$value":"2020-01-01"}', "'a'", " 1 "),
    *("/**/1", "[" * 300 + "]" * 300, "[" * 5000, "9" * 400, "1." + "1" * 400),
]
value = st.sampled_from(VALUES) | st.from_type(dict[str, int | str | None]).map(
    lambda plain: msgspec.json.encode(plain).decode()
)
blank = st.sampled_from(["", "", "", " ", "\n\t"])
named = st.lists(
    st.tuples(st.sampled_from(['"x"', '"x"', '"y"', '"z"', '"w"', '"\\u0078"']), value),
    max_size=3,
).map(lambda pairs: "{" + ",".join(f"{k}:{v}" for k, v in pairs) + "}")
positional = st.lists(value, max_size=3).map(lambda vs: f"[{','.join(vs)}]")
method = st.sampled_from([f'"{name}"' for name in METHODS]) | st.sampled_from(
    ['"n\\u0075mber"', '""', "1", '"nowhere"', "null"]
)
members = st.fixed_dictionaries(
    {
        '"jsonrpc"': st.sampled_from(['"2.0"'] * 9 + ['"1.0"', "2.0", '"\\u0032.0"']),
        '"method"': method,
    },
    optional={
        '"params"': positional | named | value,
        '"id"': value,
        '"\\u0069d"': value,
        '"extra"': value,
    },
).map(lambda found: list(found.items()))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a request, or something close to one."""
    pairs = draw(members)
    if draw(st.integers(0, 9)) == 0:
        pairs += draw(members)
    pairs = draw(st.permutations(pairs))
    gap = draw(blank)
    body = f",{gap}".join(f"{key}{gap}:{val}" for key, val in pairs)
    raw = f"{gap}{{{body}{gap}}}{gap}".encode()
    if draw(st.integers(0, 19)) == 0:
        place = draw(st.integers(0, len(raw)))
        raw = raw[:place] + draw(st.binary(max_size=3)) + raw[place:]
    return raw


@pytest.mark.timeout(600)
@given(requests())
@settings(max_examples=EXAMPLES, deadline=None)
def test_both_ways_give_the_same_answer(raw: bytes) -> None:
    """The fast path is a shortcut, not another protocol."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return  # refused before anything is read
    check_same(raw)


@pytest.mark.timeout(600)
def test_both_ways_decode_params_alike() -> None:
    """By position and by name, with values of all kinds."""
    chance = random.Random(2)  # noqa: S311 - the same requests every time
    for _ in range(EXAMPLES * 40):
        name = chance.choice(list(METHODS))
        first, second = chance.choices(VALUES, k=2)
        params = chance.choice(
            [
                f"[{first}]",
                f"[{first},{second}]",
                f'{{"x":{first}}}',
                f'{{"y":{first}}}',
                f'{{"y":{second},"x":{first}}}',
                f'{{"x":{second},"x":{first}}}',
            ]
        )
        number = chance.choice(["1", "null", '"a"', first])
        raw = f'{{"jsonrpc":"2.0","method":"{name}","params":{params},"id":{number}}}'
        check_same(raw.encode())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"jsonrpc":"2.0","method":"number","params":[1],"id":1}',
        b'{"jsonrpc":"2.0","method":"number","params":{"x":1,"y":2},"id":"a"}',
        b'{"jsonrpc":"2.0","method":"number","params":[1]}',
        b'{"jsonrpc":"2.0","method":"nothing","id":null}',
        b' {"id":1.0,"method":"text","params":{"z":false},"jsonrpc":"2.0"} ',
    ],
)
def test_plain_requests_take_the_fast_way(raw: bytes) -> None:
    """Else the property would hold for want of anything to compare."""
    assert read_fast(raw) is not None
    check_same(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"jsonrpc":"2.0","method":"any_","params":[{"$date":1}],"id":1}',
        b'{"jsonrpc":"2.0","method":"any_","params":{"x":{"$set":[1]}},"id":"a"}',
        b'{"jsonrpc":"2.0","method":"nothing","more":"$x"}',
    ],
)
def test_extended_requests_take_a_short_way(raw: bytes) -> None:
    """Else the property would hold for want of anything to compare."""
    assert read_with_dates(raw) is not None
    check_same(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"jsonrpc":"2.0","method":"number","params":[1],"id":1}',
        b'{"jsonrpc":"2.0","method":"nothing","more":{"$date":"x"}}',
        b'{"jsonrpc":"2.0","method":"nothing","params":{"$date":1}}',
        b'{"jsonrpc":"2.0","method":"nothing","id":{"$date":1}}',
        b'{"result":"$x","id":1}',
        b'["$x"]',
    ],
)
def test_other_requests_do_not(raw: bytes) -> None:
    """Those without extended JSON, and all that is doubtful."""
    assert jsonrpc.read_extended(raw) is None
    check_same(raw)


def test_params_of_a_request_are_never_an_invalid_request() -> None:
    """What does not fit is -32602, whatever it is."""
    for name in METHODS:
        for text in VALUES:
            for params in (f"[{text}]", f'{{"x":{text}}}', f"[1,{text}]"):
                raw = f'{{"jsonrpc":"2.0","method":"{name}","params":{params},"id":1}}'
                error = jsonrpc.describe(raw.encode(), find).error
                assert not isinstance(error, InvalidRequest), raw


async def awkward(
    ctx: Context, description: str, self: int, named: int = 0, args: int = 0
) -> None: ...


def test_params_may_have_any_name() -> None:
    """Also those that the code on the way uses itself."""
    target = Target(Params(awkward))
    for extra in ("", '"$x":1,'):
        raw = (
            f'{{"jsonrpc":"2.0","method":"x","id":1,{extra}'
            '"params":{"description":"d","self":1,"named":2,"args":3}}'
        )
        description = jsonrpc.describe(raw.encode(), lambda _: target)
        assert description.error is None
        assert description.values == ["d", 1, 2, 3]


def test_dates_are_decoded_to_what_the_method_asks_for() -> None:
    """A time of Python, or the wire's own form."""

    async def handler(ctx: Context, a: dt.datetime, b: Date, c: list[Date]) -> None: ...

    target = Target(Params(handler))
    raw = (
        b'{"jsonrpc":"2.0","method":"x","id":1,'
        b'"params":[{"$date":1},{"$date":2},[{"$date":3}]]}'
    )
    found = jsonrpc.describe(raw, lambda _: target).values
    assert found == [dt.datetime.fromtimestamp(0.001, dt.UTC), Date(2), [Date(3)]]


# The parts.


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"id":1}', b"1"),
        (b'{"id": 1.0 ,"x":2}', b"1.0"),
        (b'{"id":"\\u0061"}', b'"\\u0061"'),
        (b'{"id":null}', b"null"),
        (b"{}", b""),
        (b'{"id":true}', b"null"),
        (b'{"id":[1]}', b"null"),
        (b'{"id":{"id":1}}', b"null"),
        (b"[1]", b""),
        (b"no json", b""),
        (b'{"id":01}', b""),
        (b'{"id":1', b""),
        (b'{"id":1}' + b"[" * 5000, b""),
        (b"", b""),
    ],
)
def test_id_is_read_from_whatever_has_one(raw: bytes, expected: bytes) -> None:
    """Byte for byte; null stands for one of a wrong kind."""
    assert jsonrpc.read_id(raw) == expected


def test_batch_is_split_without_touching_its_elements() -> None:
    """Each element stays the text that it was."""
    elements = jsonrpc.split_batch(b' [ 1 , {"a" : [2]},"x" ]')
    assert [bytes(element) for element in elements] == [b"1", b'{"a" : [2]}', b'"x"']


@pytest.mark.parametrize("raw", [b"[", b"[1,]", b"[1] x", b"[01]", b"[" * 9999])
def test_broken_batch_is_a_parse_error(raw: bytes) -> None:
    """One error for the whole."""
    with pytest.raises(ParseError):
        jsonrpc.split_batch(raw)


def test_empty_batch_is_an_invalid_request() -> None:
    """JSON-RPC 2.0, section 6."""
    with pytest.raises(InvalidRequest):
        jsonrpc.split_batch(b"[ ]")


json_ids = (
    st.integers().map(str)
    | st.sampled_from(["-0", "0.0", "1e2", "null", '"\\u0061"', '"\\/"', "9" * 5000])
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.text().map(lambda text: msgspec.json.encode(text).decode())
)


@given(
    ids=st.lists(json_ids, min_size=1, max_size=5),
    results=st.lists(st.sampled_from([b'"pong"', b"1", b"[1,2]"]), min_size=5),
    params=st.sampled_from(["", ',"params":[]', ',"params":["-"]']),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_ids_of_a_batch_are_answered_byte_for_byte(
    ids: list[str], results: list[bytes], params: str
) -> None:
    """However they are read, and whether the results differ or not."""
    request = '{"jsonrpc":"2.0","id":%s,"method":"a.b"%s}'
    raw = "[" + ", ".join(request % (one, params) for one in ids) + "]"
    requests = jsonrpc.read_requests(raw.encode())
    if requests is None:
        assert "9" * 5000 in ids or '"$' in raw
        return
    assert [jsonrpc.encode_id(one.id).decode() for one in requests] == ids
    answers = [
        jsonrpc.render_result(result, one.encode())
        for result, one in zip(results, ids, strict=False)
    ]
    expected = b"[%b]" % b",".join(answers)
    assert jsonrpc.render_results(results[: len(ids)], requests) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"[1]",
        b'[{"jsonrpc":"2.0","method":"a"}]',
        b'[{"jsonrpc":"2.0","method":"a","id":true}]',
        b'[{"jsonrpc":"2.0","method":"a","id":[0],"params":[1]}]',
        b'[{"jsonrpc":"2.0","method":"a","id":01}]',
        b'[{"jsonrpc":"1.0","method":"a","id":1}]',
        b'[{"method":"a","id":1}]',
        b'[{"jsonrpc":"2.0","method":1,"id":1}]',
        b'[{"jsonrpc":"2.0","method":"a","id":1,"params":{"$date":1}}]',
        b'[{"jsonrpc":"2.0","method":"a","id":1},{"jsonrpc":"2.0","method":"a"}]',
        b'[{"jsonrpc":"2.0","method":"a","id":"\\u12"}]',
        b'[{"jsonrpc":"2.0","method":"a","id":-0}',
    ],
)
def test_batch_with_anything_odd_is_not_read_at_once(raw: bytes) -> None:
    """Its elements are looked at one by one."""
    assert jsonrpc.read_requests(raw) is None


class Refusing:
    """A target that the caller may not call."""

    def bind(self, args: list[Any], named: dict[str, Any]) -> list[Any]:
        raise NotAuthenticated


def test_refusal_of_the_target_is_the_error() -> None:
    """Rights are the target's matter; a notification's refusal is nobody's."""
    raw = b'{"jsonrpc":"2.0","method":"x","id":1}'
    description = jsonrpc.describe(raw, lambda _: Refusing())
    assert isinstance(description.error, NotAuthenticated)
    assert (description.id, description.target) == (b"1", None)
    note = jsonrpc.describe(b'{"jsonrpc":"2.0","method":"x"}', lambda _: Refusing())
    assert (note.error, note.id, note.target) == (None, b"", None)


class Exploding:
    """A target with a bug."""

    def bind(self, args: list[Any], named: dict[str, Any]) -> list[Any]:
        raise OverflowError("too much")


def test_whatever_a_target_raises_is_an_answer() -> None:
    """Nothing escapes to the reader of the connection."""
    raw = b'{"jsonrpc":"2.0","method":"x","id":1}'
    description = jsonrpc.describe(raw, lambda _: Exploding())
    assert description.target is None
    assert description.error is not None


def render(exc: BaseException, number: bytes = b"1", *, trace: bool = False) -> Any:
    return msgspec.json.decode(jsonrpc.render_error(exc, number, with_trace=trace))


@pytest.mark.parametrize(
    ("exc", "code", "message"),
    [
        (ParseError(), -32700, "Parse error"),
        (InvalidRequest(), -32600, "Invalid Request"),
        (MethodNotFound(), -32601, "Method does not exist"),
        (TooManyCalls("Maximum"), -32000, "Maximum"),
    ],
)
def test_protocol_errors_have_no_data(exc: Exception, code: int, message: str) -> None:
    """Code and text of the protocol page, 1.5; never a traceback."""
    assert render(exc, trace=True) == {
        "jsonrpc": "2.0",
        "error": {"code": code, "message": message},
        "id": 1,
    }


def test_error_of_a_request_without_id_has_id_null() -> None:
    """JSON-RPC 2.0, section 5."""
    assert render(ParseError(), b"")["id"] is None


@pytest.mark.parametrize(
    ("exc", "code", "number", "name", "reason"),
    [
        (CallError("no"), -32001, 14, "EFAULT", "[EFAULT] no"),
        (CallError("no", 16), -32001, 16, "EBUSY", "[EBUSY] no"),
        (CallError("no", 4711), -32001, 4711, "EUNKNOWN", "[EUNKNOWN] no"),
        (CallError("no", 205), -32001, 205, "EDATASETISLOCKED", None),
        (ValidationError("a.b", "bad"), -32602, 22, "EINVAL", "[EINVAL] a.b: bad"),
        (ValidationError(None, "gone", 2), -32602, 22, "EINVAL", "[ENOENT] gone"),
        (InvalidParams("a", "bad"), -32602, 22, "EINVAL", "[EINVAL] a: bad\n"),
        (InternalError(), -32603, 14, "EFAULT", None),
        (RuntimeError("boom"), -32001, 22, "EINVAL", "boom"),
        (RuntimeError(), -32001, 22, "EINVAL", "RuntimeError()"),
        (FileNotFoundError(2, "gone", "f"), -32001, 2, "ENOENT", None),
        (KeyError("k"), -32001, 22, "EINVAL", "'k'"),
    ],
)
def test_error_of_a_method_has_the_five_keys(
    exc: Exception, code: int, number: int, name: str, reason: str | None
) -> None:
    """Protocol page, 1.5."""
    error = render(exc)["error"]
    assert error["code"] == code
    data = error["data"]
    assert list(data) == ["error", "errname", "reason", "trace", "extra"]
    assert (data["error"], data["errname"]) == (number, name)
    assert reason is None or data["reason"] == reason


def test_validation_errors_list_attribute_text_and_number() -> None:
    """In their order."""
    exc = ValidationErrors([ValidationError("a", "x"), ValidationError(None, "y", 2)])
    data = render(exc)["error"]["data"]
    assert data["extra"] == [["a", "x", 22], [None, "y", 2]]
    assert data["reason"] == "[EINVAL] a: x\n[ENOENT] y\n"


def test_extra_crosses_the_wire_or_is_described() -> None:
    """Also dates; what has no form is shown as Python shows it."""
    when = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert render(CallError("x", 1, {"at": when}))["error"]["data"]["extra"] == {
        "at": {"$date": 1767225600000}
    }
    assert "object" in render(CallError("x", 1, object()))["error"]["data"]["extra"]
    assert render(CallError("x", 1, float("nan")))["error"]["data"]["extra"] == "nan"


def boom() -> None:
    raise RuntimeError("boom")


def test_traceback_is_for_full_admins() -> None:
    """Others get the last line of it."""
    with pytest.raises(RuntimeError) as caught:
        boom()
    exc = caught.value
    with_trace = render(exc, trace=True)["error"]["data"]["trace"]
    assert with_trace["class"] == "RuntimeError"
    assert with_trace["formatted"].startswith("Traceback (most recent call last)")
    assert with_trace["repr"] == "RuntimeError('boom')"
    without = render(exc)["error"]["data"]["trace"]
    assert without["class"] == "RuntimeError"
    assert without["formatted"] == "RuntimeError: boom"
    assert __file__ not in str(without)


def test_failed_command_shows_its_output() -> None:
    """As the reference does (protocol page, 1.5)."""
    code = "import sys; sys.stderr.write('bad disk'); sys.exit(3)"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    data = render(caught.value)["error"]["data"]
    assert data["errname"] == "EFAULT"
    assert "failed (code 3):\nbad disk" in data["reason"]


@pytest.mark.parametrize("word", ["\ud800", "a\udcffb"])
def test_reason_that_is_no_unicode_crosses_the_wire(word: str) -> None:
    """File names may hold bytes that are no text; an error about them is sent."""
    assert render(CallError(f"no file {word!s}"))["error"]["code"] == -32001
    assert render(RuntimeError(word))["error"]["code"] == -32001


def test_result_is_written_as_it_was_encoded() -> None:
    """Result first, then the id byte for byte."""
    assert jsonrpc.render_result(b'{"a": 1}', b"1.0") == (
        b'{"jsonrpc":"2.0","result":{"a": 1},"id":1.0}'
    )
