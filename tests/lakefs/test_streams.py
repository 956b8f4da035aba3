"""A stream into a lake on lakeFS: each event once, also with two consumers at the same time."""

from pathlib import Path

import pytest

from headwater.lake import Lake
from headwater.lake.errors import MergeConflictError
from headwater.streams import FileLog, catch_up, ingest
from tests.streams.feed import Feed, Interrupted, check_each_once
from tests.streams.scenario import NOW, RUN, SOURCE


def test_of_two_consumers_of_the_same_events_one_publishes_and_the_other_is_told(lake: Lake, tmp_path: Path) -> None:
    log = FileLog(tmp_path / "log", partitions=4)
    feed = Feed(log, seed=3)
    feed.send(20)
    catch_up(lake, SOURCE, log, run=RUN, now=NOW)
    feed.send(20)
    slow = Interrupted(log, lambda: ingest(lake, SOURCE, log, run=RUN, now=NOW))
    with pytest.raises(MergeConflictError, match=SOURCE.offsets_path):
        ingest(lake, SOURCE, slow, run=RUN, now=NOW)
    assert catch_up(lake, SOURCE, log, run=RUN, now=NOW).events == 0
    check_each_once(lake, feed, log)
