"""Decisions about models as pure functions: everything they look at is an argument, and what they say comes with its reason."""

from headwater.decisions._advance import RolloutAction, RolloutDecision, RolloutRule, decide_rollout
from headwater.decisions._advance_evidence import RolloutEvidence, Standing, Traffic, Versus
from headwater.decisions._again import UnknownDecisionError, decide_again
from headwater.decisions._entry import joins
from headwater.decisions._experiment import (
    Compared,
    ExperimentAction,
    ExperimentDecision,
    ExperimentRule,
    decide_experiment,
)
from headwater.decisions._experiment_evidence import Arm, Duel, ExperimentEvidence, ExperimentStanding
from headwater.decisions._learning import chances_of_best, learned_policy, policy_shares, same_experiment
from headwater.decisions._orders import Order, OrderError, OrderKind
from headwater.decisions._policies import TrafficError, policy_traffic, policy_versions
from headwater.decisions._release import (
    CHANGES_NOTHING,
    NextRelease,
    NothingToReleaseError,
    OrderRefusedError,
    ReleaseInput,
    heed,
    next_release,
)
from headwater.decisions._retraining import (
    Action,
    Decision,
    Retraining,
    RetrainingRule,
    decide_retraining,
    looked_at,
)
from headwater.decisions._retraining_evidence import Evidence, Window
from headwater.decisions._rollout import (
    BEFORE,
    LONG_BEFORE,
    Rollout,
    RolloutError,
    RolloutKind,
    RolloutRules,
    RolloutStep,
    StepAction,
)
from headwater.decisions._sequential import Effect, RunningMean, effect, exceeds, paired_effect
from headwater.decisions._statement import Judged, Release, Rolling, Watch
from headwater.decisions._windows import WindowEffect

__all__ = [
    "BEFORE",
    "CHANGES_NOTHING",
    "LONG_BEFORE",
    "Action",
    "Arm",
    "Compared",
    "Decision",
    "Duel",
    "Effect",
    "Evidence",
    "ExperimentAction",
    "ExperimentDecision",
    "ExperimentEvidence",
    "ExperimentRule",
    "ExperimentStanding",
    "Judged",
    "NextRelease",
    "NothingToReleaseError",
    "Order",
    "OrderError",
    "OrderKind",
    "OrderRefusedError",
    "Release",
    "ReleaseInput",
    "Retraining",
    "RetrainingRule",
    "Rolling",
    "Rollout",
    "RolloutAction",
    "RolloutDecision",
    "RolloutError",
    "RolloutEvidence",
    "RolloutKind",
    "RolloutRule",
    "RolloutRules",
    "RolloutStep",
    "RunningMean",
    "Standing",
    "StepAction",
    "Traffic",
    "TrafficError",
    "UnknownDecisionError",
    "Versus",
    "Watch",
    "Window",
    "WindowEffect",
    "chances_of_best",
    "decide_again",
    "decide_experiment",
    "decide_retraining",
    "decide_rollout",
    "effect",
    "exceeds",
    "heed",
    "joins",
    "learned_policy",
    "looked_at",
    "next_release",
    "paired_effect",
    "policy_shares",
    "policy_traffic",
    "policy_versions",
    "same_experiment",
]
