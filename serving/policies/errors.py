"""Errors of traffic policies."""

from headwater.errors import HeadwaterError


class PolicyError(HeadwaterError):
    """A traffic policy that cannot be."""

    def __init__(self, *, policy: str, problem: str, remedy: str) -> None:
        self.policy, self.problem = policy, problem
        super().__init__(f"Traffic policy {policy!r}: {problem}. {remedy}")
