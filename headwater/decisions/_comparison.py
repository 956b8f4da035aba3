"""How the losses of two versions compare in a stage of a rollout: by the requests that were seen, and by windows where these were the same."""

from dataclasses import dataclass, field
from typing import Final

from headwater.decisions._advance_evidence import RolloutEvidence, Standing, Versus
from headwater.decisions._rollout import RolloutRules
from headwater.decisions._sequential import FLOOR, Effect
from headwater.decisions._windows import LEAST_WINDOWS, WindowEffect

_ALARMS: Final = 4
"""What may alarm in a stage, and shares the chance of a false alarm: in the shadow failures of both versions, slow answers and the loss; in
the watch failures, slow answers, the loss and the accuracy."""
_SHADOW_PART: Final = 1 / 3
"""Part of the chance that windows ever agree on a false alarm which the shadow has. The watch has the rest: it is short, and there a version
that is worse does harm while it is doubted."""
_MOST: Final = 10_000_000
"""Labels beyond which nobody waits."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the losses of the two versions compare, at the levels of going on and of going back.

    Attributes:
        versus: What is compared.
        loss: At the level of going on.
        alarm: At the level of going back.
        margin: By how much the candidate may be worse.
        gross: A difference that no weather explains, so that no window has to agree.
        loss_by_window: As windows know it, at the level of going on; None where nothing is compared on the same requests.
        alarm_by_window: The same at the level of going back.
    """

    versus: Versus
    loss: Effect
    alarm: Effect
    margin: float
    gross: float
    loss_by_window: WindowEffect | None
    alarm_by_window: WindowEffect | None
    level: float = field(repr=False)

    @classmethod
    def of(cls, rules: RolloutRules, evidence: RolloutEvidence, standing: Standing) -> "Comparison":
        """The comparison of a stage: on the same requests where both scored them."""
        versus = evidence.versus
        return cls(
            versus=versus,
            loss=versus.effect(alpha=rules.alpha),
            alarm=versus.effect(alpha=alarm_level(rules, standing)),
            margin=rules.margin if versus.is_paired else rules.canary_margin,
            gross=rules.canary_margin,
            loss_by_window=versus.by_window(alpha=rules.alpha),
            alarm_by_window=versus.by_window(alpha=window_level(rules, standing)),
            level=rules.alpha,
        )

    @property
    def is_worse(self) -> bool:
        """Whether the candidate's loss is certainly higher."""
        return is_above(0.0, self.alarm, self.alarm_by_window, gross=self.gross)

    def not_worse(self, rules: RolloutRules, evidence: RolloutEvidence) -> str:
        """Why it may go on."""
        how = "on the same requests" if self.versus.is_paired else "on requests of its own"
        return (
            f"{evidence.candidate.requests} requests and {self.versus.labels} {self.versus.counted}: {how} its loss differs by {shown(self.loss)}"
            f"{over_windows(self.loss_by_window)}, certainly by less than {self.margin:g}"
        )

    def labels_needed(self) -> int | None:
        """Labels with which the interval of the requests would let it go on; None where that is unknown, or is so already.

        By doubling: the interval's width falls with every label more.
        """
        low, room = self.versus.labels, self.margin - self.loss.estimate
        if self.loss.high < self.margin:
            return None
        if room <= 0 or low < FLOOR:
            return None
        count = low
        while self.versus.half_width(count, alpha=self.level) >= room:
            count *= 2
            if count > _MOST:
                return None
        while count - low > 1:
            middle = (low + count) // 2
            low, count = (low, middle) if self.versus.half_width(middle, alpha=self.level) < room else (middle, count)
        return count


def alarm_level(rules: RolloutRules, standing: Standing) -> float:
    """Each alarm's part of the chance of a false one, so that all alarms of all stages together keep it."""
    return rules.alpha / (_ALARMS * standing.stages)


def window_level(rules: RolloutRules, standing: Standing) -> float:
    """The chance that the windows of a stage ever agree on a false alarm."""
    return rules.alpha * (1 - _SHADOW_PART if standing.is_watch else _SHADOW_PART)


def is_above(limit: float, effect: Effect, windows: WindowEffect | None, *, gross: float) -> bool:
    """Whether a difference is certainly above a limit: of the requests that were seen, and of windows too where these were the same ones.

    One day's weather moves the difference of two versions on all of its requests. Beyond `gross` above the limit nobody waits for days.
    """
    if effect.low <= limit:
        return False
    return windows is None or windows.low > limit or effect.low > limit + gross


def over_windows(windows: WindowEffect | None) -> str:
    """What windows say, where there are enough of them."""
    if windows is None or windows.windows < LEAST_WINDOWS:
        return ""
    return f", over {windows.windows} windows by {shown(windows)}"


def shown(effect: Effect | WindowEffect) -> str:
    """A difference and its interval."""
    return f"{effect.estimate:+.4f} [{effect.low:+.4f}, {effect.high:+.4f}]"
