"""The time that the log takes for an answer: the service report counts it, as a caller does who waits for it, and no version is blamed."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl

from assets._chain._prediction_rows import sort_out
from headwater.monitoring import ServiceLevels, Windowing, burning, service_windows, traffic_before
from serving.prediction_log import take
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.campaign import SLOW, with_disk
from tests.serving.http.conftest import Service

Start = Callable[..., Service]
LEVELS = ServiceLevels(min_requests=10)
NO_FAILURES = pl.DataFrame(schema={"code": pl.String, "count": pl.Int64})


def test_a_slow_disk_breaks_the_promise_of_latency_and_is_no_versions_doing(
    released: Released, start: Start, tmp_path: Path
) -> None:
    """Twenty callers waited 153 ms each, and the report told of 0.8 ms: a record cannot hold the time of its own sync."""
    service = start(program=with_disk(tmp_path, SLOW.format(seconds=0.15)))
    assert [service.predict().status for _ in range(20)] == [200] * 20
    service.stop()
    taken = take(released.folder / "serving" / "log" / PRODUCT, {}, most=100)
    rows = sort_out(taken.records, PRODUCT, {}).rows
    (window,) = service_windows(rows, levels=LEVELS, windowing=Windowing(length=timedelta(days=365)))
    assert (window.slow.requests, window.slow.bad) == (20, 19), "the first one knows of no log before it"
    assert window.latency is not None
    assert timedelta(milliseconds=150) <= window.latency < timedelta(seconds=5)
    assert "are promised" in window.broken[0]
    assert {one.budget for one in burning(rows, levels=LEVELS, now=rows["received"].max())} == {"latency"}
    assert traffic_before(rows, NO_FAILURES, slow=LEVELS.latency).slow == 0
