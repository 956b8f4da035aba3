"""The join against an obviously right reference, and its awkward cases one by one."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.features import FeatureTable, FeatureView, point_in_time_join, visible_at
from headwater.features.errors import (
    ColumnClashError,
    EntityTypeError,
    FeatureViewError,
    MissingColumnError,
    TimeTypeError,
)

START = datetime(2013, 3, 10, 5, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
ROWS = {"who": pl.String, "event_time": TIME, "known_at": TIME, "value": pl.Int64}
LABELS = {"who": pl.String, "at": TIME, "id": pl.Int64}
VIEW = FeatureView(name="history", path="p/features/history", entity=("who",), features=("value",))


def hour(number: float | None) -> datetime | None:
    return None if number is None else START + timedelta(hours=number)


def rows(*cells: tuple[str | None, float | None, float | None, int | None]) -> pl.DataFrame:
    data = [(who, hour(event), hour(known), value) for who, event, known, value in cells]
    return pl.DataFrame(data, schema=ROWS, orient="row")


def labels(*cells: tuple[str | None, float | None]) -> pl.DataFrame:
    data = [(who, hour(at), number) for number, (who, at) in enumerate(cells)]
    return pl.DataFrame(data, schema=LABELS, orient="row")


def joined(given: pl.DataFrame, table: pl.DataFrame, view: FeatureView = VIEW) -> list[Any]:
    return point_in_time_join(given, [FeatureTable(view=view, rows=table)], time="at").collect()["value"].to_list()


def reference(given: pl.DataFrame, table: pl.DataFrame, *, entity: bool, ttl: timedelta | None) -> list[Any]:
    """One label at a time, one row at a time."""
    answers = []
    for label in given.iter_rows(named=True):
        best: tuple[datetime, datetime, int] | None = None
        answer = None
        for position, row in enumerate(table.iter_rows(named=True)):
            event, known = row["event_time"], row["known_at"]
            if event is None or known is None or label["at"] is None:
                continue
            if entity and (row["who"] is None or row["who"] != label["who"]):
                continue
            if known > label["at"] or event > label["at"]:
                continue
            if best is None or (event, known, position) > best:
                best, answer = (event, known, position), row["value"]
        too_old = best is not None and ttl is not None and label["at"] - best[0] > ttl
        answers.append(None if best is None or too_old else answer)
    return answers


moments = st.one_of(st.none(), st.integers(0, 9))
people = st.sampled_from(["ann", "bob", None])
tables = st.lists(st.tuples(people, moments, moments, st.integers(0, 99) | st.none()), max_size=25).map(
    lambda cells: rows(*cells)
)
asked = st.lists(st.tuples(people, st.one_of(st.none(), st.integers(0, 11))), max_size=15).map(
    lambda cells: labels(*cells)
)
ages = st.none() | st.integers(0, 6).map(lambda hours: timedelta(hours=hours))


# As names; as numbers that fit beside a time in 64 bits; as numbers that don't.
numbers = st.sampled_from(
    [
        None,
        ({"ann": -3, "bob": 5}, pl.Int8),
        ({"ann": 0, "bob": 7}, pl.UInt32),
        ({"ann": 2**40, "bob": 2**40 + 1}, pl.Int64),
        ({"ann": -(2**62), "bob": 2**62}, pl.Int64),
        ({"ann": 0, "bob": 2**63}, pl.UInt64),
    ]
)


def numbered(frame: pl.DataFrame, codes: tuple[dict[str, int], Any] | None) -> pl.DataFrame:
    """The frame with its people as numbers."""
    if codes is None:
        return frame
    names, dtype = codes
    return frame.with_columns(pl.Series("who", [names.get(name) for name in frame["who"]], dtype=dtype))


@settings(max_examples=600, deadline=None)
@given(asked, tables, ages, st.booleans(), numbers)
def test_the_join_agrees_with_the_reference(
    given: pl.DataFrame,
    table: pl.DataFrame,
    ttl: timedelta | None,
    entity: bool,
    codes: tuple[dict[str, int], Any] | None,
) -> None:
    given, table = numbered(given, codes), numbered(table, codes)
    view = FeatureView(name="v", path="p/v", entity=("who",) if entity else (), features=("value",), ttl=ttl)
    out = point_in_time_join(given.lazy(), [FeatureTable(view=view, rows=table.lazy())], time="at").collect()
    assert out.drop("value").equals(given)
    assert out["value"].to_list() == reference(given, table, entity=entity, ttl=ttl)


@settings(max_examples=150, deadline=None)
@given(tables, st.integers(0, 10), ages, st.booleans())
def test_what_is_visible_at_a_moment_is_what_a_label_then_gets(
    table: pl.DataFrame, at: int, ttl: timedelta | None, entity: bool
) -> None:
    view = FeatureView(name="v", path="p/v", entity=("who",) if entity else (), features=("value",), ttl=ttl)
    moment = hour(at)
    assert moment is not None
    seen = visible_at(FeatureTable(view=view, rows=table), moment).collect()
    said = dict(zip(seen["who"], seen["value"], strict=True)) if entity else dict.fromkeys(["ann"], seen["value"].sum())
    given = labels(("ann", at), ("bob", at))
    wanted = reference(given, table, entity=entity, ttl=ttl)
    if entity:
        assert [said.get("ann"), said.get("bob")] == wanted
    else:
        assert (seen["value"].to_list() or [None])[0] == wanted[0]
    assert len(seen) <= (2 if entity else 1)


def test_the_reference_itself_sees_nothing_that_was_not_known() -> None:
    table = rows(("ann", 1, 2, 10), ("ann", 3, 9, 30))
    assert reference(labels(("ann", 1.9), ("ann", 2), ("ann", 8.9), ("ann", 9)), table, entity=True, ttl=None) == [
        None, 10, 10, 30,
    ]  # fmt: skip


def test_a_planted_leak_is_caught_because_a_join_that_ignores_known_at_differs() -> None:
    draw = random.Random(5)
    cells = [(draw.choice(["ann", "bob"]), event, event + draw.randint(1, 5), event) for event in range(40)]
    table, given = rows(*cells), labels(*((draw.choice(["ann", "bob"]), at) for at in range(5, 45)))
    leaking = given.sort("at").join_asof(
        table.sort("event_time"), left_on="at", right_on="event_time", by="who", check_sortedness=False
    )
    ours = joined(given, table)
    assert ours == reference(given, table, entity=True, ttl=None)
    differs = [mine != theirs for mine, theirs in zip(ours, leaking.sort("id")["value"], strict=True)]
    assert sum(differs) > 10


def test_a_late_row_never_displaces_a_newer_event_already_known() -> None:
    table = rows(("ann", 4, 4, 400), ("ann", 2, 6, 200))
    assert joined(labels(("ann", 5), ("ann", 6), ("ann", 7)), table) == [400, 400, 400]


def test_a_corrected_row_counts_from_its_known_at_on() -> None:
    table = rows(("ann", 4, 4, 400), ("ann", 4, 6, 401))
    assert joined(labels(("ann", 5), ("ann", 6), ("ann", 7)), table) == [400, 401, 401]


def test_a_correction_of_an_older_event_changes_nothing() -> None:
    table = rows(("ann", 2, 2, 200), ("ann", 4, 4, 400), ("ann", 2, 6, 201))
    assert joined(labels(("ann", 3), ("ann", 7)), table) == [200, 400]


def test_a_forecast_is_invisible_before_its_event_and_its_last_correction_wins_then() -> None:
    table = rows(("ann", 8, 3, 83), ("ann", 8, 1, 81), ("ann", 2, 2, 22))
    assert joined(labels(("ann", 7), ("ann", 8)), table) == [22, 83]


def test_of_two_events_known_at_once_the_newer_wins_whatever_their_order() -> None:
    for table in (rows(("ann", 1, 5, 1), ("ann", 2, 5, 2)), rows(("ann", 2, 5, 2), ("ann", 1, 5, 1))):
        assert joined(labels(("ann", 5)), table) == [2]


@pytest.mark.parametrize("codes", [None, ({"ann": 4}, pl.Int32)], ids=["names", "numbers"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_the_ttl_includes_its_border_and_counts_from_the_event(
    unit: Literal["ms", "us", "ns"], codes: tuple[dict[str, int], Any] | None
) -> None:
    in_unit = cs.datetime().dt.cast_time_unit(unit)
    table = numbered(rows(("ann", 1, 3, 10)), codes).with_columns(in_unit)
    view = FeatureView(name="v", path="p/v", entity=("who",), features=("value",), ttl=timedelta(hours=4))
    given = numbered(labels(("ann", 5), ("ann", 5 + 1 / 3_600_000)), codes).with_columns(in_unit)
    assert joined(given, table, view) == [10, None]


def test_too_old_is_null_even_when_an_older_row_came_in_late() -> None:
    table = rows(("ann", 4, 4, 40), ("ann", 3, 8, 30))
    view = FeatureView(name="v", path="p/v", entity=("who",), features=("value",), ttl=timedelta(hours=2))
    assert joined(labels(("ann", 8)), table, view) == [None]


def test_labels_keep_order_duplicates_and_rows_without_entity_or_time() -> None:
    given = labels(("bob", 9), ("ann", 5), (None, 5), ("ann", 5), ("ann", None), ("ann", 1))
    table = rows(("ann", 2, 2, 20), ("bob", 2, 2, 7), (None, 2, 2, 99))
    out = point_in_time_join(given, [FeatureTable(view=VIEW, rows=table)], time="at").collect()
    assert out.drop("value").equals(given)
    assert out["value"].to_list() == [7, 20, None, 20, None, None]


def test_a_null_feature_of_the_newest_row_stays_null() -> None:
    assert joined(labels(("ann", 5)), rows(("ann", 1, 1, 1), ("ann", 2, 2, None))) == [None]


@pytest.mark.parametrize("entity", [("who",), ()])
def test_empty_tables_and_empty_labels_are_fine(entity: tuple[str, ...]) -> None:
    view = FeatureView(name="v", path="p/v", entity=entity, features=("value",), ttl=timedelta(hours=1))
    assert joined(labels(("ann", 5)), rows(), view) == [None]
    assert joined(labels(), rows(("ann", 1, 1, 1)), view) == []


def test_no_tables_leave_the_labels_as_they_are() -> None:
    given = labels(("bob", 9), ("ann", 5))
    assert point_in_time_join(given, [], time="at").collect().equals(given)


def test_the_lazy_answer_can_be_selected_filtered_and_cut() -> None:
    given = labels(("bob", 9), ("ann", 5), ("ann", 1))
    lazy = point_in_time_join(given.lazy(), [FeatureTable(view=VIEW, rows=rows(("ann", 2, 2, 20)).lazy())], time="at")
    assert lazy.collect_schema() == lazy.collect().schema
    assert lazy.select("value").collect()["value"].to_list() == [None, 20, None]
    assert lazy.filter(pl.col("value").is_not_null()).collect()["id"].to_list() == [1]
    assert lazy.tail(2).collect()["value"].to_list() == [20, None]


def test_several_views_join_by_different_entities_and_prefixes() -> None:
    by_place = FeatureView(
        name="place", path="p/place", entity=("code",), label_entity=("origin",), features=("value",), prefix="origin_"
    )
    world = FeatureView(name="world", path="p/world", entity=(), features=("value",), prefix="world_")
    given = labels(("ann", 5), ("bob", 1)).with_columns(origin=pl.Series(["JFK", "LGA"]))
    out = point_in_time_join(
        given,
        [
            FeatureTable(view=VIEW, rows=rows(("ann", 1, 1, 1))),
            FeatureTable(view=by_place, rows=rows(("JFK", 2, 2, 2)).rename({"who": "code"})),
            FeatureTable(view=world, rows=rows((None, 3, 3, 3))),
        ],
        time="at",
    ).collect()
    assert out.columns == ["who", "at", "id", "origin", "value", "origin_value", "world_value"]
    assert out.select("value", "origin_value", "world_value").rows() == [(1, 2, 3), (None, None, None)]


def test_an_entity_of_two_columns_matches_both() -> None:
    view = FeatureView(name="v", path="p/v", entity=("who", "where"), features=("value",))
    table = rows(("ann", 1, 1, 1), ("ann", 2, 2, 2)).with_columns(where=pl.Series(["x", "y"]))
    given = labels(("ann", 5), ("ann", 5)).with_columns(where=pl.Series(["x", "z"]))
    assert joined(given, table, view) == [1, None]


def test_one_column_may_be_both_event_and_known_at() -> None:
    view = FeatureView(name="v", path="p/v", entity=("who",), features=("value",), known_at="event_time")
    assert joined(labels(("ann", 1), ("ann", 3)), rows(("ann", 2, 9, 2)), view) == [None, 2]


def test_local_times_are_compared_as_instants_across_the_hour_that_repeats() -> None:
    zone = ZoneInfo("America/New_York")
    first = datetime(2013, 11, 3, 1, 30, tzinfo=zone)
    second = first.replace(fold=1)
    local = pl.Datetime("us", "America/New_York")
    table = pl.DataFrame(
        {"who": ["ann", "ann"], "event_time": [first, second], "value": [1, 2]},
        schema={"who": pl.String, "event_time": local, "value": pl.Int64},
    ).with_columns(known_at=pl.col("event_time"))
    between = datetime(2013, 11, 3, 1, 10, tzinfo=zone).replace(fold=1)
    given = pl.DataFrame({"who": ["ann", "ann"], "at": [between, second]}, schema={"who": pl.String, "at": local})
    assert joined(given, table) == [1, 2]


@pytest.mark.parametrize(
    "dtype", [pl.Datetime("ms", "UTC"), pl.Datetime("us"), pl.Datetime("us", "America/New_York"), pl.Date()]
)
def test_times_of_another_unit_or_zone_are_refused_by_name(dtype: pl.DataType) -> None:
    table = rows(("ann", 1, 1, 1))
    other = table.with_columns(
        pl.col("known_at").dt.convert_time_zone("America/New_York")
        if dtype == pl.Datetime("us", "America/New_York")
        else pl.col("known_at").dt.replace_time_zone(None).cast(dtype)
        if dtype in (pl.Datetime("us"), pl.Date())
        else pl.col("known_at").cast(dtype)
    )
    with pytest.raises(TimeTypeError, match=r"'known_at' of feature view 'history'.*cast it"):
        joined(labels(("ann", 5)), other)


def test_a_label_time_that_is_a_date_is_refused() -> None:
    with pytest.raises(TimeTypeError, match="'at' of the labels has dtype Date"):
        joined(labels(("ann", 5)).with_columns(pl.col("at").dt.date()), rows())


def test_an_entity_of_another_dtype_is_refused() -> None:
    with pytest.raises(EntityTypeError, match="String in its table and Int64 in the labels"):
        joined(labels(("ann", 5)).with_columns(who=pl.col("id")), rows())


def test_missing_columns_are_named() -> None:
    with pytest.raises(MissingColumnError, match=r"'history' lack 'known_at'; they have"):
        joined(labels(), rows().drop("known_at"))
    with pytest.raises(MissingColumnError, match="The labels lack 'who'"):
        joined(labels().drop("who"), rows())
    with pytest.raises(MissingColumnError, match="The labels lack 'at'"):
        joined(labels().drop("at"), rows())


def test_a_name_that_is_there_already_is_refused() -> None:
    with pytest.raises(ColumnClashError, match=r"'history' would add 'value'.*prefix"):
        joined(labels().with_columns(value=pl.lit(1)), rows())
    both = [FeatureTable(view=VIEW, rows=rows()), FeatureTable(view=VIEW, rows=rows())]
    with pytest.raises(ColumnClashError, match="prefix"):
        point_in_time_join(labels(), both, time="at")


def test_a_moment_needs_a_zone_exactly_when_the_times_have_one() -> None:
    table = FeatureTable(view=VIEW, rows=rows(("ann", 1, 1, 1)))
    with pytest.raises(TimeTypeError, match="without a zone"):
        visible_at(table, datetime(2013, 3, 10, 8))
    local = datetime(2013, 3, 10, 4, tzinfo=ZoneInfo("America/New_York"))
    assert visible_at(table, local).collect()["value"].to_list() == [1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"features": ()}, "takes no features"),
        ({"features": ("who",)}, "names a column twice"),
        ({"label_entity": ("a", "b")}, "differ in length"),
        ({"ttl": timedelta(hours=-1)}, "its ttl is"),
    ],
)
def test_a_wrong_view_is_refused_where_it_is_declared(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(FeatureViewError, match=said):
        FeatureView(**{"name": "v", "path": "p/v", "entity": ("who",), "features": ("value",)} | wrong)
