"""The performance report: how the model in service did, window by window, and how far its inputs moved."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._in_service import COMPARED, IN_SERVICE, SCORE_SHIFTED, checks_in_service, in_service
from assets._chain._label_changes import label_changes
from assets._chain._outcomes import newest_asked, newest_of, slices_of
from assets._chain._paths import ChainPaths
from assets._chain._performance_history import (
    RECEIVED,
    SETTLED,
    History,
    Standing,
    end_of,
    is_judged,
    outside,
    reach,
    start_of,
)
from assets._chain._performance_page import write_page
from assets._chain._plays import counted, newest_begun
from assets._chain._recorded import recorded
from assets._chain._reference import FEATURES_FILE, SCORES_FILE, LiveReference, live_reference, live_version, watched
from assets._chain._training_set import SPLIT, TRAIN
from headwater.lake import Kind
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Severity, Verdict

if TYPE_CHECKING:
    from headwater.monitoring import PerformanceRules, Span, WindowDrift, WindowPerformance

REPORT_FILE: Final = "performance.json"
FORMAT: Final = 3
NEWEST_FACT: Final = "newest_judged"
"""The first instant of the newest judged window."""
ANSWERED: Final = "answered"
"""In a window: its events that have or await a label, by the version that answered."""
_PLAY: Final = "play"
"""In the report: the newest play of the product's past whose answers it looked at; absent without any."""
_BY_ROWS: Final = 2
"""The format in which no report drew days of itself, and the drift of a column was its whole PSI."""
_RISE: Final = "calibration_rise"
_OLDEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
"""The calendars of zones do not reach back to year 1."""


def performance_asset(product: Product) -> Asset:
    """The performance report of a product with a model."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.performance_report,
        kind=Kind.FOLDER,
        compute=partial(_report, product=product),
        inputs=(paths.outcomes,),
        previous=(
            paths.performance_report,
            paths.predictions,
            paths.release,
            paths.model,
            paths.evaluation,
            paths.training_set,
        ),
        identity=(REPORT_FILE,),
        checks=(
            Check(
                name="labels_come_in",
                judge=_labels_come_in,
                blocking=False,
                severity=Severity.WARN,
                description="Every window that is long over has the labels it needs to be judged.",
            ),
            *checks_in_service(),
        ),
        description="Metrics with intervals of each window and slice whose labels are known, and the drift of what the model read.",
        kinds=("matplotlib",),
        declaration={**declaration_of(product), **declared_values(keep=product.serving.keep)},
    )


def declaration_of(product: Product) -> dict[str, Any]:
    """What of the product's declaration makes the report."""
    return declared_values(rules=rules_of(product), drift=product.drift, features=watched(product))


def rules_of(product: Product) -> "PerformanceRules":
    """How the model in service is judged: as declared, or by the week."""
    from headwater.monitoring import PerformanceRules, Windowing

    if product.performance is not None:
        return product.performance
    return PerformanceRules(windowing=Windowing(zone=product.split.timezone), slices=slices_of(product))


def _report(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths, rules = ChainPaths(product=product.name), rules_of(product)
    outcomes = inputs.table(paths.outcomes).collect()
    now = _now(outcomes, inputs.started)
    within = reach(now, rules.windowing, _OLDEST)
    reached = outcomes.filter(pl.col("at").is_between(within.start, within.end, closed="left"))
    keep = product.serving.keep
    play, begun = newest_begun(product, outcomes)
    standing = _before(inputs, paths, product, play=play, begun=begun).standing(
        reached, since=within.start, kept_since=None if keep is None else inputs.started - keep
    )
    found = _found(inputs, product, reached.filter(outside(standing.kept)), standing, now)
    windows = sorted([*standing.kept, *found], key=start_of)
    assert product.labels is not None
    changes = label_changes(outcomes, key=product.labels.key, now=now)
    newest_over = in_service(windows, now=now, version=live_version(inputs, paths))
    document = {
        "format": FORMAT, "now": now.isoformat(), "declaration": declaration_of(product), "windows": windows,
        "label_changes": changes, IN_SERVICE: newest_over, **({_PLAY: play} if play else {}),
    }  # fmt: skip
    (folder / REPORT_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    write_page(folder, product.question, windows, changes)
    judged = [window for window in windows if is_judged(window)]
    newest = judged[-1]["start"] if judged else None
    told = {
        "windows": len(windows), "judged": len(judged), "too_old": outcomes.filter(pl.col("at") < within.start).height,
        "too_far": outcomes.filter(pl.col("at") >= within.end).height, NEWEST_FACT: newest, IN_SERVICE: newest_over,
    }  # fmt: skip
    return Result(facts={"now": now.isoformat(), **told, **_late(windows, now)})


def _now(outcomes: pl.DataFrame, started: datetime) -> datetime:
    """As of when: the newest instant that the outcomes know of, and no later than the build."""
    return newest_of(newest_asked(outcomes), outcomes["label_known_at"].max(), until=started)


def _before(inputs: Inputs, paths: ChainPaths, product: Product, *, play: int, begun: datetime | None) -> History:
    """The report before, unless it was made by other rules. What it did not know yet is no other rule: what is settled stays as it is.

    Windows of an earlier play are gone from where a later one began: they speak of answers that count no more.
    """
    from headwater.monitoring import LOCAL_DAY

    before = inputs.previous(paths.performance_report)
    if before is None:
        return History()
    document = json.loads((before.folder(paths.performance_report) / REPORT_FILE).read_text())
    declared = declaration_of(product)
    if document.get("format") == _BY_ROWS and declared["rules"]["clusters"] == LOCAL_DAY:
        declared = {**declared, "rules": {**declared["rules"], "clusters": None}}
    declared = {**declared, "rules": _as_known(declared["rules"], document.get("declaration", {}).get("rules", {}))}
    if document.get("format") not in (FORMAT, _BY_ROWS) or document["declaration"] != declared:
        return History()
    windows = document["windows"]
    if begun is not None and 0 < document.get(_PLAY, 0) < play:
        windows = [window for window in windows if end_of(window) <= begun]
    return History(now=datetime.fromisoformat(document["now"]), windows=windows)


def _as_known(rules: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """The rules without the limit of calibration, where it is the usual one and a report does not name it: it was in force before it could be declared."""
    from headwater.monitoring import PerformanceRules

    is_usual = rules[_RISE] == PerformanceRules().calibration_rise
    return {name: value for name, value in rules.items() if name != _RISE or name in then or not is_usual}


def _found(
    inputs: Inputs, product: Product, rows: pl.DataFrame, standing: Standing, now: datetime
) -> list[dict[str, Any]]:
    """The windows that are looked at, or looked at again."""
    from headwater.monitoring import Span, performance_windows

    rules = rules_of(product)
    spans = standing.spans(rows, rules.windowing)
    if not spans:
        return []
    fresh = [span for span in spans if span.start not in standing.drift]
    is_fresh = outside([*standing.kept, *standing.compared])
    moved = _moved(inputs, product, Span(start=fresh[0].start, end=fresh[-1].end) if fresh else None, is_fresh)
    whole = Span(start=spans[0].start, end=spans[-1].end)
    starts = {span.start for span in spans}
    found = [one for one in performance_windows(rows, rules=rules, now=now, span=whole) if one.start in starts]
    calibration = _calibration(rows, found, moved.reference, rules)
    return [
        {
            **one.to_json(), **standing.drift.get(one.start, moved.of(one.start)), "calibration": calibration.get(one.start),
            **_answers(rows, one),
        }
        for one in found
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """How far what came in and what was answered moved, by window.

    Attributes:
        reference: What it was compared with; None before the first release.
        features, scores: By the window's first instant.
        lacking: `features` and `scores` with the reason why nothing is known that they could be compared with. Empty is not "no drift".
    """

    reference: LiveReference | None
    features: "Mapping[datetime, WindowDrift]"
    scores: "Mapping[datetime, WindowDrift]"
    lacking: Mapping[str, str]

    def of(self, start: datetime) -> dict[str, Any]:
        """What the report says of a window."""
        features, scores = self.features.get(start), self.scores.get(start)
        score = _shown(scores).get("score")
        return {
            "compared_with": self.reference.version if self.reference else None,
            "drift": _shown(features),
            "season": [] if features is None else list(features.season),
            "shifted": [] if features is None else list(features.shifted),
            "unsaid": {} if features is None else dict(features.unsaid),
            "score_drift": score,
            SCORE_SHIFTED: None if scores is None or score is None else "score" in scores.shifted,
            "no_reference": dict(self.lacking),
        }


def _moved(inputs: Inputs, product: Product, span: "Span | None", rows_of: pl.Expr) -> _Moved:
    """How far what the model read and answered in service lies from what it learned from and was judged on.

    Args:
        inputs: Of the report.
        product: The product.
        span: What windows cover; None asks of none.
        rows_of: Which predictions in it count.
    """
    from headwater.drift import DriftLimits
    from headwater.monitoring import drift_windows, prediction_drift

    paths = ChainPaths(product=product.name)
    served, reference = inputs.previous(paths.predictions), live_reference(inputs, product)
    if served is None or reference is None or span is None:
        return _Moved(reference=reference, features={}, scores={}, lacking=_lacking(reference, has_features=False))
    windowing = rules_of(product).windowing
    limits = DriftLimits(psi=product.drift.psi_limit, min_rows=product.drift.min_rows)
    rows = (
        counted(product, served.table(paths.predictions))
        .filter(pl.col("at").is_between(span.start, span.end, closed="left"), rows_of)
        .collect()
    )
    read = rows.select("at").hstack(recorded(reference.preprocessing, rows["features"]))
    said = reference.preprocessing.said(rows["features"]).select(reference.watched(product))
    known = reference.features if reference.features is not None else _learned(inputs, product, reference)
    features = () if known is None else drift_windows(
        reference.by_season(product, known), read, columns=reference.watched(product), categorical=reference.categories(product), windowing=windowing,
        limits=limits, span=span, said=said,
    )  # fmt: skip
    # Scores are of a version, as what they are compared with is.
    own = rows.filter(pl.col("version") == reference.version).with_columns(pl.col("score").clip(0.0, 1.0))
    scores = (
        ()
        if reference.scores is None
        else prediction_drift(reference.scores, own, windowing=windowing, limits=limits, span=span)
    )
    return _Moved(
        reference=reference,
        features={item.start: item for item in features},
        scores={item.start: item for item in scores},
        lacking=_lacking(reference, has_features=known is not None),
    )


def _lacking(reference: LiveReference | None, *, has_features: bool) -> dict[str, str]:
    """What cannot be compared, and why."""
    if reference is None:
        return dict.fromkeys(("features", "scores"), "no version is live, or its bundle is not there")
    found = {}
    if not has_features:
        found["features"] = f"the bundle of {reference.version} has no {FEATURES_FILE}, and there is no training set"
    if reference.scores is None:
        found["scores"] = f"the evaluation of {reference.version} is not there, or has no {SCORES_FILE}"
    return found


def _learned(inputs: Inputs, product: Product, reference: LiveReference) -> pl.DataFrame | None:
    """The train part of the newest training set, for a bundle that has no profile of its own."""
    path = ChainPaths(product=product.name).training_set
    trained = inputs.previous(path)
    if trained is None:
        return None
    schema = reference.preprocessing.schema
    columns = [pl.col(name).cast(schema[name]) for name in reference.watched(product)]
    return trained.table(path).filter(pl.col(SPLIT) == TRAIN).select(columns).collect()


def _calibration(
    outcomes: pl.DataFrame,
    windows: "Sequence[WindowPerformance]",
    reference: LiveReference | None,
    rules: "PerformanceRules",
) -> Mapping[datetime, Mapping[str, Any]]:
    """Whether the scores of each judged window still are probabilities."""
    from headwater.monitoring import CalibrationLimits, calibration_drift

    limits = CalibrationLimits(rise=rules.calibration_rise, min_rows=rules.min_rows, bootstrap=rules.bootstrap)
    found = {}
    for window in windows:
        if not window.overall.judged:
            continue
        inside = pl.col("at").is_between(window.start, window.end, closed="left")
        rows = outcomes.filter(inside, pl.col("judged"), pl.col("truth") == "known").sort(
            "at", "request_id", "received"
        )
        drawn = rules.groups(rows)
        groups = None if drawn is None else drawn.rank("dense").fill_null(0).to_numpy()
        versions = rows["version"].unique().sort().to_list()
        is_own = reference is not None and versions == [reference.version]
        drift = calibration_drift(
            rows["label"].to_numpy(), rows["score"].to_numpy(), clusters=groups, limits=limits,
            reference=reference.calibration if reference and is_own else None,
        )  # fmt: skip
        if reference is not None and not is_own:
            said = f"Not compared: {', '.join(versions)} answered, and the reference is of {reference.version}."
            drift = replace(drift, lost=False, reason=said)
        found[window.start] = {**drift.to_json(), COMPARED: reference.version if reference and is_own else None}
    return found


def _answers(outcomes: pl.DataFrame, window: "WindowPerformance") -> dict[str, Any]:
    """How much of a window's `rows` without those that will never have a label each version answered, and since when requests came in."""
    rows = outcomes.filter(pl.col("at").is_between(window.start, window.end, closed="left"))
    awaited = rows.filter(pl.col("judged"), pl.col("truth") != "none")
    first: Any = rows["received"].min()
    return {
        ANSWERED: dict(awaited.group_by("version").len().sort("version").iter_rows()),
        RECEIVED: None if first is None else first.isoformat(),
    }


def _shown(drift: "WindowDrift | None") -> dict[str, float]:
    return {} if drift is None else {name: round(value, 6) for name, value in drift.effects.items()}


def _late(windows: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """Windows that are long over and not judged for want of labels."""
    old = [window for window in windows if end_of(window) + SETTLED / 2 <= now]
    return {"without_labels": [window["start"] for window in old if "labels are known" in window["overall"]["reason"]]}


def _labels_come_in(audit: Audit) -> Verdict:
    late = list(audit.facts.get("without_labels", []))
    said = f"Windows without enough labels: {', '.join(late[:5])}." if late else ""
    return Verdict(passed=not late, facts={"without_labels": late}, description=said)
