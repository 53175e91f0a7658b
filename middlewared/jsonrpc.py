"""JSON-RPC 2.0: text to described calls, outcomes to text. No I/O, no asyncio.

A plainly well-formed single request is decoded straight into a struct. Everything
else (no JSON, no request, an unknown method, params that do not bind) is described by
jsonrpcserver, whose codes decide; both ways end in the one renderer here. A property
test holds them to the same answer.
"""

import inspect
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

import msgspec
from jsonrpcserver import Success, dispatch_to_response

from middlewared import ejson
from middlewared.errors import (
    CallError,
    ErrorData,
    InternalError,
    InvalidRequest,
    MethodNotFound,
    ParseError,
    RpcError,
    Trace,
    ValidationErrors,
    describe_error,
)

__all__ = [
    "NO_ID",
    "Bare",
    "Description",
    "Element",
    "Target",
    "describe",
    "encode_id",
    "read_cancelled",
    "read_extended",
    "read_id",
    "read_plain",
    "read_requests",
    "render_error",
    "render_result",
    "render_results",
    "split_batch",
]

#: The id of a notification: there is none.
NO_ID = b""
NULL_ID = b"null"
FIRST_RESPONSE = b'{"jsonrpc":"2.0","result":'
RESPONSE_ID = b',"id":'
NEXT_RESPONSE = b"}," + FIRST_RESPONSE
_ID_STARTS = b'"-0123456789n'
#: How a key of extended JSON begins. One byte is looked for first, since it is found
#: ten times as fast, and most often there is none.
EXTENDED, DOLLAR = b'"$', ord("$")
BACKSLASH, MINUS, QUOTE = ord("\\"), ord("-"), ord('"')
_PARAMS_STARTS = b"[{"
_encode = msgspec.json.Encoder().encode


class _Request(msgspec.Struct, gc=False):
    """A single request as it stands in the text; unknown members are ignored."""

    jsonrpc: Literal["2.0"]
    method: str
    params: msgspec.Raw = msgspec.Raw()
    id: msgspec.Raw = msgspec.Raw()


class Bare(msgspec.Struct, gc=False):
    """A request with an id and no params."""

    jsonrpc: Literal["2.0"]
    method: str
    id: int | str
    params: tuple[()] = ()


class _Full(msgspec.Struct, gc=False):
    """A request with an id."""

    jsonrpc: Literal["2.0"]
    method: str
    id: int | str
    params: msgspec.Raw = msgspec.Raw()


class _Odd(msgspec.Struct, gc=False):
    """A request with an id of any kind."""

    jsonrpc: Literal["2.0"]
    method: str
    id: msgspec.Raw
    params: msgspec.Raw = msgspec.Raw()


#: A plainly well-formed request of a batch, no notification. Its params stand there
#: byte for byte; what is encoded of its id is what stood in the text.
Element = Bare | _Full | _Odd


class _Id(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw()


class _Cancel(msgspec.Struct):
    jsonrpc: Literal["2.0"]
    method: Literal["$/cancelRequest"]
    params: _Id
    id: msgspec.Raw = msgspec.Raw()


_request = msgspec.json.Decoder(_Request).decode
_id = msgspec.json.Decoder(_Id).decode
_cancel = msgspec.json.Decoder(_Cancel).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_bare_requests = msgspec.json.Decoder(list[Bare]).decode
_full_requests = msgspec.json.Decoder(list[_Full]).decode
_odd_requests = msgspec.json.Decoder(list[_Odd]).decode
_ids = msgspec.json.Decoder(list[str | int | float | None]).decode


def read_plain(raw: bytes) -> tuple[str, bytes, bytes] | None:
    """Take a plainly well-formed single request apart, else return None.

    Extended JSON and anything doubtful is left to `describe`.

    Returns:
        The method; params and id byte for byte, empty when they are missing.
    """
    if DOLLAR in raw and EXTENDED in raw:
        return None
    try:
        request = _request(raw)
        params, number = bytes(request.params), bytes(request.id)
        if params and params[0] not in _PARAMS_STARTS:
            return None
        if number and not number.isdigit() and not _is_plain_id(number):
            return None
    except (ValueError, RecursionError):
        return None
    return request.method, params, number


def read_extended(raw: bytes) -> tuple[str, list[Any] | dict[str, Any], bytes] | None:
    """Take a well-formed single request with extended JSON apart, else return None.

    Anything doubtful is left to `describe`, as what has no extended JSON is.

    Returns:
        The method; params, with the extended objects replaced; the id byte for byte.
    """
    if DOLLAR not in raw or EXTENDED not in raw:
        return None
    try:
        request = ejson.decode(raw)
        _validate(request)
    except ValueError:
        return None
    return request["method"], request.get("params", []), read_id(raw)


def _is_plain_id(raw: bytes) -> bool:
    return raw[0] in _ID_STARTS and _is_id(raw)


def _is_id(raw: bytes) -> bool:
    return isinstance(msgspec.json.decode(raw), (str, int, float, type(None)))


def read_id(raw: bytes) -> bytes:
    """Read the id of a request that may be broken, byte for byte.

    Returns:
        `NO_ID` when there is none; the text of null when it is no legal id.
    """
    try:
        found = bytes(_id(raw).id)
        if not found or _is_plain_id(found):
            return found
    except (ValueError, RecursionError):
        return NO_ID
    return NULL_ID


def read_cancelled(raw: bytes) -> bytes:
    """Read which request the notification ``$/cancelRequest`` gives up.

    It is the language server protocol's (LSP 3.17, "Cancellation Support").

    Returns:
        The id byte for byte, `NO_ID` for any other message.
    """
    if b'"$/cancelRequest"' not in raw:
        return NO_ID
    try:
        found = _cancel(raw)
    except (ValueError, RecursionError):
        return NO_ID
    return NO_ID if bytes(found.id) else bytes(found.params.id)


def split_batch(raw: bytes) -> list[msgspec.Raw]:
    """Split a batch into its elements.

    Raises:
        ParseError: it is no JSON.
        InvalidRequest: the array is empty.
    """
    try:
        elements = _elements(raw)
    except (ValueError, RecursionError):
        raise ParseError from None
    if not elements:
        raise InvalidRequest
    return elements


def read_requests(raw: bytes) -> Sequence[Element] | None:
    """Take a batch apart whose elements all are what `read_plain` takes, with ids.

    Whoever binds the params looks whether they are an array or an object.

    Returns:
        One or more. All of them are bare when the first one is.
    """
    if DOLLAR in raw and EXTENDED in raw:
        return None
    if BACKSLASH in raw:
        return _read_odd(raw)
    try:
        each = _bare_requests(raw)
    except msgspec.ValidationError:
        return _read_full(raw)
    except (ValueError, RecursionError):
        return None
    if MINUS in raw and _has_zero(each):
        return _read_odd(raw)
    return each or None


def _read_full(raw: bytes) -> Sequence[Element] | None:
    try:
        each = _full_requests(raw)
    except (ValueError, RecursionError):
        return _read_odd(raw)
    return _read_odd(raw) if MINUS in raw and _has_zero(each) else each


def _has_zero(each: Sequence[Element]) -> bool:
    """Tell whether an id is 0, which may have been -0."""
    return any(request.id == 0 for request in each)


def _read_odd(raw: bytes) -> Sequence[Element] | None:
    """Take a batch apart whose ids might not be written again as they were."""
    try:
        each = _odd_requests(raw)
        _ids(b"".join((b"[", b",".join([request.id for request in each]), b"]")))
    except (ValueError, RecursionError):
        return None
    return each or None


class Target(Protocol):
    """A method as this module sees it: something that binds params."""

    def bind(self, args: list[Any], named: dict[str, Any]) -> list[Any]:
        """Return values in signature order.

        Raises:
            CallError: the params do not fit, or the caller may not call.
        """
        ...


class Description:
    """What a request asks for, or what is wrong with it.

    Attributes:
        id: the id byte for byte, `NO_ID` for a notification.
        target: the method, None when it cannot be called.
        values: bound values in signature order.
        error: what to answer instead; None when there is a target, and for whatever
            must not be answered at all.
    """

    __slots__ = ("error", "id", "target", "values")

    def __init__(self) -> None:
        self.id = NO_ID
        self.target: Target | None = None
        self.values: list[Any] = []
        self.error: RpcError | None = None


class _Signature(inspect.Signature):
    """Binds params through the target: msgspec checks arity and types."""

    __slots__ = ("target",)
    target: Target

    def bind(  # type: ignore[override]  # nobody asks it for BoundArguments
        self, description: Description, /, *args: Any, **named: Any
    ) -> None:
        try:
            description.values = self.target.bind(list(args), named)
        except ValidationErrors as exc:
            description.error = exc
            raise TypeError(str(exc)) from None
        except CallError as exc:
            description.error = exc
        else:
            description.target = self.target


def _described(target: Target) -> Callable[..., Any]:
    """Make what jsonrpcserver calls: it notes the call and runs nothing."""

    def describe_call(description: Description, /, *args: Any, **named: Any) -> Any:
        return Success()

    signature = _Signature()
    signature.target = target
    describe_call.__signature__ = signature  # type: ignore[attr-defined]  # inspect's own protocol
    return describe_call


class _Methods(Mapping[str, Callable[..., Any]]):
    """The methods, as jsonrpcserver looks them up."""

    def __init__(self, find: Callable[[str], Target | None]) -> None:
        self._find = find

    def __getitem__(self, name: str) -> Callable[..., Any]:
        target = self._find(name)
        if target is None:
            raise KeyError(name)
        return _described(target)

    def __iter__(self) -> Any:  # pragma: no cover - jsonrpcserver never iterates
        return iter(())

    def __len__(self) -> int:  # pragma: no cover - nor counts
        return 0


def _validate(value: Any) -> None:
    """Check the shape of a request (JSON-RPC 2.0, section 4).

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise ValueError
    method = value.get("method")
    if not isinstance(method, str) or not method:
        raise ValueError
    if not isinstance(value.get("params", []), (list, dict)):
        raise ValueError  # noqa: TRY004 - jsonrpcserver takes any
    number = value.get("id")
    if isinstance(number, bool) or not isinstance(
        number, (str, int, float, type(None))
    ):
        raise ValueError  # noqa: TRY004 - jsonrpcserver takes any


def _is_response(value: Any) -> bool:
    """Tell a response apart: some clients answer notifications; it is ignored."""
    return (
        isinstance(value, dict)
        and "method" not in value
        and ("result" in value or "error" in value)
    )


def describe(raw: bytes, find: Callable[[str], Target | None]) -> Description:
    """Describe any request but a batch, the complete way, through jsonrpcserver.

    Args:
        raw: the text.
        find: gives the target of a method name, None when there is none.
    """
    description = Description()
    seen: list[Any] = []

    def deserialize(text: str) -> Any:
        seen.append(ejson.decode(text))
        return seen[0] if isinstance(seen[0], dict) else None

    response = dispatch_to_response(
        raw,  # type: ignore[arg-type]  # the deserializer takes bytes
        _Methods(find),  # type: ignore[arg-type]  # only looked up
        context=description,
        deserializer=deserialize,
        validator=_validate,  # type: ignore[arg-type]  # its result is not used
    )
    description.id = read_id(raw)
    if seen and _is_response(seen[0]):
        return Description()
    if response is None:
        description.error = None
        return description
    failure = getattr(response, "_error", None)
    if failure is not None:
        description.target = None
        description.error = _ERRORS[failure.code](description)
        if not description.id:
            description.id = NULL_ID
    return description


_ERRORS: dict[int, Callable[[Description], RpcError]] = {
    -32700: lambda _: ParseError(),
    -32600: lambda _: InvalidRequest(),
    -32601: lambda _: MethodNotFound(),
    -32602: lambda description: description.error or InvalidRequest(),
    -32000: lambda _: InvalidRequest(),
}


class _Error(msgspec.Struct, omit_defaults=True):
    code: int
    message: str
    data: ErrorData | None = None


def render_result(result: bytes, number: bytes) -> bytes:
    """Write a response with an encoded result (JSON-RPC 2.0, section 5)."""
    return b"".join((FIRST_RESPONSE, result, RESPONSE_ID, number, b"}"))


def render_results(results: Sequence[bytes], each: Sequence[Element]) -> bytes:
    """Write the response to a batch whose elements all have a result.

    Args:
        results: they, encoded, one or more.
        each: as many requests.
    """
    first, ids = results[0], [request.id for request in each]
    numbers = _encode(ids)
    if QUOTE in numbers:
        return _interleave(results, list(map(_encode, ids)))
    numbers = numbers[1:-1]
    if results.count(first) < len(results):
        return _interleave(results, numbers.split(b","))
    head = b"".join((FIRST_RESPONSE, first, RESPONSE_ID))
    return b"".join((b"[", head, numbers.replace(b",", b"}," + head), b"}]"))


def _interleave(results: Sequence[bytes], numbers: Sequence[bytes]) -> bytes:
    parts = [NEXT_RESPONSE, b"", RESPONSE_ID, b""] * len(results)
    parts[0] = b"[" + FIRST_RESPONSE
    parts[1::4], parts[3::4] = results, numbers
    parts.append(b"}]")
    return b"".join(parts)


def encode_id(number: int | str | msgspec.Raw) -> bytes:
    """Give the text of the id of a request of a batch."""
    return _encode(number)


def render_error(exc: BaseException, number: bytes, *, with_trace: bool) -> bytes:
    """Write a response with an error (JSON-RPC 2.0, section 5.1; protocol page, 1.5).

    Args:
        exc: what was raised; anything but an `RpcError` is a method's own failure.
        number: id of the request; null for one that has none.
        with_trace: the caller is a full admin.
    """
    if isinstance(exc, subprocess.CalledProcessError):
        output = exc.stderr or exc.output or b""
        text = output.decode(errors="replace") if isinstance(output, bytes) else output
        exc = CallError(f"Command {exc.cmd} failed (code {exc.returncode}):\n{text}")
    if isinstance(exc, RpcError) and not isinstance(exc, (CallError, InternalError)):
        body = _encode(_Error(exc.code, exc.message))
    else:
        code, message = CallError.code, CallError.message
        if isinstance(exc, RpcError):
            code, message = exc.code, exc.message
        body = _encode_data(code, message, describe_error(exc, with_trace=with_trace))
    return b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (body, number or NULL_ID)


def _encode_data(code: int, message: str, data: ErrorData) -> bytes:
    build = partial(_Error, code, message)
    try:
        return ejson.encode(build(data))
    except ejson.EncodingError:
        return ejson.encode(build(_encodable(data)))


def _encodable(data: ErrorData) -> ErrorData:
    """Show what has no form on the wire as Python would: an object, a broken name."""
    trace = data.trace
    return ErrorData(
        error=data.error,
        errname=data.errname,
        reason=_printable(data.reason),
        trace=trace
        and Trace(
            class_=trace.class_,
            formatted=_printable(trace.formatted),
            repr=_printable(trace.repr),
        ),
        extra=None if data.extra is None else _printable(repr(data.extra)),
    )


def _printable(text: str) -> str:
    # Names of files may hold bytes that are no text: lone surrogates in Python.
    return text.encode(errors="backslashreplace").decode()
