"""Traffic policies as a release holds them: JSON whose versions and shares can be told without the service's code."""

import math
from collections.abc import Mapping
from typing import Any, Final

from headwater.errors import HeadwaterError

ALL_AT_ONCE: Final = "all-at-once"
SHADOW: Final = "shadow"
CANARY: Final = "canary"
AB_TEST: Final = "ab-test"
ENSEMBLE: Final = "ensemble"
_BY_VERSION: Final = {AB_TEST: "shares", "epsilon-greedy": "means", "thompson": "beliefs", ENSEMBLE: "weights"}
_KINDS: Final = (ALL_AT_ONCE, SHADOW, CANARY, *_BY_VERSION)
_TOLERANCE: Final = 1e-9


class TrafficError(HeadwaterError):
    """A traffic policy that no release can hold."""

    def __init__(self, *, policy: str, problem: str, remedy: str) -> None:
        self.policy, self.problem = policy, problem
        super().__init__(f"Traffic policy {policy!r}: {problem}. {remedy}")


def all_at_once(version: str) -> dict[str, Any]:
    """One version answers everything."""
    return {"kind": ALL_AT_ONCE, "live": version}


def shadowed(live: str, shadow: str) -> dict[str, Any]:
    """One version answers everything, and another one scores beside it."""
    return {"kind": SHADOW, "live": live, "shadows": [shadow]}


def policy_at(share: float, *, live: str, candidate: str) -> dict[str, Any]:
    """The policy under which a candidate answers a share: 0 only watches, 1 is all."""
    if share >= 1:
        return all_at_once(candidate)
    if share <= 0:
        return shadowed(live, candidate)
    salt = f"{live} to {candidate}"  # one rollout is drawn independently of the next; its steps are drawn alike
    return {"kind": CANARY, "live": live, "candidate": candidate, "share": share, "salt": salt}


def policy_versions(policy: Mapping[str, Any]) -> tuple[str, ...]:
    """Every version that a policy names, the live one first where it has one.

    Raises:
        TrafficError: The kind is unknown, or it names no version or one twice.
    """
    kind = str(policy.get("kind"))
    if kind not in _KINDS:
        raise TrafficError(policy=kind, problem="nobody knows it", remedy=f"Known are {', '.join(_KINDS)}.")
    found: Any = ()
    if kind in _BY_VERSION:
        found = policy.get(_BY_VERSION[kind])
        found = tuple(found) if isinstance(found, Mapping) else ()
    else:
        more = {CANARY: lambda: [policy.get("candidate")], SHADOW: lambda: policy.get("shadows") or [None]}
        found = (policy.get("live"), *more.get(kind, list)())
    if not found or not all(isinstance(name, str) and name for name in found):
        raise TrafficError(policy=kind, problem="it names no version", remedy="Name versions such as 1.2.0.")
    if len(set(found)) < len(found):
        raise TrafficError(policy=kind, problem="it names a version twice", remedy="Name each version once.")
    return tuple(found)


def in_order(policy: Mapping[str, Any]) -> tuple[str, ...]:
    """The versions of a policy, the live one first where it has one; where none is, by their numbers.

    A statement is JSON with sorted names, in which 1.10.0 comes before 1.9.0.

    Raises:
        TrafficError: As `policy_versions`.
    """
    names = policy_versions(policy)
    return tuple(sorted(names, key=by_number)) if policy["kind"] in _BY_VERSION else names


def by_number(version: str) -> tuple[tuple[int, ...], str]:
    """What versions sort by: 1.9.0 before 1.10.0. Names that are no numbers come first, by their text."""
    parts = version.split(".")
    return (tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else (), version)


def policy_traffic(policy: Mapping[str, Any]) -> dict[str, float]:
    """Version to its share of the answers, together 1; empty where the policy learns them.

    Raises:
        TrafficError: The policy cannot be, or its shares do not add up.
    """
    names, kind = policy_versions(policy), policy["kind"]
    if kind in (ALL_AT_ONCE, SHADOW):
        return {names[0]: 1.0}
    if kind == CANARY:
        share = _share(kind, names[1], policy.get("share"))
        return {names[0]: 1 - share, names[1]: share}
    if kind not in (AB_TEST, ENSEMBLE):
        return {}
    shares = {name: _share(kind, name, policy[_BY_VERSION[kind]][name]) for name in names}
    total = math.fsum(shares.values())
    if abs(total - 1) > _TOLERANCE:
        shown = " + ".join(f"{name} {share:g}" for name, share in shares.items())
        problem = f"its shares are {shown}, together {total:g}"
        raise TrafficError(policy=kind, problem=problem, remedy="Let them add up to 1.")
    return shares


def _share(kind: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise TrafficError(policy=kind, problem=f"the share of {name} is {value!r}", remedy="Give one from 0 to 1.")
    return float(value)
