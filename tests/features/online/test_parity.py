"""The comparison of a store with the point-in-time join: it holds on what is right and sees a planted skew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.features import FeatureTable, FeatureView
from headwater.features.errors import OnlineContentError
from headwater.features.online import OnlineContent, OnlineTable, prepare
from headwater.features.online._content import DESCRIPTION, read_content, write_content
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.features.online._parity import parity, same
from headwater.lake import digest_folder
from headwater.testing.online_suite import VIEW, hour, rows

EVENTS = rows(("ann", 1, 1, 10), ("ann", 3, 4, 30), ("bob", 2, 2, None), ("eve", 1, 5, 7))
EVERYONE = FeatureView(name="everyone", path="toy/all", entity=(), features=("value",), prefix="all_")
TABLES = [FeatureTable(view=VIEW, rows=EVENTS), FeatureTable(view=EVERYONE, rows=EVENTS)]
LABELS = pl.DataFrame(
    [(who, hour(at)) for who in ("ann", "bob", "eve", "nobody", None) for at in (1, 2, 4, 6, 9)],
    schema={"who": pl.String, "at": pl.Datetime("us", "UTC")},
    orient="row",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedOnlineStore]:
    store = EmbeddedOnlineStore(tmp_path / "online")
    yield store
    store.close()


def content() -> OnlineContent:
    return prepare([(table, "d") for table in TABLES], since=hour(1))


def test_what_was_published_from_the_lake_differs_in_nothing(store: EmbeddedOnlineStore) -> None:
    store.publish("toy", content(), commit="c1")
    found = parity(store, "toy", TABLES, LABELS, time="at")
    assert (found.compared, found.different, found.examples) == (50, 0, ())
    assert found.found == 26  # 5 of ann, 1 of eve; of everyone 4 of 5 instants, asked five times


def skewed(content: OnlineContent, change: pl.Expr) -> OnlineContent:
    first, *others = content.tables
    return OnlineContent(
        since=content.since, tables=(OnlineTable(view=first.view, rows=first.rows.with_columns(change)), *others)
    )


@pytest.mark.parametrize(
    "change",
    [
        pl.col("h_value") + 1,
        pl.col("h_value").cast(pl.Float64),
        pl.col("h_value").fill_null(0),
        pl.col("__headwater_visible").dt.offset_by("1us"),
        pl.col("__headwater_event").dt.offset_by("-10h"),
    ],
    ids=["another value", "another type", "a default for a null", "known later", "an older event"],
)
def test_a_planted_skew_is_seen_and_shown(store: EmbeddedOnlineStore, change: pl.Expr) -> None:
    store.publish("toy", skewed(content(), change), commit="c1")
    found = parity(store, "toy", TABLES, LABELS, time="at")
    assert found.different > 0
    assert {difference.view for difference in found.examples} == {"history"}
    first = found.examples[0]
    assert first.feature == "h_value"
    assert not same(first.online, first.offline)


@pytest.mark.parametrize(
    ("online", "offline", "wanted"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (None, None, True),
        (None, float("nan"), False),
        (float("nan"), float("nan"), True),
        (True, 1, False),
        ("a", "b", False),
    ],
)
def test_values_are_the_same_only_with_their_type(online: Any, offline: Any, wanted: bool) -> None:
    assert same(online, offline) is wanted


def test_content_comes_back_from_its_folder_as_it_was(tmp_path: Path) -> None:
    write_content(content(), tmp_path)
    found = read_content(tmp_path)
    assert found.since == content().since
    for there, wanted in zip(found.tables, content().tables, strict=True):
        assert there.view == wanted.view
        assert there.rows.equals(wanted.rows, null_equal=True)
        assert there.rows.schema == wanted.rows.schema


def test_the_same_rows_in_another_order_are_the_same_content(tmp_path: Path) -> None:
    """A build that was killed and begun again writes its partitions in another order, and once had other online features."""
    found = []
    for number, frame in enumerate((EVENTS, EVENTS.reverse(), pl.concat([EVENTS[2:], EVENTS[:2]], rechunk=False))):
        tables = [(FeatureTable(view=table.view, rows=frame), "d") for table in TABLES]
        (tmp_path / str(number)).mkdir()
        write_content(prepare(tables, since=hour(1)), tmp_path / str(number))
        found.append(digest_folder(tmp_path / str(number)))
    assert len(set(found)) == 1


def test_a_folder_that_is_half_there_is_refused_by_the_file(tmp_path: Path) -> None:
    with pytest.raises(OnlineContentError, match=DESCRIPTION):
        read_content(tmp_path)
    write_content(content(), tmp_path)
    (tmp_path / "view-1.parquet").unlink()
    with pytest.raises(OnlineContentError, match=r"view-1\.parquet"):
        read_content(tmp_path)
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "view-1.parquet")
    with pytest.raises(OnlineContentError, match="has 1 rows"):
        read_content(tmp_path)
