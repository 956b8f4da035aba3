"""The policy under which a new version comes in where a product declares a test of versions."""

from typing import Any

from headwater.decisions._learning import EPSILON_GREEDY, THOMPSON
from headwater.decisions._policies import AB_TEST, SHADOW
from headwater.decisions._rollout import Rollout, RolloutKind
from headwater.decisions._statement import Release


def entry_policy(rollout: Rollout, now: Release, candidate: str) -> dict[str, Any]:
    """The new version beside the live one, of which nothing is known yet; challengers also beside those that are there.

    Args:
        rollout: A declared test of versions.
        now: What the release says.
        candidate: The new version.
    """
    live, kind = now.version, rollout.kind
    salt = f"{live} against {candidate}"
    if kind == RolloutKind.AB_TEST:
        return {"kind": AB_TEST, "shares": {live: 1 - rollout.share, candidate: rollout.share}, "salt": salt}
    if kind == RolloutKind.EPSILON_GREEDY:  # the live version is the best until labels tell otherwise
        return {"kind": EPSILON_GREEDY, "means": {live: 1.0, candidate: 0.0}, "epsilon": rollout.epsilon, "salt": salt}
    if kind == RolloutKind.THOMPSON:
        return {"kind": THOMPSON, "beliefs": {live: [1.0, 1.0], candidate: [1.0, 1.0]}, "salt": salt}
    there = tuple(now.policy["shadows"]) if joins(rollout, now) else ()
    return {"kind": SHADOW, "live": live, "shadows": [candidate, *there][: rollout.challengers]}


def joins(rollout: Rollout, now: Release) -> bool:
    """Whether a new version joins the challengers of a champion."""
    kind = RolloutKind.CHAMPION_CHALLENGERS
    return rollout.kind == kind and now.rollout is not None and now.rollout.is_experiment and now.rollout.kind == kind
