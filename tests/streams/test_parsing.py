"""Whatever bytes arrive, an event is a row or is rejected with a reason; nothing raises."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.streams import LogEvent, Reason, StreamState
from headwater.streams._parsing import Rejected, Row, parser
from headwater.streams._sorting import parse, sort
from tests.streams.scenario import NOW, SOURCE, batch_of, micro, minute, reading

READ = parser(SOURCE)
NONE = pl.DataFrame(schema={name: pl.Int64 if name == "at" else kind for name, kind in SOURCE.schema.items()})


def parsed(data: bytes) -> Row | Rejected:
    return READ(LogEvent(0, 0, micro(minute(0)), data))


def with_field(name: str, text: str) -> bytes:
    """A reading with one field replaced by JSON text."""
    fields = {key: json.dumps(value) for key, value in json.loads(reading(1, 0)).items()} | {name: text}
    return ("{" + ", ".join(f'"{key}": {value}' for key, value in fields.items()) + "}").encode()


def test_a_reading_is_a_row_in_the_order_of_the_columns() -> None:
    found = parsed(reading(7, 3, meter="é", estimated=True, unknown=[1, 2]))
    assert isinstance(found, Row)
    assert found.values == ("é", 7, micro(minute(3)), 1.5, True)
    assert found.time == micro(minute(3))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('"2013-03-10T12:00:00Z"', 0),
        ('"2013-03-10T13:30:00+01:30"', 0),
        (str(micro(minute(2))), 2),
        ('"2013-03-10T12:01:00.000000+00:00"', 1),
    ],
)
def test_a_time_is_text_with_a_zone_or_whole_microseconds(text: str, wanted: float) -> None:
    found = parsed(with_field("at", text))
    assert isinstance(found, Row)
    assert found.time == micro(minute(wanted))


@pytest.mark.parametrize(
    ("data", "reason", "said"),
    [
        (b"", Reason.NOT_JSON, "JSONDecodeError"),
        (b"\xff\xfe\x00", Reason.NOT_JSON, "Unicode"),
        (b"{", Reason.NOT_JSON, "JSONDecodeError"),
        (b"[" * 100_000, Reason.NOT_JSON, "Recursion"),
        (b"1" * 5_000, Reason.NOT_JSON, "4300"),
        (b"[1]", Reason.NOT_AN_OBJECT, "a list"),
        (b"null", Reason.NOT_AN_OBJECT, "NoneType"),
        (b"{}", Reason.MISSING, "'meter' is absent"),
        (with_field("number", "null"), Reason.MISSING, "'number' is null"),
        (with_field("number", "1.0"), Reason.WRONG_TYPE, "whole number"),
        (with_field("number", "true"), Reason.WRONG_TYPE, "whole number"),
        (with_field("number", str(2**63)), Reason.WRONG_TYPE, "64 bits"),
        (with_field("meter", "7"), Reason.WRONG_TYPE, "a text"),
        (with_field("meter", '"\\ud800"'), Reason.WRONG_TYPE, "surrogates"),
        (with_field("meter", "[" * 800 + "]" * 800), Reason.WRONG_TYPE, "'meter' is a list"),
        (with_field("load", "NaN"), Reason.NOT_JSON, "NaN is no JSON"),
        (with_field("load", "-Infinity"), Reason.NOT_JSON, "-Infinity is no JSON"),
        (with_field("load", "1e999"), Reason.WRONG_TYPE, "finite"),
        (with_field("load", "1" + "0" * 400), Reason.WRONG_TYPE, "too large"),
        (with_field("load", '"1.5"'), Reason.WRONG_TYPE, "finite"),
        (with_field("estimated", "1"), Reason.WRONG_TYPE, "true or false"),
        (with_field("at", "NaN"), Reason.NOT_JSON, "NaN is no JSON"),
        (with_field("at", "1e999"), Reason.WRONG_TYPE, "'at' is inf"),
        (with_field("at", "1362916800.0"), Reason.WRONG_TYPE, "ISO 8601"),
        (with_field("at", '"2013-03-10T12:00:00"'), Reason.WRONG_TYPE, "no zone"),
        (with_field("at", '"yesterday"'), Reason.WRONG_TYPE, "yesterday"),
        (with_field("at", str(2**62)), Reason.WRONG_TYPE, "years"),
        (with_field("at", '"0001-01-01T00:00:00+12:00"'), Reason.WRONG_TYPE, "'at'"),
        (with_field("at", '"2213-03-10T12:00:00Z"'), Reason.AHEAD_OF_TIME, "arrived at 2013-03-10 12:00"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_what_is_no_event_is_rejected_with_the_field_and_the_reason(data: bytes, reason: Reason, said: str) -> None:
    found = parsed(data)
    assert isinstance(found, Rejected)
    assert found.reason is reason
    assert said in found.detail
    assert len(found.detail) < 400


anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "é", "\0", "\ud800", "2013-03-10T12:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=3,
)


@given(
    st.lists(
        st.binary(max_size=40)
        | st.fixed_dictionaries({}, optional=dict.fromkeys(SOURCE.schema, anything)).map(lambda found: json.dumps(found).encode()),
        max_size=6,
    ),
    st.integers(-(2**70), 2**70),
)  # fmt: skip
def test_nothing_that_arrives_stops_a_batch(events: list[bytes], arrived: int) -> None:
    """Also a broker's time that no table can hold."""
    batch = batch_of(*((0, 0.0, data) for data in events))
    batch = type(batch)(
        events=tuple(event._replace(appended=arrived) for event in batch.events), next=batch.next, ends=batch.ends
    )
    found = sort(SOURCE, StreamState(), batch, parse(SOURCE, batch, now=micro(NOW)), NONE)
    assert found.counts.events == len(events)
    assert found.rows.height + found.late.height + found.rejected.height + found.counts.duplicates == len(events)
    assert found.rejected["data"].to_list() == [e.data for e in batch.events if _is_rejected(e, found.rejected)]


def _is_rejected(event: LogEvent, rejected: pl.DataFrame) -> bool:
    return event.offset in rejected["log_offset"].to_list()
