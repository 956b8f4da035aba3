"""The online store's contract suite: what every implementation of `headwater.features.online.OnlineStore` must do.

Run it over an implementation of your own by subclassing it in a test module:

    import pytest

    from headwater.testing.online_suite import OnlineStoreSuite

    class TestMyStore(OnlineStoreSuite):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path / "online")    # empty

        def reopen(self, store):
            return MyStore(store.location)         # as another process would open it

The reference is the point-in-time join: what a store answers at a time is what a training set would have had.
"""

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import polars as pl
import pytest

from headwater.features import FeatureTable, FeatureView, point_in_time_join
from headwater.features.errors import (
    EntityValueError,
    MissingColumnError,
    NotPublishedError,
    OnlineTypeError,
    TimeBeforeWindowError,
    TimeValueError,
    VersionChangedError,
)
from headwater.features.online import (
    Answer,
    Lookup,
    OnlineContent,
    OnlineRow,
    OnlineStore,
    OnlineVersion,
    prepare,
    rows_from,
)

START: Final = datetime(2013, 3, 10, 5, tzinfo=UTC)
VIEW: Final = FeatureView(
    name="history", path="toy/history", entity=("who",), features=("value",), ttl=timedelta(hours=6), prefix="h_"
)
_SCHEMA: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    "who": pl.String, "event_time": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC"), "value": pl.Int64
}  # fmt: skip


def hour(number: float) -> datetime:
    """A moment so many hours after the start of the toy world."""
    return START + timedelta(hours=number)


def at(number: float) -> int:
    """The same in microseconds since 1970."""
    return int((hour(number) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def rows(*cells: tuple[str, float, float, int | None]) -> pl.DataFrame:
    """Who, hour of the event, hour at which it was known, value."""
    data = [(who, hour(event), hour(known), value) for who, event, known, value in cells]
    return pl.DataFrame(data, schema=dict(_SCHEMA), orient="row")


Table: TypeAlias = tuple[FeatureTable, str]


def toy(frame: pl.DataFrame, view: FeatureView = VIEW, *, data_version: str = "") -> Table:
    """A frame as a table to publish, with its data version."""
    version = data_version or str(frame.hash_rows(seed=1).sort().to_list())
    return FeatureTable(view=view, rows=frame), version


def publish(
    store: OnlineStore, product: str, tables: Sequence[Table], *, commit: str, since: datetime
) -> OnlineVersion:
    """Prepares tables and publishes them."""
    return store.publish(product, prepare(tables, since=since), commit=commit)


def extend(
    store: OnlineStore, product: str, tables: Sequence[FeatureTable], *, commit: str, since: datetime = START
) -> OnlineVersion:
    """Adds the rows of some tables."""
    rows = {table.view.name: rows_from(table, since) for table in tables}
    return store.extend(product, rows, commit=commit)


def differences(store: OnlineStore, product: str, tables: list[FeatureTable], labels: pl.DataFrame) -> list[Any]:
    """Each label and view where the store's values are not the join's, with both."""
    joined = point_in_time_join(labels, tables, time="at").collect()
    found = []
    for row in joined.iter_rows(named=True):
        moment = int((row["at"] - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
        asked = [Lookup(t.view.name, tuple(row[key] for key in t.view.keys), moment) for t in tables]
        for table, answer in zip(tables, store.lookup(product, asked)[1], strict=True):
            wanted = tuple(row[name] for name in table.view.outputs.values())
            if answer.values != wanted:
                found.append((row, table.view.name, answer.values, wanted))
    return found


class OnlineStoreSuite:
    """Every promise of the interface. Override the `store` fixture and `reopen`."""

    def reopen(self, store: OnlineStore) -> OnlineStore:
        """The same store as another process would open it."""
        return store

    def reopen_for_writing(self, store: OnlineStore) -> OnlineStore:
        """The same store as another publisher would open it."""
        return store

    def one(self, store: OnlineStore, who: Any, moment: float, *, view: str = "history") -> OnlineRow:
        """One answer."""
        return store.lookup("toy", [Lookup(view, (who,), at(moment))])[1][0]

    def test_the_newest_event_known_by_the_time_answers(self, store: OnlineStore) -> None:
        """Events arrive late: at 4 h the event of 2 h is known, that of 3 h only at 5 h."""
        frame = rows(("ann", 1, 1, 10), ("ann", 2, 3, 20), ("ann", 3, 5, 30), ("bob", 1, 1, 7))
        publish(store, "toy", [toy(frame)], commit="c1", since=hour(0))
        answers = [self.one(store, "ann", moment).values for moment in (0.5, 1, 2.9, 3, 4.9, 5)]
        assert answers == [(None,), (10,), (10,), (20,), (20,), (30,)]
        assert self.one(store, "bob", 2) == OnlineRow(Answer.FOUND, (7,), at(1))

    def test_a_late_older_event_never_displaces_a_newer_one(self, store: OnlineStore) -> None:
        """The event of 1 h comes in after that of 3 h."""
        frame = rows(("ann", 3, 3, 30), ("ann", 1, 4, 10))
        publish(store, "toy", [toy(frame)], commit="c1", since=hour(0))
        assert self.one(store, "ann", 5).values == (30,)

    def test_an_unknown_entity_a_stale_row_and_a_null_are_told_apart(self, store: OnlineStore) -> None:
        """All three have a null value; only the answer says why."""
        frame = rows(("ann", 1, 1, 10), ("bob", 1, 1, None))
        publish(store, "toy", [toy(frame)], commit="c1", since=hour(0))
        assert self.one(store, "eve", 2) == OnlineRow(Answer.UNKNOWN, (None,), None)
        assert self.one(store, "ann", 7) == OnlineRow(Answer.FOUND, (10,), at(1))
        assert self.one(store, "ann", 7 + 1 / 3_600) == OnlineRow(Answer.STALE, (None,), at(1))
        assert self.one(store, "bob", 2) == OnlineRow(Answer.FOUND, (None,), at(1))
        assert self.one(store, None, 2) == OnlineRow(Answer.UNKNOWN, (None,), None)

    def test_many_questions_are_answered_in_order_from_one_version(self, store: OnlineStore) -> None:
        """Also twice the same."""
        frame = rows(*((f"p{number}", 1, 1, number) for number in range(50)))
        publish(store, "toy", [toy(frame)], commit="c1", since=hour(0))
        asked = [Lookup("history", (f"p{number}",), at(2)) for number in (3, 49, 3, 0)]
        version, answers = store.lookup("toy", asked)
        assert [answer.values for answer in answers] == [(3,), (49,), (3,), (0,)]
        assert version.commit == "c1"
        assert store.lookup("toy", []) == (version, [])

    def test_what_was_published_is_described(self, store: OnlineStore) -> None:
        """By name, path, dtypes, ttl, rows and the newest event."""
        publish(store, "toy", [toy(rows(("ann", 1, 2, 10)), data_version="d1")], commit="c1", since=hour(0))
        version = self.reopen(store).version("toy")
        view = version.views["history"]
        assert (version.product, version.commit, version.since) == ("toy", "c1", at(0))
        assert (view.path, view.data_version, view.rows) == ("toy/history", "d1", 1)
        assert (view.keys, view.features) == (("who",), ("h_value",))
        assert (view.entity, view.dtypes) == (("String",), ("Int64",))
        assert (view.ttl, view.newest, view.unit) == (6 * 3_600_000_000, at(1), "us")

    def test_a_publication_replaces_all_views_at_once(self, store: OnlineStore) -> None:
        """Rows and views that are no longer published are gone."""
        other = FeatureView(name="other", path="toy/other", entity=("who",), features=("value",))
        first = rows(("ann", 1, 1, 10), ("bob", 1, 1, 7))
        publish(store, "toy", [toy(first), toy(first, other)], commit="c1", since=hour(0))
        reader = self.reopen(store)
        assert self.one(reader, "bob", 2).values == (7,)
        publish(store, "toy", [toy(rows(("ann", 1, 1, 11)))], commit="c2", since=hour(0))
        assert self.one(reader, "ann", 2).values == (11,)
        assert self.one(reader, "bob", 2).answer is Answer.UNKNOWN
        with pytest.raises(NotPublishedError, match="other"):
            self.one(reader, "ann", 2, view="other")

    def test_a_view_with_equal_content_keeps_its_rows_under_the_new_commit(self, store: OnlineStore) -> None:
        """And one that changed beside it is replaced."""
        other = FeatureView(name="other", path="toy/other", entity=("who",), features=("value",))
        same = rows(("ann", 1, 1, 10))
        publish(store, "toy", [toy(same), toy(same, other)], commit="c1", since=hour(0))
        publish(store, "toy", [toy(same), toy(rows(("ann", 1, 1, 9)), other)], commit="c2", since=hour(0.5))
        assert store.version("toy").commit == "c2"
        assert self.one(store, "ann", 2).values == (10,)
        assert self.one(store, "ann", 2, view="other").values == (9,)

    def test_a_changed_declaration_of_the_same_table_replaces_its_rows(self, store: OnlineStore) -> None:
        """Known-at was read from the wrong column, and corrected: the old rows would tell the future."""
        frame = rows(("ann", 1, 5, 10))
        wrong = replace(VIEW, known_at="event_time")
        publish(store, "toy", [toy(frame, wrong, data_version="d")], commit="c1", since=hour(0))
        assert self.one(store, "ann", 2).values == (10,)
        publish(store, "toy", [toy(frame, data_version="d")], commit="c2", since=hour(0))
        assert self.one(store, "ann", 2).answer is Answer.UNKNOWN
        assert self.one(store, "ann", 5).values == (10,)

    def test_times_before_the_window_are_refused_and_rows_it_does_not_need_left_out(self, store: OnlineStore) -> None:
        """The row of 2 h answers at the window's first moment; that of 1 h answers nothing from then on."""
        frame = rows(("ann", 1, 1, 10), ("ann", 2, 2, 20), ("ann", 4, 4, 40))
        version = publish(store, "toy", [toy(frame)], commit="c1", since=hour(3))
        assert version.views["history"].rows == 2
        assert self.one(store, "ann", 3).values == (20,)
        with pytest.raises(TimeBeforeWindowError, match="history"):
            self.one(store, "ann", 2.9)

    def test_a_reader_finds_a_view_that_was_published_after_it_was_opened(self, store: OnlineStore) -> None:
        """And a longer window."""
        other = FeatureView(name="other", path="toy/other", entity=("who",), features=("value",))
        frame = rows(("ann", 1, 1, 10))
        publish(store, "toy", [toy(frame)], commit="c1", since=hour(3))
        reader = self.reopen(store)
        assert self.one(reader, "ann", 4).values == (10,)
        publish(store, "toy", [toy(frame), toy(frame, other)], commit="c2", since=hour(0))
        assert self.one(reader, "ann", 2, view="other").values == (10,)

    @pytest.mark.parametrize("seed", range(20))
    def test_every_answer_is_that_of_the_join(self, store: OnlineStore, seed: int) -> None:
        """Late, corrected, forecast and stale rows of random entities, asked at random times from the window on."""
        draw = random.Random(seed)
        unit: Any = draw.choice(["ms", "us", "ns"])
        people = ["ann", "bob", "", "Zoë"]
        tables = []
        for name, entity in (("one", ("who",)), ("two", ("who", "where")), ("none", ())):
            count = draw.randrange(60)
            event = [draw.randrange(20) for _ in range(count)]
            frame = rows(*((draw.choice(people), e, e + draw.randrange(-2, 9), draw.randrange(99)) for e in event))
            where = pl.Series("where", [draw.randrange(3) for _ in range(count)], dtype=pl.Int32)
            frame = frame.with_columns(where, pl.col("event_time", "known_at").dt.cast_time_unit(unit))
            ttl = draw.choice([None, timedelta(hours=draw.randrange(6))])
            view = FeatureView(
                name=name, path=f"toy/{name}", entity=entity, features=("value",), ttl=ttl, prefix=f"{name}_"
            )
            tables.append(toy(frame, view, data_version="d"))
        since = draw.randrange(10)
        publish(store, "toy", tables, commit="c1", since=hour(since))
        labels = pl.DataFrame(
            {
                "who": [draw.choice([*people, "eve"]) for _ in range(200)],
                "where": pl.Series([draw.randrange(4) for _ in range(200)], dtype=pl.Int32),
                "at": [hour(draw.randrange(since, 30)) for _ in range(200)],
            }
        ).with_columns(pl.col("at").dt.cast_time_unit(unit))
        assert differences(store, "toy", [table for table, _ in tables], labels) == []

    def test_readers_see_whole_versions_while_others_publish(self, store: OnlineStore) -> None:
        """Two views of forty entities hold the number of their publication; no answer mixes two."""
        other = FeatureView(name="other", path="toy/other", entity=("who",), features=("value",))
        asked = [Lookup(view, (f"p{number}",), at(2)) for number in range(40) for view in ("history", "other")]
        failed: list[Any] = []
        ended = threading.Event()

        def content(number: int) -> OnlineContent:
            frame = rows(*((f"p{person}", 1, 1, number) for person in range(40)))
            version = str(number)
            return prepare([toy(frame, data_version=version), toy(frame, other, data_version=version)], since=hour(0))

        def read() -> None:
            reader = self.reopen(store)
            while not ended.is_set():
                version, answers = reader.lookup("toy", asked)
                if {answer.values for answer in answers} != {(int(version.commit),)}:
                    failed.append((version.commit, answers))

        contents = [content(number) for number in range(40)]
        store.publish("toy", contents[0], commit="0")
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(1, 40):
            store.publish("toy", contents[number], commit=str(number))
        ended.set()
        for reader in readers:
            reader.join()
        assert failed == []
        assert store.version("toy").commit == "39"

    def test_products_do_not_meet(self, store: OnlineStore) -> None:
        """One is withdrawn, the other stays."""
        for product, value in (("toy", 1), ("toys", 2)):
            publish(store, product, [toy(rows(("ann", 1, 1, value)))], commit="c1", since=hour(0))
        store.withdraw("toy")
        store.withdraw("toy")
        assert store.lookup("toys", [Lookup("history", ("ann",), at(2))])[1][0].values == (2,)
        with pytest.raises(NotPublishedError, match="toy"):
            store.version("toy")

    def test_what_is_withdrawn_by_its_mark_is_what_nobody_has_used_since(self, store: OnlineStore) -> None:
        """A mark never comes back, and one that somebody moved meanwhile withdraws nothing."""
        frame = rows(("ann", 1, 1, 10))
        for product in ("toy", "toys"):
            publish(store, product, [toy(frame)], commit="c1", since=hour(0))
        store.mark("nothing of that name")
        assert dict(store.marks()) == {"toy": "", "toys": ""}
        user = self.reopen_for_writing(store)
        user.mark("toy")
        (first, unmarked) = (store.marks()["toy"], store.marks()["toys"])
        assert (bool(first), unmarked) == (True, "")
        user.mark("toy")
        second = store.marks()["toy"]
        assert not store.withdraw("toy", mark=first)
        publish(user, "toy", [toy(frame)], commit="c2", since=hour(0))
        third = store.marks()["toy"]
        assert len({first, second, third}) == 3, "who publishes uses it too"
        assert not store.withdraw("toy", mark=second)
        assert self.one(store, "ann", 2).values == (10,)
        assert store.withdraw("toy", mark=third)
        assert not store.withdraw("toy", mark=third)
        with pytest.raises(NotPublishedError, match="toy"):
            self.one(store, "ann", 2)
        assert store.withdraw("toys", mark="")
        publish(store, "toy", [toy(frame)], commit="c3", since=hour(0))
        assert dict(store.marks()) == {"toy": ""}, "its mark went with it"
        assert store.withdraw("toy")
        assert not store.withdraw("toy")

    def test_nothing_published_is_an_error_that_says_what_to_materialize(self, store: OnlineStore) -> None:
        """Not an unknown entity."""
        with pytest.raises(NotPublishedError, match="toy/online_features"):
            self.one(store, "ann", 2)

    def test_values_come_back_as_they_were(self, store: OnlineStore) -> None:
        """Each dtype with its awkward values, nulls among them."""
        columns = {
            "small": pl.Series([-(2**7), None], dtype=pl.Int8),
            "large": pl.Series([2**63 - 1, None], dtype=pl.Int64),
            "unsigned": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
            "single": pl.Series([0.1, None], dtype=pl.Float32),
            "double": pl.Series([float("inf"), -0.0], dtype=pl.Float64),
            "told": pl.Series([True, None], dtype=pl.Boolean),
            "text": pl.Series(["", "Zoë 🛫"], dtype=pl.String),
            "kind": pl.Series(["a", None], dtype=pl.Categorical),
        }
        frame = rows(("ann", 1, 1, 0), ("bob", 1, 1, 0)).with_columns(**columns)
        view = FeatureView(name="all", path="toy/all", entity=("who",), features=tuple(columns))
        publish(store, "toy", [toy(frame, view, data_version="d")], commit="c1", since=hour(0))
        wanted = frame.select(*columns).with_columns(pl.col("kind").cast(pl.String)).rows()
        assert [self.one(store, who, 2, view="all").values for who in ("ann", "bob")] == wanted
        assert str(self.one(store, "bob", 2, view="all").values[4]) == "-0.0"

    def test_a_nan_comes_back_as_one(self, store: OnlineStore) -> None:
        """It is no null."""
        frame = rows(("ann", 1, 1, 0)).with_columns(pl.lit(float("nan")).alias("value"))
        publish(store, "toy", [toy(frame, data_version="d")], commit="c1", since=hour(0))
        (value,) = self.one(store, "ann", 2).values
        assert value != value

    def test_entities_of_every_kind_are_found_and_never_mistaken(self, store: OnlineStore) -> None:
        """Texts that begin others, that are empty, very long or hold the bytes between parts; numbers; flags."""
        words = ["", "a", "ab", "b", "a\0", "\0", "x" * 5_000, "x" * 5_001, "Zoë"]
        pairs = [(left, right) for left in words for right in words]
        count = len(pairs)
        frame = pl.DataFrame(
            {
                "left": [left for left, _ in pairs], "right": [right for _, right in pairs],
                "number": pl.Series(range(-5, count - 5), dtype=pl.Int32), "flag": [n % 2 == 0 for n in range(count)],
                "event_time": [hour(1)] * count, "known_at": [hour(1)] * count, "value": list(range(count)),
            }
        )  # fmt: skip
        entity = ("left", "right", "number", "flag")
        view = FeatureView(name="pairs", path="toy/pairs", entity=entity, features=("value",))
        publish(store, "toy", [toy(frame, view, data_version="d")], commit="c1", since=hour(0))
        asked = [Lookup("pairs", row, at(2)) for row in frame.select(entity).rows()]
        assert [answer.values for answer in store.lookup("toy", asked)[1]] == [(n,) for n in range(count)]
        left, right, number, flag = asked[3].entity
        swapped = Lookup("pairs", (right, left, number, flag), at(2))
        assert store.lookup("toy", [swapped])[1][0].answer is Answer.UNKNOWN

    def test_facts_about_everyone_need_no_entity(self, store: OnlineStore) -> None:
        """A view without entity columns."""
        view = FeatureView(name="all", path="toy/all", entity=(), features=("value",))
        publish(store, "toy", [toy(rows(("x", 1, 1, 1), ("y", 2, 2, 2)), view)], commit="c1", since=hour(0))
        answers = store.lookup("toy", [Lookup("all", (), at(1.5)), Lookup("all", (), at(3))])[1]
        assert [answer.values for answer in answers] == [(1,), (2,)]

    @pytest.mark.parametrize("moment", [2**53, 2**70, 1.5, None])
    def test_a_time_that_cannot_be_is_an_error_that_names_the_view(self, store: OnlineStore, moment: Any) -> None:
        """Far beyond every table, or no whole number."""
        publish(store, "toy", [toy(rows(("ann", 1, 1, 10)))], commit="c1", since=hour(0))
        with pytest.raises(TimeValueError, match="history"):
            store.lookup("toy", [Lookup("history", ("ann",), moment)])

    @pytest.mark.parametrize("entity", [(), ("ann", "bob"), (1,), (True,), (1.5,), (b"ann",), ("\ud800",)])
    def test_an_entity_that_cannot_be_one_is_an_error_that_names_the_view(
        self, store: OnlineStore, entity: tuple[Any, ...]
    ) -> None:
        """Not an unknown entity: the caller is wrong."""
        publish(store, "toy", [toy(rows(("ann", 1, 1, 10)))], commit="c1", since=hour(0))
        with pytest.raises(EntityValueError, match=r"history.*who \(str\)"):
            store.lookup("toy", [Lookup("history", entity, at(2))])

    @pytest.mark.parametrize("unit", ["ms", "us", "ns"])
    def test_times_of_every_unit_are_compared_exactly(self, store: OnlineStore, unit: Any) -> None:
        """A row is visible from its own microsecond or millisecond on, and its ttl ends so."""
        columns = [pl.col("event_time", "known_at").dt.cast_time_unit(unit)]
        publish(store, "toy", [toy(rows(("ann", 1, 1, 10)).with_columns(columns))], commit="c1", since=hour(0))
        step = 1_000 if unit == "ms" else 1
        wanted = {-step: Answer.UNKNOWN, 0: Answer.FOUND}
        wanted |= {6 * 3_600_000_000: Answer.FOUND, 6 * 3_600_000_000 + step: Answer.STALE}
        found = {shift: store.lookup("toy", [Lookup("history", ("ann",), at(1) + shift)])[1][0] for shift in wanted}
        assert {shift: answer.answer for shift, answer in found.items()} == wanted
        assert found[0].event == at(1)

    @pytest.mark.parametrize("unit", ["ms", "us", "ns"])
    def test_a_ttl_of_any_length_is_kept_as_the_join_keeps_it(self, store: OnlineStore, unit: Any) -> None:
        """One store added it to the event's time, and the sum was more than its keys hold."""
        view = replace(VIEW, ttl=timedelta.max)
        frame = rows(("ann", 1, 1, 10)).with_columns(pl.col("event_time", "known_at").dt.cast_time_unit(unit))
        publish(store, "toy", [toy(frame, view)], commit="c", since=START)
        labels = pl.DataFrame({"who": ["ann"] * 2, "at": [hour(1), hour(90_000)]}).with_columns(
            pl.col("at").cast(pl.Datetime(unit, "UTC"))
        )
        assert differences(store, "toy", [FeatureTable(view=view, rows=frame)], labels) == []
        asked = Lookup("history", ("ann",), at(90_000))
        assert [store.lookup("toy", [asked])[1][0].values for _ in range(3)] == [(10,)] * 3

    def test_a_dtype_that_no_store_can_hold_is_refused_by_name(self, store: OnlineStore) -> None:
        """A list as a feature, a float as an entity; what was published stays."""
        publish(store, "toy", [toy(rows(("ann", 1, 1, 10)))], commit="c1", since=hour(0))
        lists = rows(("ann", 1, 1, 10)).with_columns(pl.concat_list("value").alias("value"))
        floats = rows(("ann", 1, 1, 10)).with_columns(pl.lit(1.5).alias("who"))
        for frame, column in ((lists, "h_value"), (floats, "who")):
            with pytest.raises(OnlineTypeError, match=column):
                publish(store, "toy", [toy(frame, data_version="d")], commit="c2", since=hour(0))
        assert self.one(store, "ann", 2).values == (10,)

    def test_an_empty_table_is_published_and_knows_nobody(self, store: OnlineStore) -> None:
        """Also over one that had rows."""
        publish(store, "toy", [toy(rows(("ann", 1, 1, 10)))], commit="c1", since=hour(0))
        version = publish(store, "toy", [toy(rows())], commit="c2", since=hour(0))
        assert (version.views["history"].rows, version.views["history"].newest) == (0, None)
        assert self.one(store, "ann", 2).answer is Answer.UNKNOWN

    def test_added_rows_answer_beside_the_published_ones(self, store: OnlineStore) -> None:
        """Those of an entity that was there, and of a new one; the record says how many there are and since when."""
        publish(store, "toy", [toy(rows(("ann", 1, 1, 10), ("bob", 1, 1, 7)))], commit="c1", since=hour(0))
        version = extend(store, "toy", [toy(rows(("ann", 2, 2, 20), ("eve", 3, 3, 30)))[0]], commit="c2")
        assert [self.one(store, "ann", moment).values for moment in (0.5, 1.9, 2)] == [(None,), (10,), (20,)]
        assert self.one(store, "eve", 2.9).answer is Answer.UNKNOWN
        assert self.one(self.reopen(store), "eve", 3) == OnlineRow(Answer.FOUND, (30,), at(3))
        assert self.one(store, "bob", 3).values == (7,)
        assert (version.commit, version.extended, version.source) == ("c1", "c2", "c1+c2")
        assert (version.views["history"].rows, version.views["history"].newest) == (4, at(3))
        assert self.reopen(store).version("toy") == version

    def test_the_same_rows_again_change_nothing(self, store: OnlineStore) -> None:
        """Neither those that were added nor those that were published, whatever commit they come from."""
        first, more = rows(("ann", 1, 1, 10)), rows(("ann", 1, 1, 10), ("ann", 2, 3, 20))
        publish(store, "toy", [toy(first)], commit="c1", since=hour(0))
        published = extend(store, "toy", [toy(first)[0]], commit="c2")
        assert published == store.version("toy")
        assert published.extended == ""
        version = extend(store, "toy", [toy(more)[0]], commit="c3")
        assert extend(store, "toy", [toy(more)[0]], commit="c4") == version == store.version("toy")

    def test_a_corrected_row_counts_from_when_it_was_known(self, store: OnlineStore) -> None:
        """And in the place of one that is visible as long."""
        publish(store, "toy", [toy(rows(("ann", 1, 1, 10), ("bob", 1, 1, 7)))], commit="c1", since=hour(0))
        version = extend(store, "toy", [toy(rows(("ann", 1, 4, 11), ("bob", 1, 1, 8)))[0]], commit="c2")
        assert [self.one(store, "ann", moment).values for moment in (3.9, 4)] == [(10,), (11,)]
        assert self.one(store, "bob", 1).values == (8,)
        assert version.views["history"].rows == 3

    def test_a_row_older_than_what_is_known_never_answers(self, store: OnlineStore) -> None:
        """Added late; and published, with a newer event added that is visible before."""
        publish(store, "toy", [toy(rows(("ann", 3, 3, 30), ("bob", 1, 4, 7)))], commit="c1", since=hour(0))
        version = extend(store, "toy", [toy(rows(("ann", 2, 5, 20), ("bob", 2, 2, 8)))[0]], commit="c2")
        assert self.one(store, "ann", 6).values == (30,)
        assert [self.one(store, "bob", moment).values for moment in (1.9, 2, 5)] == [(None,), (8,), (8,)]
        assert (version.views["history"].rows, version.views["history"].newest) == (2, at(3))

    def test_rows_that_answer_nothing_from_the_window_on_are_passed_over(self, store: OnlineStore) -> None:
        """Of those before it the newest still answers."""
        publish(store, "toy", [toy(rows(("ann", 2, 2, 20)))], commit="c1", since=hour(4))
        before = store.version("toy")
        assert extend(store, "toy", [toy(rows(("ann", 1, 1, 10)))[0]], commit="c2") == before
        version = extend(store, "toy", [toy(rows(("ann", 3, 3, 30)))[0]], commit="c2")
        assert self.one(store, "ann", 4).values == (30,)
        assert version.views["history"].rows == 1
        with pytest.raises(TimeBeforeWindowError):
            self.one(store, "ann", 3)

    def test_a_publication_replaces_what_was_added(self, store: OnlineStore) -> None:
        """Rows that it brings too come out the same; others are gone. It is no longer said to be extended."""
        frame, more = rows(("ann", 1, 1, 10)), rows(("ann", 2, 2, 20), ("eve", 2, 2, 5))
        publish(store, "toy", [toy(frame)], commit="c1", since=hour(0))
        extend(store, "toy", [toy(more)[0]], commit="c2")
        version = publish(store, "toy", [toy(pl.concat([frame, more[:1]]))], commit="c3", since=hour(0))
        assert [self.one(store, "ann", moment).values for moment in (1, 2)] == [(10,), (20,)]
        assert self.one(store, "eve", 2).answer is Answer.UNKNOWN
        assert version.source == "c3"
        extend(store, "toy", [toy(more)[0]], commit="c4")
        again = publish(store, "toy", [toy(frame)], commit="c5", since=hour(0))
        assert self.one(store, "ann", 2).values == (10,)
        assert again == self.reopen(store).version("toy")
        extend(store, "toy", [toy(rows(("ann", 1, 1, 11)))[0]], commit="c6")
        assert self.one(store, "ann", 2).values == (11,)  # as many rows, and the same newest event
        publish(store, "toy", [toy(frame)], commit="c7", since=hour(0))
        assert self.one(store, "ann", 2).values == (10,)

    @pytest.mark.parametrize("seed", range(20))
    def test_added_in_any_parts_the_answers_are_those_of_the_join_over_all(self, store: OnlineStore, seed: int) -> None:
        """Late, corrected and stale rows of two views, published in one part and added in several, in any order."""
        draw = random.Random(seed)
        unit: Any = draw.choice(["ms", "us", "ns"])
        people, views = ["ann", "bob", "Zoë"], []
        for name, entity in (("one", ("who",)), ("none", ())):
            ttl = draw.choice([None, timedelta(hours=draw.randrange(6))])
            views.append(
                FeatureView(
                    name=name, path=f"toy/{name}", entity=entity, features=("value",), ttl=ttl, prefix=f"{name}_"
                )
            )
        parts = []
        for _ in range(draw.randrange(1, 6)):
            events = [draw.randrange(20) for _ in range(draw.randrange(20))]
            frame = rows(*((draw.choice(people), e, e + draw.randrange(9), draw.randrange(99)) for e in events))
            parts.append(frame.with_columns(pl.col("event_time", "known_at").dt.cast_time_unit(unit)))
        since = draw.randrange(10)
        publish(store, "toy", [toy(parts[0], view, data_version="d") for view in views], commit="c", since=hour(since))
        for number, part in enumerate(parts[1:]):
            extend(store, "toy", [toy(part, view)[0] for view in views], commit=str(number), since=hour(since))
        whole = [toy(pl.concat(parts), view, data_version="d") for view in views]
        labels = pl.DataFrame(
            {
                "who": [draw.choice([*people, "eve"]) for _ in range(150)],
                "at": [hour(draw.randrange(since, 30)) for _ in range(150)],
            }
        ).with_columns(pl.col("at").dt.cast_time_unit(unit))
        assert differences(store, "toy", [table for table, _ in whole], labels) == []
        found = store.version("toy").views
        at_once = publish(store, "other", whole, commit="c", since=hour(since)).views
        assert {name: (view.rows, view.newest) for name, view in found.items()} == {
            name: (view.rows, view.newest) for name, view in at_once.items()
        }

    def test_readers_see_all_of_an_extension_or_nothing(self, store: OnlineStore) -> None:
        """Two views of forty entities hold the number of their extension; no answer mixes two."""
        other = FeatureView(name="other", path="toy/other", entity=("who",), features=("value",))
        asked = [Lookup(view, (f"p{number}",), at(20)) for number in range(40) for view in ("history", "other")]
        failed: list[Any] = []
        ended = threading.Event()

        def frame(number: int) -> pl.DataFrame:
            return rows(*((f"p{person}", 15, 15 + number / 60, number) for person in range(40)))

        def read() -> None:
            reader = self.reopen(store)
            while not ended.is_set():
                version, answers = reader.lookup("toy", asked)
                if {answer.values for answer in answers} != {(version.extensions,)}:
                    failed.append((version.extensions, answers))

        publish(store, "toy", [toy(frame(0)), toy(frame(0), other)], commit="c", since=hour(0))
        parts = [
            {view.name: rows_from(toy(frame(number), view)[0], START) for view in (VIEW, other)}
            for number in range(1, 16)
        ]
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number, part in enumerate(parts):
            store.extend("toy", part, commit=str(number))
        ended.set()
        for reader in readers:
            reader.join()
        assert failed == []
        assert store.version("toy").extensions == 15

    def test_two_that_extend_at_once_and_one_that_publishes_lose_nothing(self, store: OnlineStore) -> None:
        """Each adds people of its own; a publication between them takes what was there, and nothing of later ones."""
        publish(store, "toy", [toy(rows())], commit="c0", since=hour(0))

        def add(name: str) -> None:
            mine = self.reopen_for_writing(store)
            for number in range(12):
                extend(mine, "toy", [toy(rows((f"{name}{number}", 1, 1, number)))[0]], commit=f"{name}{number}")

        def together(*work: threading.Thread) -> None:
            for thread in work:
                thread.start()
            for thread in work:
                thread.join()

        together(*(threading.Thread(target=add, args=(name,)) for name in "ab"))
        asked = [Lookup("history", (f"{name}{number}",), at(2)) for name in "ab" for number in range(12)]
        version, answers = store.lookup("toy", asked)
        assert [answer.values for answer in answers] == [(number,) for _ in "ab" for number in range(12)]
        assert (version.extensions, version.views["history"].rows) == (24, 24)

        def renew() -> None:
            publish(self.reopen_for_writing(store), "toy", [toy(rows(("eve", 1, 1, 1)))], commit="c1", since=hour(0))

        together(threading.Thread(target=add, args=("c",)), threading.Thread(target=renew))
        version, answers = store.lookup("toy", [Lookup("history", (f"c{number}",), at(2)) for number in range(12)])
        there = [answer.answer is Answer.FOUND for answer in answers]
        assert there == sorted(there)  # those before the publication are gone, those after it are not
        assert (version.extensions, version.views["history"].rows) == (sum(there), sum(there) + 1)
        assert self.one(store, "a1", 2).answer is Answer.UNKNOWN

    def test_what_cannot_be_added_is_refused_by_name(self, store: OnlineStore) -> None:
        """An unpublished product or view, other columns, another dtype; what is there stays."""
        good = toy(rows(("ann", 2, 2, 20)))[0]
        with pytest.raises(NotPublishedError, match="toy/online_features"):
            extend(store, "toy", [good], commit="c2")
        before = publish(store, "toy", [toy(rows(("ann", 1, 1, 10)))], commit="c1", since=hour(0))
        with pytest.raises(NotPublishedError, match="other"):
            extend(store, "toy", [good, replace(good, view=replace(VIEW, name="other"))], commit="c2")
        with pytest.raises(MissingColumnError, match="h_value"):
            extend(store, "toy", [replace(good, view=replace(VIEW, prefix="x_"))], commit="c2")
        floats = rows(("ann", 2, 2, 20)).with_columns(pl.col("value").cast(pl.Float64))
        with pytest.raises(OnlineTypeError, match="h_value"):
            extend(store, "toy", [toy(floats)[0]], commit="c2")
        coarse = rows(("ann", 2, 2, 20)).with_columns(pl.col("event_time", "known_at").dt.cast_time_unit("ms"))
        with pytest.raises(OnlineTypeError, match="visible"):
            extend(store, "toy", [toy(coarse)[0]], commit="c2")
        assert store.version("toy") == before

    def test_rows_that_were_worked_out_for_another_version_are_not_added(self, store: OnlineStore) -> None:
        """The same content published again lacks what was added to it, so it is another version than the extended one."""
        frame = rows(("ann", 1, 1, 10))
        first = publish(store, "toy", [toy(frame)], commit="c1", since=hour(0))
        more, last = (
            {"history": rows_from(toy(rows(row))[0], START)} for row in (("ann", 2, 2, 20), ("ann", 3, 3, 30))
        )
        second = store.extend("toy", more, commit="c2", onto=first)
        with pytest.raises(VersionChangedError, match="Nothing was added"):
            store.extend("toy", last, commit="c3", onto=first)
        assert store.version("toy") == second
        publish(store, "toy", [toy(frame)], commit="c1", since=hour(0))
        with pytest.raises(VersionChangedError, match="c1"):
            store.extend("toy", last, commit="c3", onto=second)
        assert self.one(store, "ann", 3).values == (10,)

    def test_many_entities_of_one_view_get_what_each_would_get_alone(self, store: OnlineStore) -> None:
        """Found, stale, unknown and null ones, asked at times that go to and fro, and again after an extension."""
        frame = rows(("ann", 1, 1, 10), ("ann", 3, 4, 30), ("bob", 1, 1, None), ("eve", 5, 5, 50))
        publish(store, "toy", [toy(frame)], commit="c1", since=hour(0))
        people: list[tuple[Any, ...]] = [("ann",), ("bob",), ("eve",), ("nobody",), (None,), ("ann",)]
        moments = (0, 1, 3.9, 4, 7, 7.5, 9.5, 12, 4, 1, 0)

        def check() -> None:
            for moment in moments:
                version, answers = store.lookup_many("toy", "history", people, at(moment))
                fresh = self.reopen(store)
                alone = [fresh.lookup("toy", [Lookup("history", who, at(moment))])[1][0] for who in people]
                assert answers == alone
                assert version == store.version("toy")
                assert store.lookup("toy", [Lookup("history", who, at(moment)) for who in people])[1] == alone

        check()
        extend(store, "toy", [toy(rows(("ann", 3.5, 3.5, 35), ("nobody", 2, 2, 2)))[0]], commit="c2")
        assert self.one(store, "ann", 3.7).values == (35,)
        check()
        with pytest.raises(EntityValueError, match="history"):
            store.lookup_many("toy", "history", [("ann",), (1,)], at(2))
        with pytest.raises(NotPublishedError, match="other"):
            store.lookup_many("toy", "other", [("ann",)], at(2))

    def test_values_that_are_equal_in_python_are_not_taken_for_each_other(self, store: OnlineStore) -> None:
        """1, 1.0 and True are one key of a dictionary: also after the number was found."""
        frame = rows(("x", 1, 1, 10)).with_columns(number=pl.lit(1, dtype=pl.Int64))
        view = FeatureView(name="numbers", path="toy/numbers", entity=("number",), features=("value",))
        publish(store, "toy", [toy(frame, view, data_version="d")], commit="c1", since=hour(0))
        assert self.one(store, 1, 2, view="numbers").values == (10,)
        for other in (True, 1.0):
            with pytest.raises(EntityValueError, match="numbers"):
                self.one(store, other, 2, view="numbers")
