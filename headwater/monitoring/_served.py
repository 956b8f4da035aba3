"""What versions looked up and did not find: how often a view's features read as their defaults, beside the training."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import polars as pl

from headwater.monitoring._frames import PREDICTIONS, check_columns, check_no_nulls
from headwater.monitoring._intervals import wilson
from headwater.monitoring._json import Recorded
from headwater.monitoring.errors import BadValuesError

VERSION: Final = "version"
REASONS: Final = "reasons"
WHOLE: Final = ("unknown", "stale")
"""Reasons for which all features of a view read as their defaults, as `PredictionRecord.reasons` has them."""
MORE_THAN_TRAINED: Final = 0.05
"""By how much more than in training is a problem: that of the alert `HeadwaterStaleFeatures`."""


@dataclass(frozen=True, kw_only=True)
class ServedView(Recorded):
    """What some answers of one version read of one feature view.

    Attributes:
        version: The version that answered.
        view: The view.
        answers: How many.
        reasons: Of them those in which features read as their defaults, by why.
        trained: Share of the training's rows that read nothing but defaults of the view, 0 to 1; None where the bundle does not say.
        problem: Why that is too much, in one sentence; empty where it is not, or nobody can say.
    """

    derived: ClassVar[tuple[str, ...]] = ("share",)

    version: str
    view: str
    answers: int
    reasons: Mapping[str, int]
    trained: float | None
    problem: str = ""

    @property
    def share(self) -> float:
        """Share of the answers that read nothing but defaults of the view, 0 to 1."""
        return sum(self.reasons.get(reason, 0) for reason in WHOLE) / self.answers


def served_views(
    predictions: pl.DataFrame, *, trained: Mapping[str, Mapping[str, float]], min_answers: int = 1
) -> tuple[ServedView, ...]:
    """How often each view's features read as their defaults, by version and view.

    A problem is a share whose whole interval (Wilson's, 95%) lies more than `MORE_THAN_TRAINED` above that of the training: a model that
    learned from planes that had not flown yet is used to them.

    Args:
        predictions: Answers: `version`, and `reasons` as JSON texts.
        trained: By version and view the share of the training's rows that read nothing but defaults; versions and views may be absent.
        min_answers: Answers of a version below which nothing is a problem.

    Raises:
        MissingColumnsError, BadValuesError: A column is absent, null, or reasons are none.
    """
    check_columns(predictions, PREDICTIONS, [VERSION, REASONS])
    check_no_nulls(predictions, PREDICTIONS, [VERSION, REASONS])
    answers: Counter[str] = Counter()
    counted: dict[str, dict[str, Counter[str]]] = {}
    for version, text, count in predictions.group_by(VERSION, REASONS).len().iter_rows():
        answers[version] += count
        for view, reason in _parsed(text, count).items():
            counted.setdefault(version, {}).setdefault(view, Counter())[reason] += count
    found = []
    for version in sorted(answers):
        shares, seen = trained.get(version, {}), counted.get(version, {})
        for view in sorted({*shares, *seen}):
            one = ServedView(
                version=version, view=view, answers=answers[version], reasons=dict(sorted(seen.get(view, {}).items())),
                trained=shares.get(view),
            )  # fmt: skip
            found.append(_judged(one) if answers[version] >= min_answers else one)
    return tuple(found)


def _judged(one: ServedView) -> ServedView:
    estimate = wilson(one.share * one.answers, one.answers)
    if one.trained is None or estimate is None or estimate.low <= one.trained + MORE_THAN_TRAINED:
        return one
    said = f"{one.share:.1%} of {one.answers:,} answers read nothing but defaults, {one.trained:.1%} of the training's rows did"
    return ServedView(**{**vars(one), "problem": said})


def _parsed(text: str, count: int) -> Mapping[str, str]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadValuesError(frame=PREDICTIONS, column=REASONS, rows=count, problem="is no JSON") from error
    if not isinstance(found, dict):
        raise BadValuesError(frame=PREDICTIONS, column=REASONS, rows=count, problem="is no JSON object")
    return found
