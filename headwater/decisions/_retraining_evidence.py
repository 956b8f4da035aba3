"""What a decision to train again looks at."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Window:
    """What was seen in one window of predictions.

    Attributes:
        start: Its first instant.
        end: The first one after it.
        rows: Predictions, whichever version answered.
        labelled: Predictions of `version` with a known label.
        effects: Effect size of each watched column's drift, against a reference of the same season where there is one: beyond what
            sampling gives, and 0 where chance is not ruled out.
        metric: Value of the metric over the predictions of `version`, None where it is undefined.
        metric_high: Upper end of its interval, None where there is none.
        by_rows: Whether the interval takes rows as independent, and so speaks of the window's own days alone.
        no_reference: Why drift was compared with nothing; empty where it was compared.
        answered: Predictions by the version that answered; empty where nobody says.
        version: Whose predictions were judged; empty where several answered and nobody told them apart, or nobody says.
        compared_with: The version with whose training data drift was compared; empty without one.
    """

    start: datetime
    end: datetime
    rows: int
    labelled: int
    effects: dict[str, float] = field(default_factory=dict)
    metric: float | None = None
    metric_high: float | None = None
    no_reference: str = ""
    answered: dict[str, int] = field(default_factory=dict)
    version: str = ""
    compared_with: str = ""
    by_rows: bool = False


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that the decision looks at.

    Attributes:
        now: The instant of the decision.
        windows: Oldest first; at least those that `looked_at` gives.
        version: The live version, empty without one. Only its windows count: what an older one answered is no reason to train it again.
        reference: Value of the metric when that version was released, None without one.
        learned_until: Until when labels counted in its training, None where nobody knows. What drifted by then was known to it.
        trained: Until when labels count in the newest order of a training, None without one.
        trainings: When trainings began, failed ones too.
        new_rows: Labelled rows since `trained`.
        is_in_flight: Whether a training or a rollout of the product goes on.
        is_stopped: Whether somebody stopped retraining (the kill switch), or holds the release.
    """

    now: datetime
    windows: tuple[Window, ...] = ()
    reference: float | None = None
    trained: datetime | None = None
    trainings: tuple[datetime, ...] = ()
    new_rows: int = 0
    is_in_flight: bool = False
    is_stopped: bool = False
    version: str = ""
    learned_until: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values, to be kept with the decision."""
        raw = asdict(self)
        raw["now"], raw["trained"] = self.now.isoformat(), self.trained.isoformat() if self.trained else None
        raw["learned_until"] = self.learned_until.isoformat() if self.learned_until else None
        raw["trainings"] = [moment.isoformat() for moment in self.trainings]
        for window in raw["windows"]:
            window["start"], window["end"] = window["start"].isoformat(), window["end"].isoformat()
        raw["windows"] = list(raw["windows"])
        return raw
