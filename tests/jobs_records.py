"""Records of jobs, by hand and by hypothesis."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from middlewared import Date
from middlewared_jobs import Exit, JobRecord, Phase, State, StepRecord, TextMessage
from middlewared_jobs.record import (
    Abort,
    Attempt,
    CoreGetJobsItemCredentials,
    CoreGetJobsItemExcInfo,
    CoreGetJobsItemProgress,
    EncodingFailure,
    LoginData,
)

EPOCH = 1_800_000_000_000


def make_record(number: int, **changes: Any) -> JobRecord:
    """Make a record of a waiting job."""
    values: dict[str, Any] = {
        "id": number,
        "uid": f"uid-{number}",
        "method": "t.echo",
        "arguments": msgspec.Raw(b"[]"),
        "time_created": Date(EPOCH + number),
    }
    return JobRecord(**values | changes)


#: Text as clients may send it; lone surrogates are no text.
texts = st.text(st.characters(codec="utf-8"), max_size=12)
words = st.sampled_from(["", "pool", "Pool", "scan", "z\u00fcg", "a.b", "%", "_"])
numbers = st.integers(-(2**53), 2**53)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=6,
)
dates = st.integers(EPOCH, EPOCH + 20).map(Date)


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_progress = st.builds(
    CoreGetJobsItemProgress, _maybe(st.integers(0, 100)), _maybe(words), values
)
_exc_info = st.builds(
    CoreGetJobsItemExcInfo, texts, words, _maybe(st.integers(1, 210)), values
)
_credentials = st.builds(
    CoreGetJobsItemCredentials,
    st.sampled_from(["API_KEY", "LOGIN_PASSWORD", "UNIX_SOCKET"]),
    st.builds(LoginData, words, texts, dates),
)


_exits = st.builds(Exit, st.sampled_from(["COMPLETED", "FAILED"]), words, _maybe(texts))
_counts = st.dictionaries(words, numbers, max_size=2)
_steps = st.builds(
    StepRecord,
    id=numbers,
    name=words,
    scope=_maybe(words),
    state=st.sampled_from(State),
    exit=_maybe(_exits),
    counts=_counts,
    time_started=_maybe(dates),
)
_messages = st.builds(
    TextMessage, numbers, dates, st.just("info"), _maybe(numbers | words), texts
)
_attempts = st.builds(
    Attempt, numbers, _maybe(dates), dates, _maybe(texts), _maybe(texts), _exc_info
)
_MORE: dict[str, st.SearchStrategy[Any]] = {
    "phase": st.sampled_from(Phase),
    "exit": _maybe(_exits),
    "instance": st.integers(1, 5),
    "is_restart": st.booleans(),
    "restart_of": _maybe(st.integers(1, 5)),
    "parent": _maybe(st.integers(1, 5)),
    "schedule": _maybe(st.integers(1, 5)),
    "priority": st.integers(-3, 3),
    "run_at": _maybe(dates),
    "tracking_id": _maybe(words),
    "app_id": _maybe(words),
    "time_modified": _maybe(dates),
    "node": _maybe(words),
    "key_digest": _maybe(words),
    "restartable": st.booleans(),
    "pausable": st.booleans(),
    "retries": st.integers(0, 3),
    "timeout": _maybe(st.floats(1, 9)),
    "scopes": st.lists(words, max_size=2),
    "counts": _counts,
    "steps": st.lists(_steps, max_size=2),
    "messages": st.lists(_messages, max_size=2),
    "item_errors": st.integers(0, 3),
    "attributes": st.dictionaries(texts, values, max_size=2),
    "attempts": st.lists(_attempts, max_size=2),
    "checkpoint": values.map(_raw),
    "paused_ms": st.integers(0, 9),
}


@st.composite
def _more(draw: st.DrawFn) -> dict[str, Any]:
    """Draw some of the fields beyond the wire's item; most jobs have few of them."""
    names = draw(st.sets(st.sampled_from(sorted(_MORE)), max_size=5))
    return {name: draw(_MORE[name]) for name in sorted(names)}


@st.composite
def records(draw: st.DrawFn, number: int, *, final: bool | None = None) -> JobRecord:
    """Draw a job with this id; of every kind that history can hold."""
    choices = {
        None: list(State),
        True: [State.SUCCESS, State.FAILED, State.ABORTED],
        False: [State.WAITING, State.RUNNING],
    }
    state = draw(st.sampled_from(choices[final]))
    ended = state in choices[True]
    return JobRecord(
        id=number,
        uid=f"uid-{number}",
        message_ids=draw(st.lists(_maybe(numbers | texts), max_size=2)),
        method=draw(st.sampled_from(["t.echo", "t.hold", "gone.x"])),
        arguments=_raw(draw(st.lists(values, max_size=2))),
        description=draw(_maybe(words)),
        abortable=draw(st.booleans()),
        logs_path=draw(_maybe(words)),
        logs_excerpt=draw(_maybe(texts)),
        progress=draw(_progress),
        result=_raw(draw(values) if state is State.SUCCESS else None),
        result_encoding_error=draw(_maybe(st.builds(EncodingFailure, words, texts))),
        error=draw(texts) if state is State.FAILED else None,
        exception=draw(texts) if state is State.FAILED else None,
        exc_info=draw(_exc_info) if state is State.FAILED else None,
        state=state,
        time_created=draw(dates),
        time_started=draw(dates if state is not State.WAITING else _maybe(dates)),
        time_finished=draw(dates) if ended else None,
        credentials=draw(_maybe(_credentials)),
        owner=draw(_maybe(st.integers(1, 3))),
        attempt=draw(st.integers(0, 3)),
        lock=draw(_maybe(words)),
        abort=draw(_maybe(st.builds(Abort, words, dates, st.booleans()))),
        **draw(_more()),
    )
