"""Whether units were split among variants as declared, told at every look.

A chi-squared test that is looked at after each unit finds a broken split sooner or later where there is none, and at a count of one
at once. This one is a test martingale: the chance of what was seen, if shares were drawn from a Dirichlet distribution around the
declared ones, over its chance under these. Where the shares change, such a mixture is paid for anew with each change, and a slight error
that all of them have is never seen: so half of the evidence is of one error that all parts have in common, the odds of one variant
times a factor. While the split is fair its expectation is 1 at every unit, so that it ever reaches
`1 / p` with a chance of `p` at most (Ville 1939). Lindon and Malek 2022, Anytime-valid inference for multinomial count data, NeurIPS.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from headwater.monitoring._json import Recorded
from headwater.monitoring.errors import MonitoringRuleError

_Counts: TypeAlias = Mapping[str, tuple[int, float]]
"""Of one part: variant with a share to its units and that share."""
MISMATCH_P: Final = 0.001
"""P-value below which shares are taken as wrong (Fabijan et al. 2019, Diagnosing Sample Ratio Mismatch, KDD)."""
_CONCENTRATIONS: Final = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)
"""Of the Dirichlet distributions that are mixed evenly: few find what is grossly wrong after few units, many what is slightly wrong after
many."""
_TILTS: Final = tuple(sign * 2.0**power for power in range(-10, 2) for sign in (-1, 1))
"""Logarithms of the factors by which the odds of a variant may be wrong in all parts alike, mixed evenly: 0.1% to 7 times. Between two of
them nine tenths of the evidence are left."""


@dataclass(frozen=True, kw_only=True)
class SampleRatio(Recorded):
    """Whether units were split as declared.

    Attributes:
        expected: Variant to the units that its share of all gives.
        observed: Variant to its units.
        p_value: Valid at every look: while the split is fair, it is ever as low with a chance of itself at most. None without units or
            with one variant only.
        mismatch: Whether it lies below 0.001: then something is broken, and no difference can be trusted.
    """

    expected: Mapping[str, float]
    observed: Mapping[str, int]
    p_value: float | None
    mismatch: bool


def sample_ratio(observed: Mapping[str, int], shares: Mapping[str, float]) -> SampleRatio:
    """Whether units were split as declared.

    Args:
        observed: Variant to its units; absent means none.
        shares: Variant to its declared share; together 1.

    Raises:
        MonitoringRuleError: A variant was observed that has no share.
    """
    return sample_ratio_of_parts([(observed, shares)])


def sample_ratio_of_parts(parts: Iterable[tuple[Mapping[str, int], Mapping[str, float]]]) -> SampleRatio:
    """Whether units were split as declared, where the shares changed meanwhile: each part of the units by those that it was drawn from.

    Products of the parts' martingales are martingales, and so is their mean: what a unit adds has the expectation 1, whatever was seen
    before. So an error that each part has of its own is seen, and a slight one that they have in common.

    Args:
        parts: Of each part what `sample_ratio` takes.

    Raises:
        MonitoringRuleError: A variant was observed that has no share in its part.
    """
    expected: dict[str, float] = {}
    found: dict[str, int] = {}
    counts: list[_Counts] = []
    is_broken = can_differ = False
    for observed, shares in parts:
        if foreign := sorted(set(observed) - set(shares)):
            raise MonitoringRuleError(
                rule="sample_ratio(...): observed", value=foreign, wanted="variants that are declared"
            )
        total = sum(observed.values())
        for name, share in shares.items():
            expected[name] = expected.get(name, 0.0) + total * share
            found[name] = found.get(name, 0) + observed.get(name, 0)
        part = {name: (observed.get(name, 0), share) for name, share in shares.items() if share > 0}
        is_foreign = sum(count for count, _ in part.values()) < total  # who has no share got units all the same
        is_broken = is_broken or is_foreign
        can_differ = can_differ or is_foreign or (total > 0 and len(part) > 1)
        counts.append(part)
    evidence = math.inf if is_broken else _log_evidence(counts)
    p_value = math.exp(-max(evidence, 0.0)) if can_differ else None
    mismatch = p_value is not None and p_value < MISMATCH_P
    return SampleRatio(expected=expected, observed=found, p_value=p_value, mismatch=mismatch)


def _log_evidence(parts: Sequence[_Counts]) -> float:
    """Logarithm of the evidence of all parts: half of it of an error that each part has of its own, half of one that all share."""
    own = math.fsum(_log_of_shares(list(part.values())) for part in parts)
    names = sorted({name for part in parts for name in part})
    shared = [_log_of_tilt(parts, name, tilt) for name in names for tilt in _TILTS]
    return _log_mean([own, _log_mean(shared)]) if shared else own


def _log_of_tilt(parts: Sequence[_Counts], name: str, tilt: float) -> float:
    """Logarithm of the chance of the units if the odds of one variant were `exp(tilt)` times as high, over that under the shares."""
    found = 0.0
    for part in parts:
        if name in part:
            count, share = part[name]
            total = sum(units for units, _ in part.values())
            found += count * tilt - total * math.log1p(share * math.expm1(tilt))
    return found


def _log_of_shares(counts: list[tuple[int, float]]) -> float:
    """Logarithm of the mixture's chance of some units over that under their shares."""
    total = sum(count for count, _ in counts)
    logs = []
    for weight in _CONCENTRATIONS:
        log = math.lgamma(weight) - math.lgamma(weight + total)
        for count, share in counts:
            log += math.lgamma(weight * share + count) - math.lgamma(weight * share) - count * math.log(share)
        logs.append(log)
    return _log_mean(logs)


def _log_mean(logs: list[float]) -> float:
    """Logarithm of the mean of numbers that are given as logarithms."""
    most = max(logs)
    return most + math.log(math.fsum(math.exp(log - most) for log in logs) / len(logs))
