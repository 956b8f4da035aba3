"""From answers, failures and outcomes of an experiment to what each version did."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from headwater.decisions import Arm, Duel, ExperimentStanding, Traffic, Versus
from headwater.models import MetricName
from headwater.models.evaluation_metrics import RESAMPLED
from headwater.monitoring._costs import DecisionCosts
from headwater.monitoring._frames import (
    AT,
    DECISION,
    JUDGED,
    LABEL,
    LATENCY,
    OUTCOMES,
    PREDICTIONS,
    RECEIVED,
    REQUEST_ID,
    SCORE,
    TRUTH,
    UNIT,
    VARIANT,
    check_columns,
)
from headwater.monitoring._metrics import logged_sample
from headwater.monitoring._requests import count_requests, with_batches
from headwater.monitoring._rollout import (
    SHADOWS,
    Failed,
    answered_by,
    by_unit,
    compared,
    decided_by,
    failed_by,
    losses_of,
    running,
)
from headwater.monitoring._settled import SettledWindow, settled_rows, whole_days
from headwater.monitoring._windows import Windowing


@dataclass(frozen=True, kw_only=True)
class ExperimentCounts:
    """What became of an experiment's requests.

    Attributes:
        arms: What each version did, the control first.
        duels: Each other version against the control.
        windows: Which labels count.
    """

    arms: tuple[Arm, ...]
    duels: tuple[Duel, ...]
    windows: tuple[SettledWindow, ...]

    @property
    def unsettled(self) -> int:
        """Events whose label is awaited, or whose window is not settled."""
        return sum(one.events - one.labelled * one.is_settled for one in self.windows)


def experiment_counts(
    answers: pl.DataFrame,
    failures: pl.DataFrame,
    outcomes: pl.DataFrame,
    *,
    standing: ExperimentStanding,
    thresholds: Mapping[str, float],
    slow: timedelta,
    costs: DecisionCosts | None,
    windowing: Windowing,
    min_coverage: float,
    now: datetime,
    first: datetime | None = None,
    per: tuple[str, ...] = (),
) -> ExperimentCounts:
    """Counts of one experiment: of requests as in `stage_counts`; losses once for each unit and version, by its first settled window.

    Args:
        answers: Predictions that were drawn under its policy: `request_id`, `at`, `received`, `latency_us`, `variant`, `score`,
            `decision`, `shadows`, the JSON of other versions' scores, and `drawn_unit`, what each was drawn for.
        failures: Requests under it that got no answer: `version`, `code`, `count`.
        outcomes: The frame of `join_outcomes`; a prediction that is not there yet awaits its label.
        standing: The experiment.
        thresholds: Version to the score from which on it decides for the positive class.
        slow: Latency above which the answer to a single instance is slow.
        costs: The business metric; None takes 1 for a wrong decision.
        windowing: Windows of labels.
        min_coverage: Share of a window's events whose label must be known.
        now: As of when.
        first: The instant, by prediction time, at which it began: the window that holds it is a piece of one. None takes all as whole.
        per: Fields that name a unit, for the words of the decision; empty where each labelled event is one.

    Raises:
        MissingColumnsError, ColumnTypeError: A frame lacks a column.
    """
    check_columns(answers, PREDICTIONS, [REQUEST_ID, AT, RECEIVED, LATENCY, VARIANT, SCORE, DECISION, SHADOWS, UNIT])
    check_columns(outcomes, OUTCOMES, [REQUEST_ID, AT, LABEL, TRUTH, JUDGED])
    drawn = with_batches(answers).filter(pl.col(VARIANT).is_in(standing.answering))
    rows = drawn.with_columns(
        *(decided_by(name, thresholds).alias(_decided(name)) for name in standing.arms),
        *(_score(name).alias(_scored(name)) for name in standing.arms),
    )
    known, windows = settled_rows(rows, outcomes, windowing, min_coverage, now, by_version=True)
    failed = failed_by(failures)
    arms = []
    for name in standing.arms:
        own = _own(known, name, standing)
        loss = running(by_unit(own, losses_of(own, _decided(name), costs)))
        wrong = running(losses_of(own, _decided(name), None))
        asked = _own(rows, name, standing)
        if name in standing.scoring:
            unscored = count_requests(rows.filter(pl.col(_decided(name)).is_null()))
            lost = unscored if name in thresholds else 0
            traffic = Traffic(answered=count_requests(rows) - unscored, failed=lost)
        else:
            traffic = answered_by(asked, failed=failed.get(name, Failed()), slow=slow)
        arms.append(
            Arm(
                traffic=replace(traffic, version=name, wrong=wrong, loss=loss),
                decisions=asked.height,
                positives=int(asked[_decided(name)].sum()),
                auc=_auc(own, name),
            )
        )
    days = whole_days(rows, outcomes, windowing, min_coverage, now, first=first, settled=(known, windows))
    duels = tuple(
        Duel(
            version=name,
            loss=_versus(known, days, name, standing, costs, per),
            wrong=_versus(known, days, name, standing, None, per),
        )
        for name in standing.arms[1:]
    )
    return ExperimentCounts(arms=tuple(arms), duels=duels, windows=windows)


def _decided(version: str) -> str:
    return f"__decided {version}"


def _scored(version: str) -> str:
    return f"__scored {version}"


def _score(version: str) -> pl.Expr:
    beside = pl.col(SHADOWS).str.json_path_match(f"$['{version}']").cast(pl.Float64, strict=False)
    return pl.when(pl.col(VARIANT) == version).then(pl.col(SCORE)).otherwise(beside)


def _own(rows: pl.DataFrame, version: str, standing: ExperimentStanding) -> pl.DataFrame:
    """What a version answered, or of one that only scores, what it scored."""
    if version in standing.scoring:
        return rows.drop_nulls(_decided(version))
    return rows.filter(pl.col(VARIANT) == version)


def _versus(
    known: pl.DataFrame,
    days: pl.DataFrame,
    version: str,
    standing: ExperimentStanding,
    costs: DecisionCosts | None,
    per: tuple[str, ...],
) -> Versus:
    """On the same requests where one of the two only scores; else each on its own."""
    decided = (_decided(version), _decided(standing.control))
    is_paired = bool({version, standing.control} & set(standing.scoring))
    both, shared = (rows.drop_nulls(decided) if is_paired else None for rows in (known, days))
    ours, theirs = (_own(known, name, standing) for name in (version, standing.control))
    return compared(both, ours, theirs, decided=decided, costs=costs, per=per, days=shared)


def _auc(known: pl.DataFrame, version: str) -> float | None:
    rows = known.drop_nulls([_scored(version), _decided(version)])
    if rows[LABEL].n_unique() < 2:
        return None
    sample = logged_sample(
        rows[LABEL].to_numpy().astype(np.float64), rows[_scored(version)].to_numpy(), rows[_decided(version)].to_numpy()
    )
    return round(float(sample.measure()[RESAMPLED.index(MetricName.AUC)]), 9)
