"""Which answers are one request: the instances of a batch are, whoever answered each, and a list of one is as every other request."""

from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.monitoring import count_requests, with_batches
from headwater.monitoring._requests import BATCH, count_batches, count_slow
from tests.monitoring.scenario import START, UTC_TIME

SLOW = timedelta(milliseconds=100)
LIVE, NEW = "1.0.0", "1.1.0"


def answered(*rows: tuple[str, str, int]) -> pl.DataFrame:
    """Answers by id, version and when they came in, all slow."""
    schema: dict[str, Any] = {"request_id": pl.String, "variant": pl.String, "second": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    received = (pl.lit(START) + pl.duration(seconds="second")).cast(UTC_TIME)
    return frame.select("request_id", "variant", received=received, latency_us=pl.lit(200_000, pl.Int64))


def counted(frame: pl.DataFrame) -> tuple[int, int, int]:
    return count_requests(frame), count_batches(frame), count_slow(frame, SLOW)


def test_a_batch_is_one_request_of_each_version_that_answered_part_of_it() -> None:
    rows = [(f"a#{place}", NEW if place % 3 else LIVE, 1) for place in range(30)]
    assert counted(answered(*rows)) == (2, 2, 0)
    assert counted(answered(*rows, ("b", NEW, 2), ("c#0", NEW, 2))) == (4, 2, 2)


def test_ids_with_a_sign_of_their_own_and_ids_that_are_used_again_are_told_apart() -> None:
    assert counted(answered(("a#b", NEW, 1), ("a#c", NEW, 1), ("a#", NEW, 1), ("#", NEW, 1))) == (4, 0, 4)
    assert counted(answered(("a#b#0", NEW, 1), ("a#b#1", NEW, 1))) == (1, 1, 0)
    assert counted(answered(("a#0", NEW, 1), ("a#1", NEW, 1), ("a#0", NEW, 2), ("a#1", NEW, 2))) == (2, 2, 0)
    assert counted(answered(("a#0", NEW, 1), ("a#1", NEW, 2), ("a", NEW, 2))) == (3, 1, 2), (
        "another request, of which the first instance is known already; and one of the id alone"
    )
    assert counted(answered()) == (0, 0, 0)


def test_what_is_left_of_a_batch_is_still_one() -> None:
    told = with_batches(answered(("a#0", LIVE, 1), ("a#1", NEW, 1), ("b#0", NEW, 1)))
    assert counted(told.filter(pl.col("variant") == LIVE)) == (1, 1, 0)
    assert counted(with_batches(told.filter(pl.col("variant") == NEW))) == (2, 1, 1)


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=20), cut=st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_requests_are_counted_as_they_were_asked_in_whatever_order_they_come(sizes: list[int], cut: int) -> None:
    """Bursts come in at one instant; compactions cut anywhere, which changes nothing once all is there."""
    rows = [(f"r{n}#{place}", NEW, 0) for n, size in enumerate(sizes) for place in range(size)]
    parts = answered(*rows[cut:]), answered(*rows[:cut])
    batches = sum(size > 1 for size in sizes)
    assert counted(pl.concat(parts)) == (len(sizes), batches, len(sizes) - batches)
    assert with_batches(pl.concat(parts))[BATCH].n_unique() == batches + (batches < len(sizes))
