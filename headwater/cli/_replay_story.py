"""Puts the story of a replay together from the lake: every number in it is computed from what was recorded."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from headwater.lake import Lake
from headwater.replay import ReplayProgress, Story, Week, auc_interval, conclusion, mean_interval, write_story

if TYPE_CHECKING:
    from headwater.models import Bundle
    from headwater.product import Product
    from resources.settings import Settings

_DECIDED: Final = {"live": "decision", "never": "never_decision", "always": "always_decision"}


def tell(
    product: "Product", lake: Lake, settings: "Settings", progress: ReplayProgress, folder: Path
) -> tuple[Path, str]:
    """Writes the page; the file, and its conclusion."""
    from assets._chain._paths import ChainPaths
    from headwater.cli._decisions import recorded_decisions

    decisions = [
        row
        for row in recorded_decisions(lake, progress.product, settings.branch)
        if row["recorded"] > _created(lake, progress)
    ]
    costs = product.performance.costs if product.performance else None
    rows, spent = _rows(product, lake, settings, progress), _costs(lake, progress, settings)
    paths = ChainPaths(product=product.name)
    trained = (
        paths.training_set,
        paths.model,
        paths.evaluation,
        paths.model_card,
        paths.drift_report,
        paths.drift_page,
    )
    story = Story(
        title=f"{product.name}, {progress.first} to {progress.last}: {product.question}",
        weeks=tuple(_weeks(rows)),
        decisions=tuple(
            {**row, "day": _day_of(row["recorded"], progress)}
            for row in decisions
            if row["action"] not in ("hold", "wait") or row.get("held_by")
        ),
        costs=spent,
        facts=_facts(progress),
        unit=costs.unit if costs else "",
        intervals=_intervals(rows),
        training_seconds=sum(spent[path]["cpu_seconds"] for path in trained if path in spent),
    )
    return write_story(story, folder), conclusion(story)


def _created(lake: Lake, progress: ReplayProgress) -> str:
    return lake.resolve(progress.commit).created.isoformat()


def _day_of(recorded: str, progress: ReplayProgress) -> str:
    """The day that was played when something was recorded; empty for what came behind the last one."""
    return next((day for day, facts in sorted(progress.days.items()) if recorded <= facts.get("ended", "")), "")


def _rows(product: "Product", lake: Lake, settings: "Settings", progress: ReplayProgress) -> pl.DataFrame | None:
    """Each event whose truth is known, with the three ways to run the model on the very rows that the service saw, by week and day."""
    from assets._chain._paths import ChainPaths
    from assets._chain._performance import rules_of
    from headwater.monitoring._windows import split

    paths, snapshot = ChainPaths(product=product.name), lake.at(settings.branch)
    if not snapshot.has(paths.outcomes):
        return None
    begun = datetime.fromisoformat(f"{progress.first}T00:00:00+00:00") - timedelta(days=1)
    known = pl.col("judged") & (pl.col("truth") == "known") & (pl.col("at") >= begun)
    outcomes = snapshot.table(paths.outcomes).filter(known).collect()
    if outcomes.is_empty():
        return None
    features = snapshot.table(paths.predictions).select("request_id", "features")
    rows = outcomes.join(features.collect(), on="request_id", how="left").sort("at")
    rows = rows.with_columns(*_never(lake, settings, progress, rows), *_always(product, lake, settings, progress, rows))
    windowing = rules_of(product).windowing
    rows = pl.concat(
        [part.with_columns(pl.lit(window.start).alias("week")) for window, part in split(rows, "at", windowing)]
    )
    rows = rows.with_columns(pl.col("at").dt.convert_time_zone(windowing.zone).dt.date().alias("day"))
    costs = product.performance.costs if product.performance else None
    if costs is None:
        return rows
    labels = rows["label"].to_numpy()
    return rows.with_columns(
        pl.Series(f"cost_{name}", costs.of(labels, rows[decided].to_numpy())) for name, decided in _DECIDED.items()
    )


def _intervals(rows: pl.DataFrame | None) -> dict[str, tuple[float, float]]:
    if rows is None:
        return {}
    found = {
        "gain": auc_interval(rows, ours="score", other="never"),
        "gain_of_always": auc_interval(rows, ours="always", other="never"),
        "saved": mean_interval(rows, ours="cost_live", other="cost_never") if "cost_live" in rows.columns else None,
    }
    return {name: interval for name, interval in found.items() if interval is not None}


def _weeks(rows: pl.DataFrame | None) -> Iterator[Week]:
    """Each judged week."""
    for part in rows.partition_by("week", maintain_order=True) if rows is not None else ():
        yield _week(part["week"][0], part)


def _week(start: datetime, rows: pl.DataFrame) -> Week:
    labels = rows["label"].to_numpy()

    def price(name: str) -> float | None:
        return float(rows[f"cost_{name}"].mean()) if f"cost_{name}" in rows.columns else None  # type: ignore[arg-type]

    return Week(
        start=start,
        rows=rows.height,
        champion=_auc(labels, rows["score"]),
        never=_auc(labels, rows["never"]),
        always=_auc(labels, rows["always"]),
        cost=(price("live"), price("never"), price("always")),
    )


def _auc(labels: np.ndarray, scores: pl.Series) -> float | None:
    from headwater.models.evaluation_metrics import area_under_curve

    if not 0 < labels.sum() < len(labels):
        return None
    return float(area_under_curve(labels.astype(np.float64), scores.to_numpy()))


def _never(lake: Lake, settings: "Settings", progress: ReplayProgress, rows: pl.DataFrame) -> list[pl.Series]:
    bundle = _bundle(lake, settings, progress.product, progress.version)
    scores = bundle.predict(bundle.preprocessing.recorded(rows["features"]))
    return [pl.Series("never", scores), pl.Series("never_decision", bundle.decide(scores))]


def _always(
    product: "Product", lake: Lake, settings: "Settings", progress: ReplayProgress, rows: pl.DataFrame
) -> list[pl.Series]:
    """Each row scored by the newest version that had been trained by then, whatever became of it."""
    scores, decided = np.empty(rows.height), np.zeros(rows.height, dtype=bool)
    for since, version in _trained(product, lake, settings, progress):
        bundle = _bundle(lake, settings, product.name, version)
        later = (rows["at"] >= since).to_numpy() if since is not None else np.ones(rows.height, dtype=bool)
        if later.any():
            found = bundle.predict(bundle.preprocessing.recorded(rows.filter(pl.Series(later))["features"]))
            scores[later], decided[later] = found, bundle.decide(found)
    return [pl.Series("always", scores), pl.Series("always_decision", decided)]


def _trained(
    product: "Product", lake: Lake, settings: "Settings", progress: ReplayProgress
) -> list[tuple[datetime | None, str]]:
    """Versions with the instant from which each could have answered, oldest first."""
    from assets._chain._paths import ChainPaths
    from assets._chain._retraining import as_of
    from headwater.registry import model_versions

    path = ChainPaths(product=product.name).training_order
    found: list[tuple[datetime | None, str]] = [(None, progress.version)]
    created = lake.resolve(progress.commit).created
    for version in model_versions(lake, product.name, ref=settings.branch):
        there = lake.at(version.commit)
        if version.created > created and there.has(path):
            found.append((as_of(there.folder(path)), version.version))
    return found


def _bundle(lake: Lake, settings: "Settings", product: str, version: str) -> "Bundle":
    from headwater.models import read_bundle
    from headwater.registry import model_version

    there = model_version(lake, f"{product}@{version}", ref=settings.branch)
    return read_bundle(lake.at(there.commit).folder(there.path))


def _costs(lake: Lake, progress: ReplayProgress, settings: "Settings") -> Mapping[str, Mapping[str, float]]:
    """What each asset's builds took since the replay began, as their commits say."""
    found: dict[str, dict[str, float]] = {}
    for commit in lake.log(settings.branch):
        if commit.id == progress.commit:
            break
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
        "days": len(days),
        "requests answered": f"{asked:,}",
        "slowest day's 99th percentile": f"{slow:.1f} ms",
        "builds that were refused": sum(len(day["refused"]) for day in days),
        "wall time": f"{seconds / 60:.1f} minutes",
        "version at the beginning": progress.version,
    }
