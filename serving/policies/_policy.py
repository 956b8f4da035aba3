"""Traffic policies: which versions of a model answer, as data that a release holds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeAlias

from serving.policies.errors import PolicyError

_TOLERANCE: Final = 1e-9
_MOST: Final = 1e12


@dataclass(frozen=True, kw_only=True)
class AllAtOnce:
    """One version answers everything; a release changes all traffic in one step (blue-green).

    Attributes:
        live: The version.
    """

    kind: ClassVar[str] = "all-at-once"
    live: str

    def __post_init__(self) -> None:
        _check_names(self.kind, (self.live,))


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """One version answers; others score the same requests, and nobody sees what they say. With several: champion and challengers.

    Attributes:
        live: The version that answers.
        shadows: The versions that only score.
    """

    kind: ClassVar[str] = "shadow"
    live: str
    shadows: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_names(self.kind, (self.live, *self.shadows))
        if not self.shadows or not isinstance(self.shadows, tuple):
            raise PolicyError(policy=self.kind, problem="nothing is in the shadow", remedy="Name at least one version.")


@dataclass(frozen=True, kw_only=True)
class Canary:
    """A candidate answers a share of the requests. Who is in a share stays in every larger one.

    Attributes:
        live: The version that answers the rest.
        candidate: The version on trial.
        share: Of all requests, 0 to 1.
        salt: Makes one rollout's draw independent of another's.
    """

    kind: ClassVar[str] = "canary"
    live: str
    candidate: str
    share: float
    salt: str = ""

    def __post_init__(self) -> None:
        _check_names(self.kind, (self.live, self.candidate))
        if not 0 <= self.share <= 1:
            raise PolicyError(
                policy=self.kind, problem=f"the candidate's share is {self.share}", remedy="Give one from 0 to 1."
            )
        _check_salt(self.kind, self.salt)


@dataclass(frozen=True, kw_only=True)
class ABTest:
    """Versions answer fixed shares, the same version for the same key as long as the test runs.

    Attributes:
        shares: Version to its share; together 1.
        salt: The test's name: another test draws independently.
    """

    kind: ClassVar[str] = "ab-test"
    shares: Mapping[str, float]
    salt: str

    def __post_init__(self) -> None:
        _check_names(self.kind, tuple(self.shares))
        _check_shares(self.kind, self.shares)
        _check_salt(self.kind, self.salt)


@dataclass(frozen=True, kw_only=True)
class EpsilonGreedy:
    """The version with the best mean reward so far answers, and any version a small share of requests.

    Attributes:
        means: Version to its mean reward; of equal ones the first by name is the best.
        epsilon: Share of requests whose version is drawn uniformly, 0 to 1.
        salt: Makes one draw independent of another's.
    """

    kind: ClassVar[str] = "epsilon-greedy"
    means: Mapping[str, float]
    epsilon: float
    salt: str = ""

    def __post_init__(self) -> None:
        _check_names(self.kind, tuple(self.means))
        if not 0 <= self.epsilon <= 1:
            raise PolicyError(policy=self.kind, problem=f"epsilon is {self.epsilon}", remedy="Give one from 0 to 1.")
        if bad := [name for name, mean in self.means.items() if not math.isfinite(mean)]:
            raise PolicyError(policy=self.kind, problem=f"the mean of {bad[0]} is no number", remedy="Give a number.")
        _check_salt(self.kind, self.salt)


@dataclass(frozen=True, kw_only=True)
class Thompson:
    """Each version answers as often as it is likely to be the best (Thompson 1933), by rewards of 0 and 1.

    Attributes:
        beliefs: Version to `(a, b)` of its Beta distribution: 1 plus rewards, 1 plus misses.
        salt: Makes one draw independent of another's.
    """

    kind: ClassVar[str] = "thompson"
    beliefs: Mapping[str, tuple[float, float]]
    salt: str = ""

    def __post_init__(self) -> None:
        _check_names(self.kind, tuple(self.beliefs))
        for name, (a, b) in self.beliefs.items():
            if not (0 < a <= _MOST and 0 < b <= _MOST):
                raise PolicyError(
                    policy=self.kind,
                    problem=f"the belief in {name} is Beta({a}, {b})",
                    remedy=f"Give two numbers above 0, {_MOST:g} at most.",
                )
        _check_salt(self.kind, self.salt)


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """All members score, and the weighted mean of their scores answers.

    Attributes:
        weights: Version to its weight; together 1.
    """

    kind: ClassVar[str] = "ensemble"
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self.kind, tuple(self.weights))
        _check_shares(self.kind, self.weights)


Policy: TypeAlias = AllAtOnce | Shadow | Canary | ABTest | EpsilonGreedy | Thompson | Ensemble
KINDS: Final[Mapping[str, type[Policy]]] = {
    kind.kind: kind for kind in (AllAtOnce, Shadow, Canary, ABTest, EpsilonGreedy, Thompson, Ensemble)
}


def versions(policy: Policy) -> tuple[str, ...]:
    """Every version that a policy needs loaded, each once."""
    match policy:
        case AllAtOnce():
            return (policy.live,)
        case Shadow():
            return (policy.live, *policy.shadows)
        case Canary():
            return (policy.live, policy.candidate)
        case ABTest():
            return tuple(policy.shares)
        case EpsilonGreedy():
            return tuple(policy.means)
        case Thompson():
            return tuple(policy.beliefs)
        case Ensemble():
            return tuple(policy.weights)


def draws(policy: Policy) -> bool:
    """Whether it gives different requests different versions, so that somebody has to be drawn for."""
    return not isinstance(policy, AllAtOnce | Shadow | Ensemble)


def to_json(policy: Policy) -> dict[str, Any]:
    """JSON values that `from_json` reads back."""
    values = {name: _plain(getattr(policy, name)) for name in policy.__dataclass_fields__}
    return {"kind": policy.kind, **values}


def from_json(raw: Mapping[str, Any]) -> Policy:
    """The policy that `to_json` wrote.

    Raises:
        PolicyError: The kind is unknown, a field is absent or unknown, or the values are none of such a policy.
    """
    kind = KINDS.get(str(raw.get("kind")))
    if kind is None:
        raise PolicyError(
            policy=str(raw.get("kind")), problem="nobody knows it", remedy=f"Known are {', '.join(KINDS)}."
        )
    fields = {name: _read(value) for name, value in raw.items() if name != "kind"}
    try:
        return kind(**fields)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PolicyError(policy=kind.kind, problem=str(error), remedy="Write it as the release does.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _read(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _read(item) for name, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _check_names(kind: str, names: tuple[str, ...]) -> None:
    if not names or not all(isinstance(name, str) and name for name in names):
        raise PolicyError(policy=kind, problem="it names no version", remedy="Name versions such as 1.2.0.")
    if broken := [name for name in names if not _is_whole(name)]:
        raise PolicyError(
            policy=kind, problem=f"it names {broken[0]!r}, no text", remedy="Name versions such as 1.2.0."
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PolicyError(policy=kind, problem=f"it names {', '.join(twice)} twice", remedy="Name each version once.")


def _check_salt(kind: str, salt: Any) -> None:
    if not isinstance(salt, str) or not _is_whole(salt):
        raise PolicyError(policy=kind, problem=f"its salt is {salt!r}, no text", remedy="Write it in quotes.")


def _is_whole(text: str) -> bool:
    """Whether no file, record or answer would fail to hold it: half a character is none."""
    return text.encode(errors="ignore").decode() == text


def _check_shares(kind: str, shares: Mapping[str, float]) -> None:
    if bad := [name for name, share in shares.items() if not 0 <= share <= 1]:
        raise PolicyError(
            policy=kind, problem=f"the share of {bad[0]} is {shares[bad[0]]}", remedy="Give one from 0 to 1."
        )
    total = math.fsum(shares.values())
    if abs(total - 1) > _TOLERANCE:
        shown = " + ".join(f"{name} {share}" for name, share in shares.items())
        raise PolicyError(
            policy=kind, problem=f"its shares are {shown}, together {total:g}", remedy="Let them add up to 1."
        )
