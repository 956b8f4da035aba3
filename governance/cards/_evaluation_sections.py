"""The evaluation part of a model card: data, metrics, slices, comparisons, gates, drift, importances."""

from collections.abc import Iterator, Sequence

from governance.cards._document import (
    Badge,
    Block,
    Cell,
    Figures,
    Identifier,
    Missing,
    Section,
    Text,
    Tone,
    pairs,
    section,
    table_or_missing,
)  # fmt: skip
from governance.cards._numbers import interval
from governance.cards._plots import importance_figure, score_figures, slice_figures
from governance.cards._shared import checks, verdict
from governance.cards.facts import DriftFacts, ModelFacts
from headwater.models import Comparison, Evaluation, Metric

_DRIFT_TONES = {"stable": Tone.GOOD, "shifted": Tone.WARN}
_EVALUATION = "evaluation"


def metric_text(metric: Metric | None) -> tuple[Cell, str]:
    """A metric as value and interval; an undefined one as its reason."""
    if metric is None:
        return None, ""
    if metric.value is None:
        return metric.undefined_reason, ""
    return metric.value, interval(metric.low, metric.high) or ""


def evaluation_sections(facts: ModelFacts) -> Iterator[Section]:
    """All of them; each says what is missing when there was no evaluation."""
    found = facts.evaluation
    yield section(2, "Evaluation")
    yield section(3, "Testing Data, Factors & Metrics")
    yield section(4, "Testing Data", *_testing_data(facts))
    factors = sorted({item.column for item in found.slices}) if found else []
    yield section(4, "Factors", table_or_missing(("Sliced by",), [(Identifier(text=f),) for f in factors], "slices"))
    yield section(4, "Metrics", _how(found))
    yield section(3, "Results", *_results(found))
    yield section(4, "Slices", *_slices(found))
    yield section(4, "Calibration", _calibration(found))
    yield section(4, "Lift", _lift(found))
    yield section(4, "Baseline", *_comparison(found.baseline if found else None, "comparison with a baseline"))
    yield section(4, "Champion", *_champion(found))
    yield section(4, "Summary", _gates(facts), checks(facts.checks, "checks of the bundle"))
    yield section(3, "Drift", _drift(facts.drift))
    yield section(2, "Model Examination", *_importances(found))


def _testing_data(facts: ModelFacts) -> Iterator[Block]:
    test = next((part for part in facts.parts if part.name == "test"), None)
    if test is None:
        yield Missing(what="the test window and its rows")
    else:
        yield pairs({"From": test.start, "Until": test.end, "Rows": test.rows, "Positives": test.positives})
    if facts.evaluation is not None:
        yield pairs({"Rows judged": facts.evaluation.rows, "Positives among them": facts.evaluation.positives})


def _how(found: Evaluation | None) -> Block:
    if found is None:
        return Missing(what="how intervals were made")
    return pairs(
        {
            "Interval": "bootstrap, whole clusters drawn" if found.clustered else "bootstrap, rows drawn",
            "Level": found.level,
            "Resamples": found.resamples,
            "Seed": Identifier(text=str(found.seed)),
            "Rows below which a slice is not judged": found.slice_floor,
            "Decision threshold": found.threshold,
        }
    )


def _metric_rows(metrics: Sequence[Metric]) -> list[tuple[Cell, ...]]:
    return [(metric.name, *metric_text(metric), metric.n) for metric in metrics]


def _results(found: Evaluation | None) -> Iterator[Block]:
    if found is None:
        yield Missing(what=_EVALUATION)
        return
    if figures := score_figures(found):
        yield Figures(items=figures)
    yield table_or_missing(("Metric", "Value", "Interval", "Rows"), _metric_rows(found.metrics), "metrics")


def _slices(found: Evaluation | None) -> Iterator[Block]:
    if found is None or not found.slices:
        yield Missing(what="metrics by slice")
        return
    if figures := slice_figures(found):
        yield Figures(items=figures)
    rows: list[tuple[Cell, ...]] = []
    for item in found.slices:
        value = "(null)" if item.value is None else item.value
        judged = next((metric for metric in item.metrics if metric.name == "auc"), None)
        shown = metric_text(judged) if item.judged else (Badge(text="too few rows"), "")
        metrics = {metric.name: metric for metric in item.metrics} if item.judged else {}
        others = [metric_text(metrics.get(name))[0] if item.judged else "" for name in ("brier", "base_rate")]
        rows.append((Identifier(text=item.column), value, item.n, *shown, *others))
    header = ("Slice", "Value", "Rows", "AUC", "Interval", "Brier", "Base rate")
    yield table_or_missing(header, rows, "metrics by slice")


def _calibration(found: Evaluation | None) -> Block:
    rows = [(b.low, b.high, b.n, b.mean_score, b.observed) for b in found.calibration] if found else []
    header = ("Score from", "To", "Rows", "Mean score", "Observed rate")
    return table_or_missing(header, rows, "calibration")


def _lift(found: Evaluation | None) -> Block:
    rows = [(row.share, row.n, _count(row.positives), row.lift, row.gain) for row in found.lift] if found else []
    header = ("Best-scored share", "Rows", "Positives", "Lift", "Share of all positives")
    return table_or_missing(header, rows, "lift")


def _count(value: float) -> int | float:
    """A whole number as an integer; equal scores that tie at a cut leave a fraction."""
    return int(value) if value.is_integer() else value


def _champion(found: Evaluation | None) -> Iterator[Block]:
    if found is not None and found.champion is None and found.champion_gap:
        yield Text(text=f"Not compared: {found.champion_gap}")
        return
    yield from _comparison(found.champion if found else None, "comparison with a champion")


def _comparison(found: Comparison | None, what: str) -> Iterator[Block]:
    if found is None:
        yield Missing(what=what)
        return
    yield pairs({"Compared with": found.version})
    theirs = {metric.name: metric for metric in found.metrics}
    rows: list[tuple[Cell, ...]] = []
    for item in found.differences:
        value, bounds = metric_text(item.metric)
        rows.append((item.metric.name, metric_text(theirs.get(item.metric.name))[0], value, bounds, item.better_share))
    header = ("Metric", "Theirs", "This model minus theirs", "Interval", "Better in resamples")
    yield table_or_missing(header, rows, what)


def _gates(facts: ModelFacts) -> Block:
    rows = [(gate.name, verdict(gate.passed), gate.value, gate.limit, gate.reason) for gate in facts.gates]
    return table_or_missing(("Gate", "Verdict", "Value", "Limit", "Reason"), rows, "gates")


def _drift(found: tuple[DriftFacts, ...] | None) -> Block:
    if found is None:
        return Missing(what="drift of the newest rows against training")
    rows = [
        (
            Identifier(text=item.column),
            Badge(text=item.verdict.replace("_", " "), tone=_DRIFT_TONES.get(item.verdict, Tone.PLAIN)),
            item.psi,
            item.ks,
            item.reason,
        )
        for item in found
    ]
    return table_or_missing(("Column", "Verdict", "PSI", "KS", "Reason"), rows, "watched columns")


def _importances(found: Evaluation | None) -> Iterator[Block]:
    if found is None or not found.importances:
        yield Missing(what="importances")
        return
    if figure := importance_figure(found):
        yield Figures(items=(figure,))
    rows = [
        (Identifier(text=i.feature), i.method, i.value, i.spread if i.spread is not None else "")
        for i in found.importances
    ]
    yield table_or_missing(("Feature", "Method", "Value", "Spread"), rows, "importances")
