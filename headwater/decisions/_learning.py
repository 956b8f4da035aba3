"""Policies that learn: what of them is declared and what is learned, which share each version has, what rewards teach."""

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from headwater.decisions._policies import policy_traffic, policy_versions
from headwater.decisions._sequential import RunningMean

EPSILON_GREEDY: Final = "epsilon-greedy"
THOMPSON: Final = "thompson"
LEARNED: Final[Mapping[str, str]] = {EPSILON_GREEDY: "means", THOMPSON: "beliefs"}
"""Kind of a policy to what of it is learned."""
_CELLS: Final = 120
"""On each side of a belief's peak, the narrower the nearer."""
_FALL: Final = 36.0
"""How far the logarithm of a density falls from its peak before a belief is taken as nothing: to a part in 4e15."""
_DIGITS: Final = 6
"""Of what is learned: sums of the same rows in another order are the same policy."""


def same_experiment(one: object, other: object) -> bool:
    """Whether two policies are one experiment: they differ at most in what was learned."""
    return _declared(one) == _declared(other)


def _declared(policy: object) -> object:
    if not isinstance(policy, Mapping) or (part := LEARNED.get(str(policy.get("kind")))) is None:
        return policy
    return {**policy, part: sorted(policy_versions(policy))}


def learned_policy(begun: Mapping[str, Any], losses: Mapping[str, RunningMean], *, least: int) -> dict[str, Any]:
    """The policy after what was seen since it began.

    Thompson: each reward `r = 1 - loss` adds `r` to `a` and `1 - r` to `b` of its version, on top of what the policy began with.
    Epsilon-greedy: the mean reward of a version, once enough of its labels are known; what it began with until then.

    Args:
        begun: The policy as it began.
        losses: Version to its losses, 0 to 1, on settled labels since then.
        least: Labels of a version before its mean counts.
    """
    kind = str(begun["kind"])
    if kind not in LEARNED:
        return dict(begun)
    before: Mapping[str, Any] = begun[LEARNED[kind]]
    found: dict[str, Any] = {}
    for name in policy_versions(begun):
        seen = losses.get(name, RunningMean())
        if kind == THOMPSON:
            a, b = before[name]
            found[name] = [round(a + seen.count - seen.total, _DIGITS), round(b + seen.total, _DIGITS)]
        else:
            found[name] = round(1 - seen.mean, _DIGITS) if seen.count >= max(least, 1) else before[name]
    return {**begun, LEARNED[kind]: found}


def policy_shares(policy: Mapping[str, Any]) -> dict[str, float]:
    """Version to the share of the answers that a policy gives it, together 1, also where it is learned.

    Raises:
        TrafficError: The policy cannot be.
    """
    kind, names = policy["kind"], sorted(policy_versions(policy))
    if kind == THOMPSON:
        return chances_of_best(policy["beliefs"])
    if kind == EPSILON_GREEDY:
        best = max(names, key=policy["means"].__getitem__)  # of equal ones the first by name, as the service draws
        explored = float(policy["epsilon"]) / len(names)
        return {name: explored + (1 - float(policy["epsilon"]) if name == best else 0.0) for name in names}
    return policy_traffic(policy)


def chances_of_best(beliefs: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The chance that each version's draw is the highest, together 1: how often Thompson sampling picks it.

    The integral of one density times the others' distributions, over the cells of all beliefs together: each has its own on either
    side of its peak, so that what is known sharply is seen as finely as what is not known. Exact to about 0.0001 for beliefs of 0.1 and
    more; the draws of two beliefs far below that are often both 1 to the last digit, and then the first by name answers.

    Args:
        beliefs: Version to `(a, b)` of its Beta distribution, both above 0.
    """
    return dict(_chances(tuple(sorted((name, (float(a), float(b))) for name, (a, b) in beliefs.items()))))


@lru_cache(maxsize=1_024)
def _chances(beliefs: tuple[tuple[str, tuple[float, float]], ...]) -> tuple[tuple[str, float], ...]:
    edges = sorted({edge for _, (a, b) in beliefs for edge in _edges(a, b)})
    cells = [((low + high) / 2, high - low) for low, high in pairwise(edges)]
    densities = [_density(cells, a, b) for _, (a, b) in beliefs]
    below = [_up_to_the_middle(density) for density in densities]
    found = {}
    for place, (name, _) in enumerate(beliefs):
        rest = [one for at, one in enumerate(below) if at != place]
        found[name] = math.fsum(
            part * math.prod(one[cell] for one in rest) for cell, part in enumerate(densities[place]) if part
        )
    total = math.fsum(found.values())
    return tuple((name, chance / total) for name, chance in found.items())


def _edges(a: float, b: float) -> list[float]:
    """Of a belief's cells, as logits: there every Beta density has one peak, at `log(a / b)`, and falls to 0 on both sides."""
    peak, found = math.log(a) - math.log(b), []
    for sign in (-1, 1):
        reach = sign * _reach(a, b, sign)
        found += [peak + reach * (step / _CELLS) ** 2 for step in range(_CELLS + 1)]
    return found


def _reach(a: float, b: float, sign: int) -> float:
    """How far from its peak, on one side, a belief's density has fallen to nothing."""
    near, far = 0.0, 1.0
    while _log_density(sign * far, a, b) > -_FALL:
        near, far = far, 2 * far
    while far - near > far / _CELLS:
        middle = (near + far) / 2
        near, far = (middle, far) if _log_density(sign * middle, a, b) > -_FALL else (near, middle)
    return far


def _log_density(away: float, a: float, b: float) -> float:
    """Of the logit so far from its peak, where it is 0. From the nearer end of 0 to 1, so that nothing large is subtracted."""
    if away > 0:
        away, a, b = -away, b, a
    share = a / (a + b)
    lost = share * math.expm1(away)
    return a * away - (a + b) * (math.log1p(lost) if lost > -0.5 else math.log(b / (a + b) + share * math.exp(away)))


def _density(cells: list[tuple[float, float]], a: float, b: float) -> list[float]:
    """Chance of each cell, together 1."""
    peak = math.log(a) - math.log(b)
    parts = [width * math.exp(_log_density(middle - peak, a, b)) for middle, width in cells]
    total = math.fsum(parts)
    return [part / total for part in parts]


def _up_to_the_middle(density: list[float]) -> list[float]:
    found, total = [], 0.0
    for part in density:
        found.append(total + part / 2)
        total += part
    return found
