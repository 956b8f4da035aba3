"""A sample of what was served, and what the feature tables say of the same instants."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from assets._chain._prediction_rows import typed_column
from headwater.features import FeatureTable, OnDemandFeatures, add_on_demand, fill_defaults, point_in_time_join
from headwater.features.errors import OnDemandFaultError, OnDemandValueError

SAMPLE: Final = 500
"""Predictions compared of each view: evenly spread over the newest window that its table covers."""
_SHOWN: Final = 5
_AT: Final = "__at"
_AHEAD: Final = "__ahead"


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Predictions of the newest window that is covered.

    Attributes:
        rows: `request_id`, `at`, `version`, `request` and `features` as the predictions have them.
        since, until: The window, without and with its border; None where there is no prediction that is covered.
        predictions: In the window, of those that are compared.
        later: Newer than the window: what they should have read is not yet known.
        ahead: In the window, and asked of a time after they came in: no store knew yet what is known at that time. Left out.
    """

    rows: pl.DataFrame
    since: datetime | None
    until: datetime | None
    predictions: int
    later: int
    ahead: int = 0

    def to_json(self, view: str, found: "Compared") -> dict[str, Any]:
        """The sample and what came of it."""
        return {
            "view": view,
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
            "predictions": self.predictions,
            "sampled": self.rows.height,
            "not_yet_known": self.later,
            "asked_ahead": self.ahead,
            "compared": found.compared,
            "with_a_value": found.found,
            "different": found.different,
            "not_logged": list(found.absent),
            "not_whole": found.not_whole,
            "examples": list(found.examples),
        }


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Served values against the join's.

    Attributes:
        compared: Values compared.
        found: Of them with a value in the join.
        different: Of them other ones.
        absent: Features, or fields needed to know them, that no sampled prediction holds: redacted, or read by no version.
        examples: Some differences.
        not_whole: Predictions left out, because their request as logged lacks a field that others have: it was redacted for a while.
    """

    compared: int = 0
    found: int = 0
    different: int = 0
    absent: tuple[str, ...] = ()
    examples: tuple[Mapping[str, Any], ...] = ()
    not_whole: int = 0


def sample_of(answers: pl.LazyFrame, until: datetime | None, window: timedelta) -> Sample:
    """The same predictions from the same table, always: every n-th of the window by time and request id.

    Args:
        answers: The predictions, with when they were received.
        until: Up to when what they should have read is known; None without an end. The window ends with the last one until then.
        window: Its length.
    """
    at = pl.col("at")
    is_ahead = (at > pl.col("received")).fill_null(value=False)
    known = answers if until is None else answers.filter(at <= until)
    last: Any = known.filter(~is_ahead).select(at.max()).collect().item()
    if last is None:
        later, ahead = answers.select((~is_ahead).sum(), is_ahead.sum().alias("ahead")).collect().row(0)
        nothing = _held(answers.clear()).collect()
        return Sample(rows=nothing, since=None, until=None, predictions=0, later=later, ahead=ahead)
    since = last - window
    asked = answers.filter(at > since).select("request_id", "at", is_ahead.alias(_AHEAD)).collect()
    times = asked.filter(~pl.col(_AHEAD))
    inside = times.filter(at <= last).sort("at", "request_id")
    taken = min(SAMPLE, inside.height)
    chosen = inside[[place * inside.height // taken for place in range(taken)]] if taken else inside
    rows = _held(answers.filter(at > since, at <= last, ~is_ahead)).join(
        chosen.lazy(), on=["request_id", "at"], how="semi"
    )
    return Sample(
        rows=rows.sort("at", "request_id").collect(), since=since, until=last, predictions=inside.height,
        later=times.height - inside.height, ahead=asked.filter(_AHEAD, at <= last).height,
    )  # fmt: skip


def _held(answers: pl.LazyFrame) -> pl.LazyFrame:
    return answers.select("request_id", "at", "version", "request", "features")


def compare_view(sample: Sample, table: FeatureTable) -> Compared:
    """The features of one view as they were served, and as the join has them, defaults filled in."""
    view, schema = table.view, table.rows.lazy().collect_schema()
    if absent := _absent(view.keys, _parsed(sample.rows["request"])):
        return Compared(absent=absent)
    rows, requests = _whole(sample.rows, view.keys)
    entities = [
        typed_column(key, [request.get(key) for request in requests], schema[column])
        for key, column in zip(view.keys, view.entity, strict=True)
    ]
    asked = pl.DataFrame([_times(rows["at"], _AT, schema[view.event_time]), *entities])
    joined = point_in_time_join(asked, [table], time=_AT).collect()
    found = _against(rows, fill_defaults(joined, [view]), view.outputs.values(), known=joined)
    return replace(found, not_whole=sample.rows.height - rows.height)


def compare_computed(
    sample: Sample,
    tables: Sequence[FeatureTable],
    declared: Sequence[OnDemandFeatures],
    *,
    time: str,
    types: Mapping[str, pl.DataType],
) -> Compared:
    """The on-demand features as they were served, and as their functions make them of the join.

    Args:
        sample: Predictions that every table covers.
        tables: All of the product.
        declared: What is computed.
        time: Column of the labels with the prediction time.
        types: Dtypes of the labels' columns.
    """
    wanted = [name for one in declared for name in one.inputs if name in types and name != time]
    fields = dict.fromkeys((*(key for table in tables for key in table.view.keys if key != time), *wanted))
    absent = _absent(fields, _parsed(sample.rows["request"]))
    if absent := (*absent, *(name for name in (time, *fields) if name not in types)):
        return Compared(absent=tuple(dict.fromkeys(absent)))
    rows, requests = _whole(sample.rows, fields)
    columns = [typed_column(name, [request.get(name) for request in requests], types[name]) for name in fields]
    asked = pl.DataFrame([_times(rows["at"], time, types[time]), *columns])
    joined = point_in_time_join(asked, tables, time=time).collect()
    try:
        offline = add_on_demand(fill_defaults(joined, [table.view for table in tables]), declared)
    except (OnDemandFaultError, OnDemandValueError):  # what differs so much shows in the views
        return Compared(absent=tuple(name for one in declared for name in one.outputs))
    found = _against(rows, offline, [name for one in declared for name in one.outputs], known=offline)
    return replace(found, not_whole=sample.rows.height - rows.height)


def _whole(rows: pl.DataFrame, fields: Iterable[str]) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Predictions whose requests say every field that the join needs, and those requests.

    One that was redacted while others were not says nothing of what the service looked up.
    """
    wanted, requests = tuple(fields), _parsed(rows["request"])
    there = [place for place, request in enumerate(requests) if all(name in request for name in wanted)]
    return rows[there], [requests[place] for place in there]


def _against(rows: pl.DataFrame, offline: pl.DataFrame, names: Iterable[str], *, known: pl.DataFrame) -> Compared:
    """What was served against `offline`; `known` has no defaults, so that it shows where a value was found."""
    served = _parsed(rows["features"])
    compared = found = different = 0
    absent: list[str] = []
    examples: list[Mapping[str, Any]] = []
    for name in names:
        there = [place for place, values in enumerate(served) if name in values]
        wanted = offline[name].to_list()
        compared += len(there)
        found += known[name].gather(there).count()
        other = [place for place in there if not _same(served[place][name], _plain(wanted[place]))]
        different += len(other)
        examples += [
            _example(rows.row(place, named=True), name, served[place][name], wanted[place]) for place in other[:1]
        ]
        if not there:
            absent.append(name)
    shown = tuple(examples[:_SHOWN])
    return Compared(compared=compared, found=found, different=different, absent=tuple(absent), examples=shown)


def _example(row: Mapping[str, Any], feature: str, served: Any, offline: Any) -> dict[str, Any]:
    told = {"request_id": row["request_id"], "at": row["at"].isoformat(), "version": row["version"]}
    return {**told, "feature": feature, "served": repr(served), "offline": repr(offline)}


def _parsed(texts: pl.Series) -> list[dict[str, Any]]:
    return [json.loads(text) for text in texts]


def _absent(fields: Iterable[str], requests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Fields that no request says."""
    return tuple(name for name in fields if requests and not any(name in request for request in requests))


def _times(at: pl.Series, name: str, dtype: pl.DataType) -> pl.Series:
    """Prediction times as a column of another dtype."""
    zone = getattr(dtype, "time_zone", None)
    moved = at.dt.replace_time_zone(None) if zone is None else at.dt.convert_time_zone(zone)
    return moved.cast(dtype).alias(name)


def _plain(value: Any) -> Any:
    """A value as the log's JSON can say it, which has neither NaN nor infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _same(served: Any, offline: Any) -> bool:
    """Whether a model reads both alike: numbers by value, nothing else across kinds."""
    kinds = [isinstance(value, int | float) and not isinstance(value, bool) for value in (served, offline)]
    return bool(served == offline) and (all(kinds) or type(served) is type(offline))
