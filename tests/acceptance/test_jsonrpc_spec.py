"""JSON-RPC 2.0 over the real socket: the specification's examples, and its fine print.

The examples are those of section 7. Our methods have a namespace, and two texts are
ours: "Method does not exist" is what the reference's clients compare literally.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from wire_client import WireClient
from wire_http import http_client
from wire_server import WireServer, wire_server

from middlewared import Context, Plugin

MARK = b'{"jsonrpc":"2.0","id":"mark","method":"core.ping"}'
MARKED = b'{"jsonrpc":"2.0","result":"pong","id":"mark"}'
PARSE_ERROR = {"code": -32700, "message": "Parse error"}
INVALID_REQUEST = {"code": -32600, "message": "Invalid Request"}
NOT_FOUND = {"code": -32601, "message": "Method does not exist"}

spec = Plugin("spec")
called: list[str] = []


@spec.method(public=True, immediate=True)
async def subtract(ctx: Context, minuend: int, subtrahend: int) -> int:
    """Subtract one from the other."""
    return minuend - subtrahend


@spec.method(public=True, name="sum", immediate=True)
async def add(ctx: Context, a: int, b: int, c: int) -> int:
    """Add three numbers."""
    called.append("sum")
    return a + b + c


@spec.method(public=True)
async def update(ctx: Context, a: int, b: int, c: int, d: int, e: int) -> None:
    """Take five numbers."""
    called.append("update")


@spec.method(public=True)
def notify_hello(ctx: Context, number: int) -> None:
    """Take one number, in a thread."""
    called.append("notify_hello")


@spec.method(public=True)
async def get_data(ctx: Context) -> list[Any]:
    """Return some data."""
    return ["hello", 5]


@spec.method(public=True)
async def echo(ctx: Context, value: Any = None) -> Any:
    """Return *value*."""
    return value


@spec.method(public=True)
async def broken(ctx: Context) -> Any:
    """Return something that has no form in JSON."""
    return [float("nan")]


@spec.method
async def protected(ctx: Context, number: int) -> int:
    """Return *number* to full admins."""
    return number


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(spec) as running:
        yield running


@pytest.fixture
async def client(server: WireServer) -> WireClient:
    called.clear()
    return await server.anonymous()


async def answer(client: WireClient, text: str | bytes) -> Any:
    """Send a text and return its answer, None when there is none.

    Over HTTP the answer is the same, byte for byte.
    """
    await client.send_text(text)
    await client.send_text(MARK)
    first = await client.receive_text()
    if first == MARKED:
        assert await posted(client, text) is None
        return None
    if await client.receive_text() != MARKED:
        raise AssertionError("more than one answer")
    assert await posted(client, text) == first
    return msgspec.json.decode(first)


async def posted(client: WireClient, text: str | bytes) -> bytes | None:
    """Send a text to the server of *client* over HTTP; None for 204, no content."""
    body = text.encode() if isinstance(text, str) else text
    async with http_client(client.sock.getpeername()) as http:
        found = await http.ask(
            "/api/current", method="POST", body=body, Content_Type="application/json"
        )
    if found.status == 204:
        assert found.body == b""
        return None
    assert (found.status, found.headers["content-type"]) == (200, "application/json")
    return found.body


async def late_answer(client: WireClient, text: str) -> Any:
    """Send a text and return its answer, which a task or a thread may make."""
    await client.send_text(text)
    return await client.receive()


def success(value: Any, number: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "result": value, "id": number}


def failure(error: dict[str, Any], number: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": error, "id": number}


EXAMPLES: dict[str, tuple[str, Any]] = {
    "positional": (
        '{"jsonrpc": "2.0", "method": "spec.subtract", "params": [42, 23], "id": 1}',
        success(19, 1),
    ),
    "positional, the other way": (
        '{"jsonrpc": "2.0", "method": "spec.subtract", "params": [23, 42], "id": 2}',
        success(-19, 2),
    ),
    "named": (
        """{"jsonrpc": "2.0", "method": "spec.subtract",
            "params": {"subtrahend": 23, "minuend": 42}, "id": 3}""",
        success(19, 3),
    ),
    "named, the other way": (
        """{"jsonrpc": "2.0", "method": "spec.subtract",
            "params": {"minuend": 42, "subtrahend": 23}, "id": 4}""",
        success(19, 4),
    ),
    "notification": (
        '{"jsonrpc": "2.0", "method": "spec.update", "params": [1,2,3,4,5]}',
        None,
    ),
    "notification of nothing": ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    "unknown method": (
        '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
        failure(NOT_FOUND, "1"),
    ),
    "invalid JSON": (
        '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
        failure(PARSE_ERROR),
    ),
    "invalid request": (
        '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
        failure(INVALID_REQUEST),
    ),
    "batch of invalid JSON": (
        """[
            {"jsonrpc": "2.0", "method": "spec.sum", "params": [1,2,4], "id": "1"},
            {"jsonrpc": "2.0", "method"
        ]""",
        failure(PARSE_ERROR),
    ),
    "empty batch": ("[]", failure(INVALID_REQUEST)),
    "invalid batch": ("[1]", [failure(INVALID_REQUEST)]),
    "invalid batch of three": ("[1,2,3]", [failure(INVALID_REQUEST)] * 3),
    "all notifications": (
        """[
            {"jsonrpc": "2.0", "method": "spec.sum", "params": [1,2,4]},
            {"jsonrpc": "2.0", "method": "spec.notify_hello", "params": [7]}
        ]""",
        None,
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_example_of_the_specification(client: WireClient, name: str) -> None:
    """Section 7 of the specification, example by example."""
    text, expected = EXAMPLES[name]
    assert await answer(client, text) == expected


MIXED = """[
        {"jsonrpc": "2.0", "method": "spec.sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "spec.notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "spec.subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "me"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "spec.get_data", "id": "9"}
    ]"""


async def test_mixed_batch_of_the_specification(client: WireClient) -> None:
    """Every element has its own answer, valid or not; notifications have none."""
    found = await late_answer(client, MIXED)
    expected = [
        success(7, "1"),
        success(19, "2"),
        failure(INVALID_REQUEST),
        failure(NOT_FOUND, "5"),
        success(["hello", 5], "9"),
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    body = await posted(client, MIXED)
    assert sorted(msgspec.json.decode(body or b""), key=str) == sorted(found, key=str)


async def test_notifications_are_executed(client: WireClient) -> None:
    """Silently, alone or in a batch, whatever runs them."""
    numbers = "[1,2,3,4,5]"
    note = f'{{"jsonrpc":"2.0","method":"spec.update","params":{numbers}}}'
    hello = '{"jsonrpc":"2.0","method":"spec.notify_hello","params":{"number":1}}'
    last = '{"jsonrpc":"2.0","method":"spec.echo","id":1}'
    for text in (note, hello, f"[{note},{hello}]"):
        called.clear()
        await client.send_text(text)
        while not called:
            assert await late_answer(client, last) == success(None, 1)


# Ids.


@pytest.mark.parametrize(
    "number",
    [
        "1",
        "0",
        "-0",
        "-7",
        "123456789012345678901234567890",
        "1.0",
        "0.1",
        "1e3",
        "1E-2",
        "9007199254740993",
        '""',
        '"a"',
        '"\\u0061\\/\\ud83d\\ude00"',
        '"\N{SNOWMAN}"',
        '"' + "x" * 300 + '"',
        "null",
    ],
)
@pytest.mark.parametrize(
    "rest",
    [
        '"method":"core.ping"',
        '"method":"spec.echo"',
        '"method":"nowhere"',
        '"method":"spec.sum","params":[1]',
        '"method":"spec.protected"',
        '"method":1',
    ],
)
async def test_id_comes_back_byte_for_byte(
    client: WireClient, number: str, rest: str
) -> None:
    """In results and in errors of every kind, alone and in a batch."""
    text = f'{{"jsonrpc":"2.0","id":{number},{rest}}}'
    await client.send_text(text)
    found = await client.receive_text()
    assert found.endswith(b',"id":%b}' % number.encode())
    await client.send_text(f"[{text}]")
    assert await client.receive_text() == b"[" + found + b"]"


@pytest.mark.parametrize("number", ["true", "false", "[]", "{}", "[1]", '{"a":1}'])
async def test_id_of_a_wrong_kind_is_an_invalid_request(
    client: WireClient, number: str
) -> None:
    """String, number or null (section 4); the answer's id is null then."""
    text = f'{{"jsonrpc":"2.0","id":{number},"method":"core.ping"}}'
    assert await answer(client, text) == failure(INVALID_REQUEST)


async def test_equal_ids_are_answered_each(client: WireClient) -> None:
    """What ids mean is the client's business."""
    ping = '{"jsonrpc":"2.0","id":1,"method":"core.ping"}'
    assert await answer(client, f"[{ping},{ping}]") == [success("pong", 1)] * 2


# Requests that are none, or nearly.


@pytest.mark.parametrize(
    "text",
    [
        '{"method":"core.ping","id":1}',
        '{"jsonrpc":"1.0","method":"core.ping","id":1}',
        '{"jsonrpc":2.0,"method":"core.ping","id":1}',
        '{"jsonrpc":"2.0","id":1}',
        '{"jsonrpc":"2.0","method":"","id":1}',
        '{"jsonrpc":"2.0","method":null,"id":1}',
        '{"jsonrpc":"2.0","method":["core.ping"],"id":1}',
        '{"jsonrpc":"2.0","method":"core.ping","params":null,"id":1}',
        '{"jsonrpc":"2.0","method":"core.ping","params":"x","id":1}',
        '{"jsonrpc":"2.0","method":"core.ping","params":1,"id":1}',
        '{"jsonrpc":"2.0","method":"core.ping","params":true,"id":1}',
    ],
)
async def test_invalid_request_with_an_id_is_answered_with_it(
    client: WireClient, text: str
) -> None:
    """-32600, without data."""
    assert await answer(client, text) == failure(INVALID_REQUEST, 1)


@pytest.mark.parametrize(
    "text",
    ["1", "null", "true", '"core.ping"', "{}", '{"id":[]}', '{"jsonrpc":"2.0"}'],
)
async def test_invalid_request_without_an_id_is_answered_with_null(
    client: WireClient, text: str
) -> None:
    """What nobody can recognise is answered all the same."""
    assert await answer(client, text) == failure(INVALID_REQUEST)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "[",
        "]",
        "{]",
        "[1,]",
        '{"a":1,}',
        "nul",
        "'a'",
        "// x",
        '{"jsonrpc":"2.0","method":"core.ping","id":01}',
        '{"jsonrpc":"2.0","method":"core.ping","id":1e400}',
        '{"jsonrpc":"2.0","method":"core.ping","id":NaN}',
        '{"jsonrpc":"2.0","method":"core.ping","id":1}}',
        '{"jsonrpc":"2.0","method":"core.ping","id":1} x',
        '{"jsonrpc":"2.0","method":"core.ping","id":"\n"}',
        '{"jsonrpc":"2.0","method":"core.ping","id":"\\x"}',
        "\N{BYTE ORDER MARK}" + '{"jsonrpc":"2.0","method":"core.ping","id":1}',
        "\x00",
        "\x0b[]",
        "[" * 5000,
        "[" * 4000 + "]" * 4000,
        '{"a":' * 1200 + "1" + "}" * 1200,
        '{"jsonrpc":"2.0","method":"spec.echo","id":1,"params":'
        + "[" * 3000
        + "]" * 3000
        + "}",
    ],
)
async def test_no_json_is_a_parse_error_and_the_connection_stays(
    client: WireClient, text: str
) -> None:
    """-32700 with id null, without data; nesting without end is no JSON to us."""
    assert await answer(client, text) == failure(PARSE_ERROR)


@pytest.mark.parametrize(
    "text",
    [
        ' \t\r\n{"jsonrpc":"2.0","method":"core.ping","id":1}\n ',
        '{"id":1,"params":[],"method":"core.ping","jsonrpc":"2.0"}',
        '{"jsonrpc":"2.0","method":"core.ping","params":{},"id":1}',
        '{"jsonrpc":"2.0","method":"core.\\u0070ing","id":1}',
        '{"\\u006asonrpc":"2.0","method":"core.ping","\\u0069d":1}',
        '{"jsonrpc":"2.0","method":"core.ping","id":1,"meta":{"$date":5},"x":[]}',
        '{"jsonrpc":"2.0","method":"core.ping","id":1,"result":5,"error":null}',
        '{"jsonrpc":"2.0","method":"nowhere","method":"core.ping","id":2,"id":1}',
    ],
)
async def test_unusual_request_is_a_request(client: WireClient, text: str) -> None:
    """Order, blanks, escapes and members that mean nothing to us do not matter."""
    assert await answer(client, text) == success("pong", 1)


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","result":1,"id":1}',
        '{"jsonrpc":"2.0","error":{"code":-32601,"message":"x"},"id":1}',
        '{"jsonrpc":"2.0","error":{"code":-32601,"message":"x"},"id":null}',
        '{"jsonrpc":"2.0","error":{"code":-32601,"message":"x"}}',
        '[{"jsonrpc":"2.0","result":1,"id":1},{"jsonrpc":"2.0","result":2,"id":2}]',
    ],
)
async def test_response_is_ignored(client: WireClient, text: str) -> None:
    """Some clients answer notifications; nobody asked them."""
    assert await answer(client, text) is None


async def test_response_in_a_batch_is_passed_over(client: WireClient) -> None:
    """The others in it are answered."""
    ping = '{"jsonrpc":"2.0","id":1,"method":"core.ping"}'
    found = await answer(client, f'[{{"jsonrpc":"2.0","result":1,"id":9}},{ping}]')
    assert found == [success("pong", 1)]


# Batches.


async def test_array_in_a_batch_is_an_invalid_request(client: WireClient) -> None:
    """Batches do not nest."""
    ping = '{"jsonrpc":"2.0","id":1,"method":"core.ping"}'
    found = await answer(client, f"[[],[{ping}],{ping}]")
    assert found == [failure(INVALID_REQUEST)] * 2 + [success("pong", 1)]


async def test_batch_with_blanks_around_it_is_a_batch(client: WireClient) -> None:
    """Blanks are blanks (RFC 8259, section 2)."""
    assert await answer(client, " \r\n\t[ ] ") == failure(INVALID_REQUEST)
    assert await answer(client, "\n[ 1 , 2 ]\n") == [failure(INVALID_REQUEST)] * 2


async def test_large_batch_has_an_answer_for_each_element(client: WireClient) -> None:
    """All in one message."""
    elements = ",".join(
        f'{{"jsonrpc":"2.0","id":{n},"method":"x"}}' for n in range(200)
    )
    found = await late_answer(client, f"[{elements}]")
    assert [element["id"] for element in found] == list(range(200))


async def test_two_batches_are_answered_apart(client: WireClient) -> None:
    """An answer belongs to one batch."""
    for number in (1, 2):
        call = f'{{"jsonrpc":"2.0","id":{number},"method":"spec.echo"}}'
        await client.send_text(f"[{call},{call}]")
    found = [await client.receive(), await client.receive()]
    assert sorted(found, key=str) == [[success(None, n)] * 2 for n in (1, 2)]


async def test_failing_element_disturbs_no_other(client: WireClient) -> None:
    """A result that cannot be sent is one error among the answers."""
    found = await late_answer(
        client,
        '[{"jsonrpc":"2.0","id":1,"method":"spec.broken"},'
        '{"jsonrpc":"2.0","id":2,"method":"spec.echo","params":[3]}]',
    )
    by_id = {element["id"]: element for element in found}
    assert by_id[2] == success(3, 2)
    assert by_id[1]["error"]["code"] == -32603
    assert by_id[1]["error"]["data"]["error"] == 14


# Params.


@pytest.mark.parametrize(
    ("params", "extra"),
    [
        ("[1]", [["b", "Field required", 22], ["c", "Field required", 22]]),
        ("{}", [[name, "Field required", 22] for name in "abc"]),
        ("[1,2,3,4]", [["", "Too many arguments (expected 3, found 4)", 22]]),
        ('{"a":1,"b":2,"c":3,"d":4}', [["d", "Unknown parameter", 22]]),
        ('["x",2,3]', [["a", "Expected `int`, got `str`", 22]]),
        ('{"a":1,"b":null,"c":3}', [["b", "Expected `int`, got `null`", 22]]),
        ("[1,2,true]", [["c", "Expected `int`, got `bool`", 22]]),
    ],
)
async def test_params_that_do_not_fit_are_named(
    client: WireClient, params: str, extra: list[Any]
) -> None:
    """-32602 with the five keys; ``extra`` has attribute, text and number of each."""
    text = f'{{"jsonrpc":"2.0","id":1,"method":"spec.sum","params":{params}}}'
    found = await answer(client, text)
    assert (found["error"]["code"], found["error"]["message"]) == (
        -32602,
        "Invalid params",
    )
    data = found["error"]["data"]
    assert data["extra"] == extra
    assert data["reason"] == "".join(f"[EINVAL] {a}: {text}\n" for a, text, _ in extra)
    assert (data["error"], data["errname"]) == (22, "EINVAL")
    assert set(data) == {"error", "errname", "reason", "trace", "extra"}
    assert called == []


async def test_extended_json_is_decoded_and_comes_back(client: WireClient) -> None:
    """Dates and sets have forms of their own (protocol page, section 2)."""
    for value in (
        '{"$date":1700000000123}',
        '{"$set":[1]}',
        '{"$time":"01:02:03"}',
        '{"$type":"date","$value":"2026-02-03"}',
        '{"$ipv4_interface":"10.0.0.1/8"}',
        '{"a":[{"$date":0}]}',
        '{"$date":1,"other":2}',
    ):
        text = f'{{"jsonrpc":"2.0","id":1,"method":"spec.echo","params":[{value}]}}'
        assert await late_answer(client, text) == success(msgspec.json.decode(value), 1)


@pytest.mark.parametrize(
    "value",
    [
        '{"$date":"x"}',
        '{"$date":1e300}',
        '{"$set":[[1]]}',
        '{"$set":1}',
        '{"$time":"25:00"}',
        '{"$type":"date","$value":5}',
        '{"$type":"date","$value":"2026-13-01"}',
        '{"$ipv4_interface":"x"}',
    ],
)
async def test_bad_extended_json_is_a_parse_error(
    client: WireClient, value: str
) -> None:
    """As in the reference (protocol page, section 2)."""
    text = f'{{"jsonrpc":"2.0","id":1,"method":"spec.echo","params":[{value}]}}'
    assert (await answer(client, text))["error"] == PARSE_ERROR


async def test_deep_extended_json_is_a_parse_error(client: WireClient) -> None:
    """What is nested deeper than we can follow is refused, not followed."""
    deep = "[" * 900 + '{"$date":1}' + "]" * 900
    text = f'{{"jsonrpc":"2.0","id":1,"method":"spec.echo","params":[{deep}]}}'
    found = await late_answer(client, text)
    assert found["error"]["code"] in (-32700, -32603)


# Rights.


async def test_protected_method_is_207_before_its_params_are_read(
    client: WireClient,
) -> None:
    """A stranger learns nothing about params."""
    for params in ("[1]", "[]", '["x"]', "[1,2,3]", '{"nothing":1}'):
        text = f'{{"jsonrpc":"2.0","id":1,"method":"spec.protected","params":{params}}}'
        error = (await answer(client, text))["error"]
        assert (error["code"], error["message"]) == (-32001, "Method call error")
        assert error["data"] == {
            "error": 207,
            "errname": "ENOTAUTHENTICATED",
            "reason": "[ENOTAUTHENTICATED] Not authenticated",
            "trace": error["data"]["trace"],
            "extra": None,
        }


async def test_unknown_method_is_not_found_before_login_too(
    client: WireClient,
) -> None:
    """Clients probe for methods before they log in."""
    text = '{"jsonrpc":"2.0","id":1,"method":"spec.nothing","params":["x"]}'
    assert await answer(client, text) == failure(NOT_FOUND, 1)


async def test_notification_of_a_protected_method_is_silent(
    client: WireClient,
) -> None:
    """No notification is ever answered, not even with an error."""
    for method in ("spec.protected", "spec.nothing", "spec.sum"):
        text = f'{{"jsonrpc":"2.0","method":"{method}","params":["x"]}}'
        assert await answer(client, text) is None
