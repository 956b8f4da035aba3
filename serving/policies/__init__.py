"""Traffic policies: pure functions from a policy and a request's key to the versions that score and the one that answers."""

from serving.policies._assignment import Assignment, assign, uniform
from serving.policies._policy import (
    ABTest,
    AllAtOnce,
    Canary,
    Ensemble,
    EpsilonGreedy,
    Policy,
    Shadow,
    Thompson,
    draws,
    from_json,
    to_json,
    versions,
)
from serving.policies.errors import PolicyError

__all__ = [
    "ABTest",
    "AllAtOnce",
    "Assignment",
    "Canary",
    "Ensemble",
    "EpsilonGreedy",
    "Policy",
    "PolicyError",
    "Shadow",
    "Thompson",
    "assign",
    "draws",
    "from_json",
    "to_json",
    "uniform",
    "versions",
]
