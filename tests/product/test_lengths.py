"""A declared time that is added to an instant has a longest, so that "for ever" is refused where it is declared and not where it is used."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from headwater.decisions import Retraining, RolloutRules
from headwater.errors import HeadwaterError
from headwater.features import FeatureView, StreamedView
from headwater.lengths import LONGEST
from headwater.monitoring import BurnRule, ServiceLevels, Windowing
from headwater.product import Serving
from headwater.review import Review
from headwater.streams import StreamSource


def burn_rule(**times: Any) -> BurnRule:
    return BurnRule(name="page", short=timedelta(minutes=5), burn=1.0, **times)


def review(**times: Any) -> Review:
    return Review(low=0.4, high=0.6, **times)


def streamed(**times: Any) -> StreamedView:
    usual: dict[str, Any] = {"lookback": timedelta(days=1), "known_after": timedelta(0)}
    return StreamedView(view="history", events="toy/events", compute=pl.LazyFrame.lazy, **{**usual, **times})


def stream(**times: Any) -> StreamSource:
    columns = {"id": pl.Int64, "at": pl.Datetime("us", "UTC")}
    return StreamSource(path="toy/events", columns=columns, event_time="at", id=("id",), **times)


BOUNDED = [
    *((Serving, name) for name in ("window", "keep", "unique_for", "ahead")),
    (review, "open_for"),
    *((RolloutRules, n) for n in ("window", "max_wait", "watch", "check_every", "recorded_every", "learn_every")),
    (Windowing, "length"),
    (ServiceLevels, "latency"),
    (burn_rule, "long"),
    *((streamed, name) for name in ("lookback", "settles", "known_after")),
    *((stream, n) for n in ("allowed_lateness", "duplicate_horizon", "allowed_ahead", "idle_after", "arrives_within")),
]


@pytest.mark.parametrize(("declare", "name"), BOUNDED, ids=[f"{d.__name__}-{name}" for d, name in BOUNDED])
@pytest.mark.parametrize("length", [timedelta.max, LONGEST + timedelta(days=1)], ids=["for ever", "a day more"])
def test_a_time_beyond_a_hundred_years_is_refused_by_name(
    declare: Callable[..., object], name: str, length: timedelta
) -> None:
    """Each compaction ended in a bare OverflowError, and each answer to a question in Polars' PanicException."""
    if length == timedelta.max and name in ("window", "length") and declare is not Serving:
        length = timedelta(days=timedelta.max.days)  # whole days, as a window has to be
    with pytest.raises(HeadwaterError, match=rf"{name}.*36500 days"):
        declare(**{name: length})


@pytest.mark.parametrize(("declare", "name"), BOUNDED, ids=[f"{d.__name__}-{name}" for d, name in BOUNDED])
def test_a_hundred_years_are_a_time(declare: Callable[..., object], name: str) -> None:
    assert getattr(declare(**{name: LONGEST}), name) == LONGEST


def test_what_is_only_compared_has_no_longest() -> None:
    """A feature of any age, a record that waits for others however long, a training that is never given up."""
    for_ever = timedelta.max
    assert FeatureView(name="v", path="toy/v", entity=("who",), features=("x",), ttl=for_ever).ttl == for_ever
    assert Serving(longest_wait=for_ever).longest_wait == for_ever
    assert Retraining(every=for_ever, cool_down=for_ever, give_up=for_ever).give_up == for_ever
    assert ServiceLevels(freshness=for_ever).freshness == for_ever
