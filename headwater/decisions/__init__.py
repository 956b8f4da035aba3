"""Decisions about models as pure functions: everything they look at is an argument, and what they say comes with its reason."""

from headwater.decisions._sequential import Effect, RunningMean, effect

__all__ = ["Effect", "RunningMean", "effect"]
