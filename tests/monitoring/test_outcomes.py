"""What is known of a prediction's event at an instant, and nothing that is known only later."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.monitoring import (
    AmbiguousLabelsError,
    BadValuesError,
    ColumnTypeError,
    MissingColumnsError,
    MonitoringRuleError,
    Outcomes,
    Truth,
    changed_labels,
    join_outcomes,
)
from headwater.product import Labels
from tests.monitoring.scenario import DECLARED, START, UTC_TIME, labels, prediction, predictions

NOON = START + timedelta(hours=12)


def joined(told: pl.DataFrame, truth: pl.DataFrame, **options: Any) -> Outcomes:
    return join_outcomes(told, truth, declared=DECLARED, now=options.pop("now", NOON), **options)


def rows(found: Outcomes, *columns: str) -> list[Any]:
    return found.frame.select("request_id", *columns).sort("request_id").rows()


def test_each_prediction_gets_what_is_known_by_then() -> None:
    told = predictions(*(prediction(name, event) for event, name in enumerate("abcde")))
    truth = labels(
        (0, 1, NOON), (1, 0, START), (2, 1, NOON + timedelta(microseconds=1)), (3, None, None)
    )  # the fourth was cancelled; nobody has heard of the fifth
    found = joined(told, truth)
    assert rows(found, "label", "truth") == [
        ("a", 1, "known"), ("b", 0, "known"), ("c", None, "pending"), ("d", None, "none"), ("e", None, "pending"),
    ]  # fmt: skip
    assert found.frame["label"].dtype == pl.Int8
    assert found.frame["judged"].all()
    assert found.frame["label_known_at"].to_list().count(None) == 3


def test_a_cancelled_event_that_lies_ahead_is_not_known_to_be_cancelled() -> None:
    told = predictions(prediction("a", 1))
    found = joined(told, labels((1, None, None), at=NOON + timedelta(days=1)))
    assert rows(found, "truth") == [("a", "pending")]


def test_a_null_label_that_is_known_later_is_pending_until_then() -> None:
    told, truth = predictions(prediction("a", 1)), labels((1, None, NOON))
    assert rows(joined(told, truth, now=NOON - timedelta(seconds=1)), "truth") == [("a", "pending")]
    assert rows(joined(told, truth), "truth") == [("a", "none")]


def test_a_retry_under_another_id_is_kept_and_the_newest_is_judged() -> None:
    told = predictions(
        prediction("a", 1, at=START),
        prediction("b", 1, at=START + timedelta(hours=2)),
        prediction("c", 1, at=START + timedelta(hours=1)),
        prediction("d", 2, at=START),
    )
    found = joined(told, labels((1, 1, START), (2, 0, START)))
    assert rows(found, "judged") == [("a", False), ("b", True), ("c", False), ("d", True)]
    assert rows(found, "label") == [("a", 1), ("b", 1), ("c", 1), ("d", 0)]
    assert found.superseded == 2


def test_of_two_predictions_for_one_instant_the_one_received_last_is_judged() -> None:
    told = predictions(
        prediction("b", 1, received=START + timedelta(seconds=5)),
        prediction("a", 1, received=START + timedelta(seconds=9)),
    )
    assert rows(joined(told, labels((1, 1, START))), "judged") == [("a", True), ("b", False)]


def test_a_request_id_counts_once_and_what_was_said_first_stays() -> None:
    told = predictions(
        prediction("a", 1, score=0.9, received=START + timedelta(seconds=2)),
        prediction("a", 1, score=0.3, received=START),
        prediction("b", 2),
        prediction("b", 2),
    )
    found = joined(told, labels())
    assert rows(found, "score") == [("a", 0.3), ("b", 0.25)]
    assert (found.repeated, found.contradicted) == (2, 1)


def test_a_prediction_without_a_key_names_no_event() -> None:
    found = joined(predictions(prediction("a", None), prediction("b", None), prediction("c", 1)), labels((1, 1, START)))
    assert rows(found, "judged", "truth") == [("a", False, "pending"), ("b", False, "pending"), ("c", True, "known")]
    assert (found.unkeyed, found.superseded) == (2, 0)


def test_events_that_nobody_predicted_are_counted_where_somebody_predicted_at_all() -> None:
    told = predictions(prediction("a", 1, at=START), prediction("b", 2, at=START + timedelta(hours=3)))
    between = labels((1, 1, START), (7, 0, NOON), (8, 1, NOON + timedelta(days=1)), (9, None, None))
    training = labels((100, 1, START), at=START - timedelta(days=90))
    assert joined(told, pl.concat([between, training])).unpredicted == 1


def test_key_columns_of_other_widths_meet_and_of_other_kinds_do_not() -> None:
    told = predictions(prediction("a", 1), prediction("b", 2**40))  # the labels' Int32 could not hold the second
    found = joined(told, labels((1, 1, START)))
    assert rows(found, "truth") == [("a", "known"), ("b", "pending")]
    assert found.unkeyed == 1
    with pytest.raises(ColumnTypeError, match=r"'event' of the predictions has dtype String.*Int32, as in the labels"):
        joined(told.with_columns(pl.col("event").cast(pl.String)), labels((1, 1, START)))


def test_labels_that_are_there_at_once_are_known_when_their_time_has_come() -> None:
    declared = Labels(path="x/labels", key=("event",), time="predict_at", label="late")
    told = predictions(prediction("a", 1))
    found = join_outcomes(told, labels((1, 1, None)), declared=declared, now=NOON)
    assert rows(found, "label") == [("a", 1)]


def test_no_predictions_and_no_labels_are_empty_outcomes() -> None:
    found = joined(predictions(), labels())
    assert found.frame.height == 0
    assert {"label", "label_known_at", "truth", "judged"} <= set(found.frame.columns)
    assert json.loads(json.dumps(found.to_json()))["truth"] == {"known": 0, "none": 0, "pending": 0, "reviewed": 0}
    assert joined(predictions(prediction("a", 1)), labels()).to_json()["truth"]["pending"] == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_of_the_future_is_seen_and_no_prediction_is_lost_or_doubled(data: st.DataObject) -> None:
    hours = st.integers(0, 30)
    events = st.one_of(st.none(), st.integers(0, 6))
    told = [
        prediction(f"r{n}", data.draw(events), at=START + timedelta(hours=data.draw(hours)), received=START)
        for n in range(data.draw(st.integers(0, 12)))
    ]
    known = [
        (event, data.draw(st.sampled_from([0, 1])), START + timedelta(hours=data.draw(hours)))
        for event in data.draw(st.sets(st.integers(0, 9)))
    ]
    now = START + timedelta(hours=data.draw(hours))
    found = joined(predictions(*told), labels(*known, at=START), now=now)
    truths = {event: (label, at) for event, label, at in known}
    assert found.frame["request_id"].sort().to_list() == sorted(row["request_id"] for row in told)
    for row in found.frame.iter_rows(named=True):
        label, at = truths.get(row["event"], (None, None))
        assert row["label"] == (label if at is not None and at <= now else None)
        assert (row["truth"] == Truth.KNOWN) == (at is not None and at <= now)
    named = found.frame.filter(pl.col("event").is_not_null())
    newest = named.group_by("event").agg(pl.col("at").max())
    judged = found.frame.filter("judged").select("event", "at")
    assert judged.sort("event").equals(newest.sort("event"))
    shuffled = joined(predictions(*reversed(told)), labels(*reversed(known), at=START), now=now)
    assert shuffled.frame.equals(found.frame)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda f: f.drop("score"), MissingColumnsError, "no column 'score'"),
        (lambda f: f.rename({"event": "evnt"}), MissingColumnsError, "Did you mean 'evnt'"),
        (lambda f: f.with_columns(score=float("nan")), BadValuesError, r"NaN or outside \[0, 1\] in 1 row\."),
        (lambda f: f.with_columns(score=1.5), BadValuesError, "outside"),
        (lambda f: f.with_columns(score=pl.lit(None, pl.Float64)), BadValuesError, "'score' of the predictions is null"),
        (lambda f: f.with_columns(at=pl.lit(None, UTC_TIME)), BadValuesError, "'at' of the predictions is null"),
        (lambda f: f.with_columns(pl.col("at").dt.replace_time_zone(None)), ColumnTypeError, "with a time zone"),
        (lambda f: f.with_columns(pl.col("score").cast(pl.String)), ColumnTypeError, "must be Float64"),
    ],
)  # fmt: skip
def test_predictions_that_are_none_are_refused(change: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        joined(change(predictions(prediction("a", 1))), labels((1, 1, START)))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda f: f.drop("known_at"), MissingColumnsError, "labels have no column 'known_at'"),
        (lambda f: f.with_columns(late=pl.lit(2, pl.Int8)), BadValuesError, "neither 0, 1 nor null"),
        (lambda f: f.with_columns(late=0.5), ColumnTypeError, "a whole number or Boolean"),
        (lambda f: f.with_columns(known_at=pl.lit(None, UTC_TIME)), BadValuesError, "nobody knows since when"),
        (lambda f: pl.concat([f, f]), AmbiguousLabelsError, "1 event has several labels .* event 1"),
    ],
)  # fmt: skip
def test_labels_that_are_none_are_refused(change: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        joined(predictions(prediction("a", 1)), change(labels((1, 1, START))))


def test_an_instant_without_a_time_zone_is_none() -> None:
    with pytest.raises(MonitoringRuleError, match="time zone"):
        joined(predictions(), labels(), now=datetime(2013, 7, 1))


def test_labels_that_changed_between_two_commits_are_named() -> None:
    before = labels((1, 0, START), (2, 1, START), (3, None, None), (4, 1, START), (5, 1, START))
    after = labels((1, 1, START), (2, 1, NOON), (3, 0, START), (4, None, None), (9, 1, START))
    found = changed_labels(before, after, declared=DECLARED)
    assert found.rows.rows() == [
        (1, 0, 1, "flipped"), (3, None, 0, "filled"), (4, 1, None, "emptied"), (5, 1, None, "vanished"),
    ]  # fmt: skip
    assert found.to_json() == {
        "events": 5, "added": 1, "filled": 1, "emptied": 1, "flipped": 1, "vanished": 1, "revised": 3,
    }  # fmt: skip
    assert changed_labels(before, before, declared=DECLARED).rows.height == 0


def test_columns_of_the_service_do_not_get_in_the_way() -> None:
    """A feature called like a column of ours, or of the labels, must not be taken for it."""
    told = predictions(prediction("a", 1)).with_columns(late=pl.lit(9), event_time=pl.lit("x"), label=pl.lit("y"))
    found = joined(told, labels((1, 1, START)))
    assert rows(found, "label", "late", "event_time") == [("a", 1, 9, "x")]


def test_a_boolean_label_and_a_local_time_zone_are_read_too() -> None:
    truth = labels((1, 1, datetime(2013, 7, 1, 2, tzinfo=UTC))).with_columns(
        pl.col("late").cast(pl.Boolean), pl.col("known_at").dt.convert_time_zone("America/New_York")
    )
    assert rows(joined(predictions(prediction("a", 1)), truth), "label", "truth") == [("a", 1, "known")]
