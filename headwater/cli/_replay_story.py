"""Puts the story of a replay together from the lake: every number in it is computed from what was recorded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from headwater.cli._replay_weekly import WeeklyModels, weekly_models
from headwater.lake import Lake
from headwater.replay import ReplayProgress, Story, Week, auc_interval, conclusion, mean_interval, play_of, write_story

if TYPE_CHECKING:
    from headwater.models import Bundle
    from headwater.product import Product
    from resources.settings import Settings

_NOTHING: Final = "nothing"
"""The rule of a day on which nothing spoke for a training."""
_PREDICTION: Final = ("request_id", "received")
_DECIDED: Final = {"live": "decision", "never": "never_decision", "weekly": "weekly_decision"}


def tell(
    product: "Product",
    lake: Lake,
    settings: "Settings",
    progress: ReplayProgress,
    folder: Path,
    told: Callable[[str], None] = lambda line: None,
) -> tuple[Path, str]:
    """Writes the page; the file, and its conclusion. Weekly models that it compares with are trained where they are missing."""
    from assets._chain._paths import ChainPaths
    from headwater.cli._decisions import recorded_decisions

    decisions = [
        {**row, "day": _day_of(row["recorded"], progress)}
        for row in recorded_decisions(lake, progress.product, settings.branch)
        if _created(lake, progress) < row["recorded"] <= _ended(progress)
    ]
    costs = product.performance.costs if product.performance else None
    (rows, weekly), spent = _rows(product, lake, settings, progress, folder, told), _costs(lake, progress, settings)
    paths = ChainPaths(product=product.name)
    trained = (
        paths.training_set,
        paths.model,
        paths.evaluation,
        paths.model_card,
        paths.drift_report,
        paths.drift_page,
    )
    told_of = tuple(_worth_telling(decisions))
    story = Story(
        title=f"{product.name}, {progress.first} to {progress.last}: {product.question}",
        weeks=tuple(_weeks(rows, _retrained(lake, settings, progress))),
        decisions=told_of,
        quiet=tuple(row for row in decisions if not any(row is one for one in told_of)),
        costs=spent,
        facts=_facts(progress),
        unit=costs.unit if costs else "",
        intervals=_intervals(rows),
        training_seconds=sum(spent[path]["cpu_seconds"] for path in trained if path in spent),
        weekly_seconds=weekly.cpu_seconds,
    )
    return write_story(story, folder), conclusion(story)


def _worth_telling(decisions: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """What changed something, was refused, or was held back although something spoke for it: of days alike the first."""
    before = None
    for row in decisions:
        is_retraining = row["kind"] == "retraining"
        if (
            row["kind"] == "release"
            or row["action"] not in ("hold", "wait")
            or (is_retraining and row.get("rule") not in (None, _NOTHING, before))
        ):
            yield row
        before = row.get("rule") if is_retraining else before


def _created(lake: Lake, progress: ReplayProgress) -> str:
    return lake.resolve(progress.commit).created.isoformat()


def _ended(progress: ReplayProgress) -> str:
    """When the last day that was played ended: what came behind it is no part of the story. Without one, what sorts behind all."""
    return max((facts.get("ended", "") for facts in progress.days.values()), default="") or "~"


def _day_of(recorded: str, progress: ReplayProgress) -> str:
    """The day that was played when something was recorded."""
    return next((day for day, facts in sorted(progress.days.items()) if recorded <= facts.get("ended", "")), "")


def catch_up(
    product: "Product",
    lake: Lake,
    settings: "Settings",
    progress: ReplayProgress,
    folder: Path,
    told: Callable[[str], None],
) -> None:
    """Trains the weekly models that are missing so far, so that the end has little left to do."""
    if (rows := _outcomes(product, lake, settings, progress)) is not None:
        weekly_models(product, lake, settings, folder, _starts(rows), told)


def _starts(rows: pl.DataFrame) -> list[datetime]:
    """The first instant of each week."""
    return rows["week"].unique(maintain_order=True).to_list()


def _rows(
    product: "Product",
    lake: Lake,
    settings: "Settings",
    progress: ReplayProgress,
    folder: Path,
    told: Callable[[str], None],
) -> tuple[pl.DataFrame | None, WeeklyModels]:
    """Each event whose truth is known, with the three ways to run the model on the very rows that the service saw, by week and day."""
    from assets._chain._paths import ChainPaths

    rows = _outcomes(product, lake, settings, progress)
    if rows is None:
        return None, WeeklyModels(bundles={}, cpu_seconds=0.0)
    weekly = weekly_models(product, lake, settings, folder, _starts(rows), told)
    predictions = lake.at(settings.branch).table(ChainPaths(product=product.name).predictions)
    features = predictions.select(*_PREDICTION, "features").filter(play_of() == progress.play).collect()
    rows = rows.join(features, on=_PREDICTION, how="left", maintain_order="left")
    rows = rows.with_columns(*_never(lake, settings, progress, rows), *_weekly(weekly, rows))
    costs = product.performance.costs if product.performance else None
    if costs is None:
        return rows, weekly
    labels = rows["label"].to_numpy()
    priced = [
        pl.Series(f"cost_{name}", costs.of(labels, rows[decided].fill_null(False).to_numpy()))
        for name, decided in _DECIDED.items()
    ]
    return rows.with_columns(*priced), weekly


def _outcomes(product: "Product", lake: Lake, settings: "Settings", progress: ReplayProgress) -> pl.DataFrame | None:
    """Each event that this play asked about and whose truth is known, by week and day; None without any."""
    from assets._chain._paths import ChainPaths
    from assets._chain._performance import rules_of
    from headwater.monitoring._windows import split

    paths, snapshot = ChainPaths(product=product.name), lake.at(settings.branch)
    if not snapshot.has(paths.outcomes):
        return None
    begun = datetime.fromisoformat(f"{progress.first}T00:00:00+00:00") - timedelta(days=1)
    played = date.fromisoformat(max(progress.days)) if progress.days else progress.last
    until = datetime(played.year, played.month, played.day, tzinfo=UTC) + timedelta(days=2)
    known = pl.col("judged") & (pl.col("truth") == "known") & pl.col("at").is_between(begun, until, closed="left")
    outcomes = snapshot.table(paths.outcomes).filter(known, play_of() == progress.play).collect()
    if outcomes.is_empty():
        return None
    windowing = rules_of(product).windowing
    weeks = split(outcomes.sort("at"), "at", windowing)
    rows = pl.concat([part.with_columns(pl.lit(window.start).alias("week")) for window, part in weeks])
    return rows.with_columns(pl.col("at").dt.convert_time_zone(windowing.zone).dt.date().alias("day"))


def _intervals(rows: pl.DataFrame | None) -> dict[str, tuple[float, float]]:
    if rows is None:
        return {}
    found = {
        "gain": auc_interval(rows, ours="score", other="never"),
        "gain_of_weekly": auc_interval(rows.filter(pl.col("weekly").is_not_null()), ours="weekly", other="never"),
        "saved": mean_interval(rows, ours="cost_live", other="cost_never") if "cost_live" in rows.columns else None,
    }
    return {name: interval for name, interval in found.items() if interval is not None}


def _retrained(lake: Lake, settings: "Settings", progress: ReplayProgress) -> frozenset[str]:
    """The versions that were published since the replay began. One that went back to what was before it retrained nothing."""
    from headwater.registry import model_versions

    begun = lake.resolve(progress.commit).created
    versions = model_versions(lake, progress.product, ref=settings.branch)
    return frozenset(one.version for one in versions if one.created > begun)


def _weeks(rows: pl.DataFrame | None, retrained: frozenset[str]) -> Iterator[Week]:
    """Each judged week, some versions being retrained ones."""
    for part in rows.partition_by("week", maintain_order=True) if rows is not None else ():
        yield _week(part["week"][0], part, retrained)


def _week(start: datetime, rows: pl.DataFrame, retrained: frozenset[str]) -> Week:
    labels = rows["label"].to_numpy()

    def price(name: str) -> float | None:
        if f"cost_{name}" not in rows.columns or rows[_DECIDED[name]].null_count():
            return None
        return float(rows[f"cost_{name}"].mean())  # type: ignore[arg-type]

    return Week(
        start=start,
        rows=rows.height,
        champion=_auc(labels, rows["score"]),
        never=_auc(labels, rows["never"]),
        weekly=_auc(labels, rows["weekly"]),
        cost=(price("live"), price("never"), price("weekly")),
        retrained=rows.filter(pl.col("variant").is_in(retrained)).height,
    )


def _auc(labels: np.ndarray, scores: pl.Series) -> float | None:
    from headwater.models.evaluation_metrics import area_under_curve

    if scores.null_count() or not 0 < labels.sum() < len(labels):
        return None
    return float(area_under_curve(labels.astype(np.float64), scores.to_numpy()))


def _never(lake: Lake, settings: "Settings", progress: ReplayProgress, rows: pl.DataFrame) -> list[pl.Series]:
    bundle = _bundle(lake, settings, progress.product, progress.version)
    scores = bundle.predict(bundle.preprocessing.recorded(rows["features"]))
    return [pl.Series("never", scores), pl.Series("never_decision", bundle.decide(scores))]


def _weekly(models: WeeklyModels, rows: pl.DataFrame) -> list[pl.Series]:
    """Each row scored by the model that was trained at its week's begin; null in weeks without one."""
    scores: list[pl.Series] = []
    decided: list[pl.Series] = []
    for part in rows.partition_by("week", maintain_order=True):
        bundle = models.bundles.get(part["week"][0])
        if bundle is None:
            scores.append(pl.repeat(None, part.height, dtype=pl.Float64, eager=True))
            decided.append(pl.repeat(None, part.height, dtype=pl.Boolean, eager=True))
            continue
        found = bundle.predict(bundle.preprocessing.recorded(part["features"]))
        scores.append(pl.Series(found, dtype=pl.Float64))
        decided.append(pl.Series(bundle.decide(found), dtype=pl.Boolean))
    return [pl.concat(scores).alias("weekly"), pl.concat(decided).alias("weekly_decision")]


def _bundle(lake: Lake, settings: "Settings", product: str, version: str) -> "Bundle":
    from headwater.models import read_bundle
    from headwater.registry import model_version

    there = model_version(lake, f"{product}@{version}", ref=settings.branch)
    return read_bundle(lake.at(there.commit).folder(there.path))


def _costs(lake: Lake, progress: ReplayProgress, settings: "Settings") -> Mapping[str, Mapping[str, float]]:
    """What each asset's builds took from the replay's begin to its end, as their commits say."""
    found: dict[str, dict[str, float]] = {}
    for commit in lake.log(settings.branch):
        if commit.id == progress.commit:
            break
        if commit.created.isoformat() > _ended(progress):
            continue
        record = commit.provenance
        if record is None or not record.outputs:
            continue
        of = found.setdefault(record.outputs[0].path, {"builds": 0.0, "cpu_seconds": 0.0, "wall_seconds": 0.0})
        of["builds"] += 1
        of["cpu_seconds"] += record.cost.cpu_seconds
        of["wall_seconds"] += record.cost.wall_seconds
    return found


def _facts(progress: ReplayProgress) -> dict[str, Any]:
    days = list(progress.days.values())
    asked = sum(day["asked"] for day in days)
    seconds = sum(day["seconds"] for day in days)
    slow = max((day["p99_ms"] for day in days), default=0.0)
    return {
        "play of this lake": progress.play,
        "days": len(days),
        "requests answered": f"{asked:,}",
        "slowest day's 99th percentile": f"{slow:.1f} ms",
        "builds that were refused": sum(len(day["refused"]) for day in days),
        "wall time": f"{seconds / 60:.1f} minutes",
        "version at the beginning": progress.version,
    }
