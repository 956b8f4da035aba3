"""From a policy and a request's key to the version that answers: pure, the same on every worker and after every restart."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headwater.decisions import chances_of_best
from serving.policies._policy import ABTest, AllAtOnce, Canary, Ensemble, EpsilonGreedy, Policy, Shadow, Thompson

_STEPS: Final = 2**53


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Who answers one request.

    Attributes:
        variant: The version that answers, or `ensemble`.
        weights: Versions whose scores make the answer, with their weights.
        shadows: Versions that only score.
        propensity: Probability with which this variant was drawn, for estimates from logged traffic; of Thompson sampling to about
            0.0001. None where nobody drew it: the caller named the version.
    """

    variant: str
    weights: Mapping[str, float]
    shadows: tuple[str, ...] = field(default=())
    propensity: float | None = 1.0


def assign(policy: Policy, key: str) -> Assignment:
    """The assignment of a request.

    Args:
        policy: The policy.
        key: What is drawn for: with the entity as key an entity keeps its version, with the request's id every request is drawn
            anew.
    """
    match policy:
        case AllAtOnce():
            return _one(policy.live)
        case Shadow():
            return _one(policy.live, shadows=policy.shadows)
        case Canary():
            is_candidate = uniform(policy.salt, key) < policy.share
            name, share = (policy.candidate, policy.share) if is_candidate else (policy.live, 1 - policy.share)
            return _one(name, propensity=share)
        case ABTest():
            name = _drawn(policy.shares, uniform(policy.salt, key))
            return _one(name, propensity=policy.shares[name])
        case EpsilonGreedy():
            return _epsilon_greedy(policy, key)
        case Thompson():
            draw = random.Random(_number(policy.salt, key))
            sampled = {name: draw.betavariate(a, b) for name, (a, b) in sorted(policy.beliefs.items())}
            name = max(sampled, key=sampled.__getitem__)
            return _one(name, propensity=chances_of_best(policy.beliefs)[name])
        case Ensemble():
            return Assignment(variant=Ensemble.kind, weights=policy.weights)


def uniform(salt: str, key: str) -> float:
    """A number in [0, 1) that a salt and a key always have, uniform over keys and independent between salts."""
    return (_number(salt, key) >> 11) / _STEPS


def _number(salt: str, key: str) -> int:
    told = f"{len(salt)}:{salt}{key}"
    return int.from_bytes(hashlib.blake2b(told.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


def _drawn(shares: Mapping[str, float], number: float) -> str:
    """The version in whose part of [0, 1) a number lies; parts stand in the order of names, so that no order of keys matters."""
    below = 0.0
    names = sorted(name for name, share in shares.items() if share > 0)
    for name in names:
        below += shares[name]
        if number < below:
            return name
    return names[-1]


def _epsilon_greedy(policy: EpsilonGreedy, key: str) -> Assignment:
    names = sorted(policy.means)
    best = max(names, key=policy.means.__getitem__)
    number = uniform(policy.salt, key)
    explored = policy.epsilon / len(names)
    name = names[min(int(number / explored), len(names) - 1)] if number < policy.epsilon else best
    return _one(name, propensity=explored + (1 - policy.epsilon if name == best else 0))


def _one(name: str, *, shadows: tuple[str, ...] = (), propensity: float | None = 1.0) -> Assignment:
    return Assignment(variant=name, weights={name: 1.0}, shadows=shadows, propensity=propensity)
