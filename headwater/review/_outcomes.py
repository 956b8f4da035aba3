"""Answers in the outcomes: a person's word stands where the truth does not, under its author's name, until the truth comes in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from headwater.monitoring import Truth
from headwater.review._answers import Answer, Named

LABEL_SOURCE: Final = "label_source"
REVIEW_LABEL: Final = "review_label"
REVIEW_BY: Final = "review_by"
COLUMNS: Final = (LABEL_SOURCE, REVIEW_LABEL, REVIEW_BY)
TRUTH_SOURCE: Final = "truth"
REVIEW_SOURCE: Final = "review"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How often people said what turned out to be true.

    Attributes:
        actor: Whose answers; empty for all.
        answers: Answers that count.
        unsure: Of those, without a label.
        known: Answers with a label whose truth came in.
        agreed: Of those, the ones that the truth bore out.
        model: Of those, the ones in which the model's decision was right.
    """

    actor: str
    answers: int
    unsure: int
    known: int
    agreed: int
    model: int

    def to_json(self) -> dict[str, Any]:
        """The counts, and shares of `known` (None without any)."""
        found = {name: getattr(self, name) for name in ("actor", "answers", "unsure", "known", "agreed", "model")}
        shares = {name: round(found[name] / self.known, 4) if self.known else None for name in ("agreed", "model")}
        return {**found, "agreed_share": shares["agreed"], "model_share": shares["model"]}


def with_answers(
    outcomes: pl.DataFrame, answered: Mapping[Named, Answer], *, key: Sequence[str], now: Any
) -> pl.DataFrame:
    """Outcomes with what people said of their events.

    A label that is known is the truth and stays. Where none is known yet, the answer is the label and the truth reads `reviewed`;
    it counts as known as long after the prediction time as it was given after the request came in, so that a past that is played
    again keeps its own clock, and at `now` at the latest: it is there.

    Args:
        outcomes: Rows of `join_outcomes`, with `received`.
        answered: The answers that count, by request.
        key: Columns that name an event; an answer about one prediction is one about its event.
        now: As of when the outcomes are.

    Returns:
        The rows with `label_source` (`truth`, `review` or null), `review_label` and `review_by`; the last two also beside a truth,
        so that who was wrong shows.
    """
    said = _by_event(outcomes, answered, list(key))
    rows = outcomes.join(said, on=list(key), how="left", maintain_order="left")
    stands_in = (pl.col("truth") == Truth.PENDING.value) & pl.col(REVIEW_LABEL).is_not_null()
    known_at = pl.min_horizontal(pl.col("__known_at"), pl.lit(now).dt.cast_time_unit("us"))
    return rows.with_columns(
        pl.when(stands_in).then(REVIEW_LABEL).otherwise("label").alias("label"),
        pl.when(stands_in).then(known_at).otherwise("label_known_at").alias("label_known_at"),
        pl.when(stands_in).then(pl.lit(Truth.REVIEWED.value)).otherwise("truth").alias("truth"),
        pl.when(stands_in)
        .then(pl.lit(REVIEW_SOURCE))
        .when(pl.col("truth") == Truth.KNOWN.value)
        .then(pl.lit(TRUTH_SOURCE))
        .alias(LABEL_SOURCE),
    ).drop("__known_at")


def agreements(outcomes: pl.DataFrame, answered: Mapping[Named, Answer]) -> tuple[Agreement, ...]:
    """How people's answers stand beside the truth: of all together first, then of each by name.

    Args:
        outcomes: `request_id`, `received`, `label` and `truth` of the predictions.
        answered: The answers that count, by request.
    """
    known = outcomes.filter(pl.col("truth") == Truth.KNOWN.value).select("request_id", "received", "label")
    truths = {(id, received): label for id, received, label in known.iter_rows()}
    people = sorted({answer.actor for answer in answered.values()})
    groups = [("", list(answered.values()))]
    groups += [(actor, [answer for answer in answered.values() if answer.actor == actor]) for actor in people]
    return tuple(_agreement(actor, found, truths) for actor, found in groups)


def _agreement(actor: str, found: Sequence[Answer], truths: Mapping[Named, int]) -> Agreement:
    known = [one for one in found if one.label is not None and one.named in truths]
    return Agreement(
        actor=actor,
        answers=len(found),
        unsure=sum(one.label is None for one in found),
        known=len(known),
        agreed=sum(one.label == truths[one.named] for one in known),
        model=sum(one.decision == bool(truths[one.named]) for one in known),
    )


def _by_event(outcomes: pl.DataFrame, answered: Mapping[Named, Answer], key: list[str]) -> pl.DataFrame:
    """The newest answer with a label to each event."""
    labelled = [answer for answer in answered.values() if answer.label is not None]
    rows = pl.DataFrame(
        {
            "request_id": [answer.request_id for answer in labelled],
            "received": [answer.received for answer in labelled],
            REVIEW_LABEL: [answer.label for answer in labelled],
            REVIEW_BY: [answer.actor for answer in labelled],
            "__time": [answer.time for answer in labelled],
            "__known_at": [answer.at + (answer.time - answer.received) for answer in labelled],
        },
        schema={
            "request_id": pl.String(), "received": pl.Datetime("us", "UTC"), REVIEW_LABEL: pl.Int8(), REVIEW_BY: pl.String(),
            "__time": pl.Datetime("us", "UTC"), "__known_at": pl.Datetime("us", "UTC"),
        },
    )  # fmt: skip
    events = outcomes.select("request_id", "received", *key).drop_nulls(key)
    found = rows.join(events, on=["request_id", "received"]).sort("__time")
    return found.unique(key, keep="last", maintain_order=True).select(*key, REVIEW_LABEL, REVIEW_BY, "__known_at")
