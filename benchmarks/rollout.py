"""Whole rollouts whose truth is known: which come through, which are sent back, how often wrongly, and after how many days.

    python -m benchmarks.rollout                  # 10,000 rollouts of each kind
    python -m benchmarks.rollout --rollouts 200

900 requests a day, looked at three times a day; labels come a day later. A shadow, shares of 25% and 50%, a watch of seven days, each
stage decided by `decide_rollout` on the counts so far, at alpha 5%. Of 100 decisions of the live version 20 are wrong. In the shadow and
the watch the versions decide differently about 10% of the requests. A day's weather makes each day's rate of errors its own (standard
deviation 0.06), for both versions alike; and each day's difference between them (standard deviation 0.015, other ones where a row says so): who
hints more often loses on calm days and gains on stormy ones. Days are normal and each for itself but for the rows that say otherwise: to
those `alpha` promises nothing. A rollout begins at any look of a day, and so does each stage; the day in which it
begins is no whole window. The margin is 0.02 on the same requests and 0.10 on requests of each version's own. One request in a hundred may fail
and one in twenty may be slow. Two requests in a hundred are batches of fifty instances, half of which take longer than is promised of one: what such a
batch counts for the program says (`traffic_before`), and a request that failed is one failure, batch or not.
"""

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks._measure import Bar, Report
from headwater.decisions import (
    RolloutAction,
    RolloutEvidence,
    RolloutRules,
    RunningMean,
    Standing,
    Traffic,
    Versus,
    decide_rollout,
)
from headwater.monitoring import traffic_before

DAILY: Final = 900
LOOKS: Final = 3
WRONG: Final = 0.20
STORM: Final = 0.06
BATCHED: Final = 0.02
INSTANCES: Final = 50
LONG: Final = 0.5
PROMISED: Final = timedelta(milliseconds=100)
DIFFERENT: Final = 0.10
DAY: Final = 0.015
STAGES: Final = (0.0, 0.25, 0.5, 1.0)
LONGEST: Final = 21
RULES: Final = RolloutRules(min_requests=200, min_labels=200, margin=0.02, canary_margin=0.10)
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a candidate is like.

    Attributes:
        worse: Mean loss of the candidate less that of the live version.
        fails: Share of its requests that fail; of the live version's it is `live_fails`.
        slow: Share of its answers to single instances that are slow; of the live version's it is `live_slow`.
        live_fails: See `fails`; also before the rollout.
        live_slow: See `slow`; also before the rollout.
        belated: Whether it is `worse` only once it has everything, as in a season that it does not know.
        day: Standard deviation of a day's mean difference.
        persists: Correlation of that difference with the day's before.
        storms: Share of stormy days, on which the candidate gains what it loses on calm ones.
        calm: By how much more it loses on a calm day, where there are stormy ones.
    """

    worse: float = 0.0
    fails: float = 0.003
    slow: float = 0.02
    live_fails: float = 0.003
    live_slow: float = 0.02
    belated: bool = False
    day: float = DAY
    persists: float = 0.0
    storms: float = 0.0
    calm: float = 0.0

    @property
    def is_promised(self) -> bool:
        """Whether its days are what `alpha` speaks of: alike on both sides of their mean, each for itself."""
        return not self.storms and not self.persists

    def weather(self, draw: np.random.Generator, before: float | None) -> float:
        """A day's difference beside the mean one, given the day's before."""
        if self.storms:
            is_stormy = draw.random() < self.storms
            return float(
                draw.normal(-self.calm * (1 - self.storms) / self.storms if is_stormy else self.calm, self.day)
            )
        if before is None or not self.persists:
            return float(draw.normal(0.0, self.day))
        return self.persists * before + float(draw.normal(0.0, self.day * math.sqrt(1 - self.persists**2)))


_GOOD, _BAD = Truth(), Truth(worse=0.02)
KINDS: Final[Mapping[str, Truth]] = {
    "as good": _GOOD,
    **{f"as good, days differ by {day:.3f}": replace(_GOOD, day=day) for day in (0.0, 0.010, 0.020)},
    "as good, one day in three is stormy": Truth(day=0.004, storms=1 / 3, calm=0.013),
    "as good, one day in ten is stormy": Truth(day=0.004, storms=0.1, calm=0.010),
    "as good, half of a day's weather stays for the next": replace(_GOOD, persists=0.5),
    "better by 0.02": Truth(worse=-0.02),
    "worse by half the margin": Truth(worse=0.01),
    "worse by the margin": _BAD,
    **{f"worse by the margin, days differ by {day:.3f}": replace(_BAD, day=day) for day in (0.0, 0.010, 0.020)},
    "worse by twice the margin": Truth(worse=0.04),
    "worse by 0.04 once it has everything": Truth(worse=0.04, belated=True),
    "as good, on a service at its limits": Truth(fails=0.01, slow=0.05, live_fails=0.01, live_slow=0.05),
    "as good, on a service that was slow and failing before": Truth(
        fails=0.03, slow=0.10, live_fails=0.03, live_slow=0.10
    ),
    "fails in 5% of its requests": Truth(fails=0.05),
    "slow in 20% of its answers": Truth(slow=0.20),
}


@dataclass(frozen=True, kw_only=True)
class End:
    """How one rollout ended.

    Attributes:
        came: `through`, `back` or `waits`.
        stage: Which stage it ended in.
        reached: Whether it ever got everything.
        days: Since it began.
    """

    came: str
    stage: int
    reached: bool
    days: float


def rollout(truth: Truth, draw: np.random.Generator) -> End:
    """One rollout, looked at until it ends."""
    begun = look = int(draw.integers(LOOKS))
    before = _before(truth, draw)
    for stage, share in enumerate(STAGES):
        is_watch = share >= 1
        action, looks = _stage(truth, draw, stage, before, look % LOOKS)
        look += looks
        if action is not RolloutAction.ADVANCE:
            came = "back" if action is RolloutAction.ABORT else "waits"
            return End(came=came, stage=stage, reached=is_watch, days=(look - begun) / LOOKS)
    return End(came="through", stage=len(STAGES) - 1, reached=True, days=(look - begun) / LOOKS)


def _stage(
    truth: Truth, draw: np.random.Generator, stage: int, before: Traffic, begun: int
) -> tuple[RolloutAction, int]:
    """What is decided about a stage that begins at a look of its first day, and after how many looks."""
    share = STAGES[stage]
    standing = Standing(
        candidate="2", other="1", share=share, since=_START, since_commit="c", stages=len(STAGES),
        is_watch=share >= 1, is_compared=share >= 1,
    )  # fmt: skip
    is_paired = standing.is_compared or share <= 0
    worse = truth.worse if standing.is_watch or not truth.belated else 0.0
    counts = _Counts(truth)
    waiting: list[tuple[RunningMean, RunningMean, RunningMean]] = []
    rate = by = 0.0
    weather: float | None = None
    for look in range(LONGEST * LOOKS):
        if not look or not (begun + look) % LOOKS:
            rate = float(np.clip(draw.normal(WRONG, STORM), 0.08, 0.5))
            weather = truth.weather(draw, weather)
            by = float(np.clip(worse + weather, -DIFFERENT, DIFFERENT))
        counts.requests(draw, share)
        waiting.append(_losses(draw, share, rate, by, is_paired=is_paired))
        if (known := look - LOOKS) >= 0:
            counts.labels(*waiting[known])
            is_over = not (begun + known + 1) % LOOKS
            if is_paired and is_over and known + 1 >= LOOKS:
                counts.window([one[0] for one in waiting[known + 1 - LOOKS : known + 1]])
        now = (look + 1) / LOOKS
        decided = decide_rollout(RULES, counts.evidence(standing, before, now, is_paired=is_paired)).action
        if decided is not RolloutAction.WAIT:
            return decided, look + 1
    return RolloutAction.WAIT, LONGEST * LOOKS


class _Counts:
    """What was seen of a stage so far."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.sides = [Traffic(version="2"), Traffic(version="1")]
        self.losses = [RunningMean(), RunningMean(), RunningMean()]
        self.windows: list[float] = []

    def requests(self, draw: np.random.Generator, share: float) -> None:
        """A look's worth of requests to each version."""
        truth, asked = self.truth, DAILY // LOOKS
        own = asked if share in (0.0, 1.0) else int(draw.binomial(asked, share))
        ours, theirs = self.sides
        if share <= 0:  # it only scores, which nobody waits for
            ours = replace(ours, answered=ours.answered + _traffic(draw, own, fails=0.0, slow=0.0).answered)
        else:
            ours = _with(ours, _traffic(draw, own, fails=truth.fails, slow=truth.slow))
        rest = asked if share <= 0 else asked - own
        theirs = _with(theirs, _traffic(draw, rest, fails=truth.live_fails, slow=truth.live_slow))
        self.sides = [ours, theirs]

    def labels(self, *more: RunningMean) -> None:
        """Labels that came in: differences, losses of the candidate, losses of the live version."""
        self.losses = [old + new for old, new in zip(self.losses, more, strict=True)]

    def window(self, parts: Sequence[RunningMean]) -> None:
        """A whole day whose labels are known: the differences of its looks."""
        self.windows.append(2 * sum(parts, RunningMean()).mean - 1)

    def evidence(self, standing: Standing, before: Traffic, now: float, *, is_paired: bool) -> RolloutEvidence:
        """As the decision takes it."""
        ours, theirs = self.sides
        differences, candidate, other = self.losses
        return RolloutEvidence(
            standing=standing, now=_START + timedelta(days=now), first=_START, seen=ours.requests + theirs.requests,
            candidate=ours, other=theirs, before=before,
            versus=Versus(
                is_paired=is_paired, differences=differences, candidate=candidate, other=other, windows=tuple(self.windows),
            ),
        )  # fmt: skip


def _losses(
    draw: np.random.Generator, share: float, rate: float, by: float, *, is_paired: bool
) -> tuple[RunningMean, RunningMean, RunningMean]:
    asked = DAILY // LOOKS
    if is_paired:
        more, less, _ = draw.multinomial(asked, [(DIFFERENT + by) / 2, (DIFFERENT - by) / 2, 1 - DIFFERENT])
        same = asked - more - less
        mapped = RunningMean(count=asked, total=more + same / 2, squares=more + same / 4)
        return mapped, RunningMean(), RunningMean()
    own = int(draw.binomial(asked, share))
    return RunningMean(), _bernoulli(draw, own, max(rate + by, 0.0)), _bernoulli(draw, asked - own, rate)


def _bernoulli(draw: np.random.Generator, count: int, rate: float) -> RunningMean:
    hits = float(draw.binomial(count, rate))
    return RunningMean(count=count, total=hits, squares=hits)


def _before(truth: Truth, draw: np.random.Generator) -> Traffic:
    return _traffic(draw, 7 * DAILY, fails=truth.live_fails, slow=truth.live_slow)


def _traffic(draw: np.random.Generator, count: int, *, fails: float, slow: float) -> Traffic:
    """What becomes of so many requests."""
    failed = int(draw.binomial(count, fails))
    batches = int(draw.binomial(count - failed, BATCHED))
    singles, long = count - failed - batches, int(draw.binomial(batches, LONG))
    parts = ((long, _batch(is_slow=True)), (batches - long, _batch(is_slow=False)))
    return Traffic(
        answered=singles + sum(often * one.answered for often, one in parts),
        failed=failed,
        slow=int(draw.binomial(singles, slow)) + sum(often * one.slow for often, one in parts),
        batches=sum(often * one.batches for often, one in parts),
    )


def _with(traffic: Traffic, more: Traffic) -> Traffic:
    """Both together: requests add up."""
    names = ("answered", "failed", "slow", "batches")
    return replace(traffic, **{name: getattr(traffic, name) + getattr(more, name) for name in names})


@cache
def _batch(*, is_slow: bool) -> Traffic:
    """What one batch that was answered counts for, as decisions read it from the lake."""
    latency = PROMISED // timedelta(microseconds=1) * (2 if is_slow else 0)
    rows = pl.DataFrame(
        {"request_id": [f"batch#{place}" for place in range(INSTANCES)], "received": [_START] * INSTANCES,
         "latency_us": [latency] * INSTANCES, "variant": ["1"] * INSTANCES},
    )  # fmt: skip
    return traffic_before(rows, pl.DataFrame(schema={"code": pl.String, "count": pl.Int64}), slow=PROMISED)


def measure(kind: str, rollouts: int, *, seed: int = 1) -> dict[str, Any]:
    """One line of the table."""
    ends = [rollout(KINDS[kind], np.random.default_rng([seed, number])) for number in range(rollouts)]
    return {
        "candidate": kind,
        "got everything": _share(ends, [one for one in ends if one.reached]),
        "stayed": _share(ends, [one for one in ends if one.came == "through"]),
        "sent back": _share(ends, back := [one for one in ends if one.came == "back"]),
        "waits": _share(ends, [one for one in ends if one.came == "waits"]),
        "days until it was sent back, median": statistics.median(one.days for one in back) if back else "",
        "days in all, median": statistics.median(one.days for one in ends),
    }


def _share(ends: Sequence[End], some: Sequence[End]) -> float:
    return len(some) / len(ends)


def bars(rows: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """What alpha promises."""
    by_kind = {row["candidate"]: row for row in rows}
    good = [kind for kind in by_kind if kind.startswith("as good") and KINDS[kind].is_promised]
    return [
        *(
            Bar(what=f"share sent back, {kind}", limit=RULES.alpha, measured=by_kind[kind]["sent back"], at_least=False)
            for kind in good
        ),
        *(
            Bar(
                what=f"share that got everything, {kind}",
                limit=RULES.alpha,
                measured=by_kind[kind]["got everything"],
                at_least=False,
            )
            for kind in by_kind
            if kind.startswith("worse by the margin") or kind == "worse by twice the margin"
        ),
        Bar(what="share that got everything, as good", limit=0.9, measured=by_kind["as good"]["got everything"]),
    ]


def main() -> None:
    """Counts rollouts of every kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=10_000)
    asked = parser.parse_args().rollouts
    rows = [measure(kind, asked) for kind in KINDS]
    Report(
        name="rollout",
        rows=rows,
        bars=bars(rows),
        notes=[
            f"{asked:,} rollouts of each kind, {DAILY} requests a day, looked at {LOOKS} times a day, the same seeds for every kind. "
            f"Stages of {', '.join(f'{share:.0%}' for share in STAGES)}; a stage that nothing is decided about in {LONGEST} days waits.",
            "Everything is what a version gets behind its last share; it stayed when its watch ended too.",
        ],
    ).finish()


if __name__ == "__main__":
    main()
