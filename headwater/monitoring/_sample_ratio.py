"""Whether units were split among variants as declared, told at every look.

A chi-squared test that is looked at after each unit finds a broken split sooner or later where there is none, and at a count of one
at once. This one is a test martingale: the chance of what was seen, if shares were drawn from a Dirichlet distribution around the
declared ones, over its chance under these. While the split is fair its expectation is 1 at every unit, so that it ever reaches
`1 / p` with a chance of `p` at most (Ville 1939). Lindon and Malek 2022, Anytime-valid inference for multinomial count data, NeurIPS.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from headwater.monitoring._json import Recorded
from headwater.monitoring.errors import MonitoringRuleError

MISMATCH_P: Final = 0.001
"""P-value below which shares are taken as wrong (Fabijan et al. 2019, Diagnosing Sample Ratio Mismatch, KDD)."""
_CONCENTRATIONS: Final = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)
"""Of the Dirichlet distributions that are mixed evenly: few find what is grossly wrong after few units, many what is slightly wrong after
many."""


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

    The product of the parts' martingales is one: what a unit adds has the expectation 1, whatever was seen before.

    Args:
        parts: Of each part what `sample_ratio` takes.

    Raises:
        MonitoringRuleError: A variant was observed that has no share in its part.
    """
    expected: dict[str, float] = {}
    found: dict[str, int] = {}
    evidence, can_differ = 0.0, False
    for observed, shares in parts:
        if foreign := sorted(set(observed) - set(shares)):
            raise MonitoringRuleError(
                rule="sample_ratio(...): observed", value=foreign, wanted="variants that are declared"
            )
        total = sum(observed.values())
        for name, share in shares.items():
            expected[name] = expected.get(name, 0.0) + total * share
            found[name] = found.get(name, 0) + observed.get(name, 0)
        drawn = {name: share for name, share in shares.items() if share > 0}
        is_foreign = sum(observed.get(name, 0) for name in drawn) < total  # who has no share got units all the same
        can_differ = can_differ or is_foreign or (total > 0 and len(drawn) > 1)
        evidence += math.inf if is_foreign else _log_evidence([(observed.get(name, 0), drawn[name]) for name in drawn])
    p_value = math.exp(-max(evidence, 0.0)) if can_differ else None
    mismatch = p_value is not None and p_value < MISMATCH_P
    return SampleRatio(expected=expected, observed=found, p_value=p_value, mismatch=mismatch)


def _log_evidence(counts: list[tuple[int, float]]) -> float:
    """Logarithm of the mixture's chance of some units over that under their shares."""
    total = sum(count for count, _ in counts)
    logs = []
    for weight in _CONCENTRATIONS:
        log = math.lgamma(weight) - math.lgamma(weight + total)
        for count, share in counts:
            log += math.lgamma(weight * share + count) - math.lgamma(weight * share) - count * math.log(share)
        logs.append(log)
    most = max(logs)
    return most + math.log(math.fsum(math.exp(log - most) for log in logs) / len(logs))
