"""Decisions about models as pure functions: everything they look at is an argument, and what they say comes with its reason."""

from headwater.decisions._retraining import Action, Decision, Evidence, Retraining, Window, decide_retraining
from headwater.decisions._sequential import Effect, RunningMean, effect

__all__ = [
    "Action",
    "Decision",
    "Effect",
    "Evidence",
    "Retraining",
    "RunningMean",
    "Window",
    "decide_retraining",
    "effect",
]
