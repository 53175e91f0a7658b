"""Queries over jobs for hypothesis: filters and options that clients may send."""

from hypothesis import strategies as st
from jobs_records import EPOCH

from middlewared.filters import QueryOptions

WORDS = ["", "pool", "Pool", "scan", "t.echo", "t.", "o", "a.b", "%", "_", "SUCCESS"]
EDGES = [EPOCH + n for n in (-1, 0, 3, 10, 20)]
_leaves = st.one_of(
    st.tuples(
        st.sampled_from(["id", "progress.percent", "owner", "attempt"]),
        st.sampled_from(["=", "!=", ">", ">=", "<", "<="]),
        st.integers(-1, 9) | st.none(),
    ),
    st.tuples(
        st.sampled_from(["id", "owner", "credentials.data.username", "state"]),
        st.sampled_from(["in", "nin"]),
        st.lists(st.integers(1, 9) | st.sampled_from(["SUCCESS", "pool"]), max_size=3),
    ),
    st.tuples(
        st.sampled_from(
            ["method", "state", "description", "error", "uid", "lock", "exc_info.type"]
        ),
        st.sampled_from(["=", "!=", "^", "!^", "$", "!$", "~", "C=", "C^", "rin"]),
        st.sampled_from(WORDS),
    ),
    st.tuples(
        st.sampled_from(["time_finished", "time_started", "time_created"]),
        st.sampled_from(["=", "!=", ">", "<="]),
        st.sampled_from([{"$date": ms} for ms in EDGES]) | st.none(),
    ),
    st.tuples(
        st.sampled_from(["abortable", "transient"]),
        st.sampled_from(["=", "!="]),
        st.booleans(),
    ),
    st.tuples(st.just("message_ids"), st.just("rin"), st.integers(0, 2)),
    st.tuples(st.just("arguments.0"), st.just("="), st.none() | st.booleans()),
).map(list)
_branches = _leaves | st.lists(_leaves, min_size=1, max_size=2)
filters = st.lists(
    _leaves
    | st.lists(_branches, min_size=1, max_size=3).map(lambda found: ["OR", found]),
    max_size=3,
)
_orders = st.lists(
    st.sampled_from(
        [
            *("id", "-id", "method", "-state", "nulls_first:description"),
            *("nulls_last:-time_finished", "nulls_first:owner", "-abortable"),
            *("nulls_last:progress.percent", "description"),
        ]
    ),
    max_size=2,
)
options = st.builds(
    QueryOptions,
    order_by=_orders,
    select=st.sampled_from(
        [
            *((), ("id",), ("id", "state", ["method", "m"])),
            *(("state", "time_finished", "id"), ("id", "uid"), ("credentials.type",)),
            *(("method", "message_ids", "method"), ("steps", "id"), ("nothing",)),
        ]
    ),
    count=st.booleans(),
    offset=st.integers(0, 3),
    limit=st.integers(0, 4),
) | st.builds(QueryOptions, order_by=_orders, get=st.just(value=True))
