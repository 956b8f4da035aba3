"""The evidence of an experiment: what the lake knows of the requests under its policy."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._experiment_standing import experiment_of, policies_under
from assets._chain._failures import of_versions
from assets._chain._kept_evidence import about_the_same, dropped_since, earliest, recorded
from assets._chain._outcomes import newest_asked, newest_of
from assets._chain._paths import ChainPaths
from assets._chain._plays import counted
from assets._chain._rollout_evidence import (
    costs_of,
    counted_per,
    drawn_units,
    evaluation_of,
    plain_test,
    windowing_of,
    with_units,
)
from assets._chain._rollout_rows import first_asked
from assets._chain._rules_of_requests import levels_of
from headwater.decisions import BEFORE, ExperimentEvidence, ExperimentStanding, Release, policy_shares
from headwater.product import Inputs, Product

if TYPE_CHECKING:
    from headwater.monitoring import SampleRatio

CLOCK: Final = timedelta(days=1)
"""So much earlier than its experiment began an answer may seem to be, by a clock that was set back."""
_ANSWERS: Final = (
    "request_id", "at", "received", "latency_us", "variant", "propensity", "score", "decision", "shadows", "commit",
)  # fmt: skip
_FIXED: Final = ("ab-test", "canary")
_SPLIT: Final = (*_FIXED, "epsilon-greedy", "thompson")


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows of the lake: what was asked under the experiment, and in the week before it. Of failures those that a version had a part in."""

    answers: pl.DataFrame
    failed: pl.DataFrame
    outcomes: pl.DataFrame
    before: pl.DataFrame
    failures_before: pl.DataFrame
    policies: Mapping[str, Release]
    first: datetime | None
    now: datetime | None


def experiment_evidence(inputs: Inputs, product: Product, past: Mapping[str, Any] | None) -> ExperimentEvidence:
    """What a decision about the experiment in progress looks at.

    Args:
        inputs: As the decision reads them.
        product: The product.
        past: The document of the decision before, None before the first.
    """
    from headwater.monitoring import experiment_counts, traffic_before

    found = experiment_of(inputs, product)
    standing = found.standing
    if standing is None or found.release is None:
        return ExperimentEvidence(standing=None, idle=found.idle)
    rows = _rows(inputs, product, found.release, standing)
    rules, levels, costs = product.rollout.rules, levels_of(product), costs_of(product)
    judged = {name: evaluation_of(inputs, product, name) for name in (*standing.answering, *standing.scoring)}
    counts = experiment_counts(
        with_units(product, rows.answers), rows.failed, rows.outcomes, standing=standing, per=counted_per(product),
        thresholds={name: one["threshold"] for name, one in judged.items() if one}, slow=levels.latency, costs=costs,
        windowing=windowing_of(product), min_coverage=rules.min_coverage, now=rows.now or standing.since,
        first=rows.first,
    )  # fmt: skip
    split = _split(product, standing, rows)
    arms = counts.arms
    if split is not None:
        observed, expected = split.observed, split.expected
        arms = tuple(
            replace(arm, units=observed.get(name, 0), expected=expected.get(name, 0.0))
            for arm in arms
            for name in (arm.traffic.version,)
        )
    if (drawn := _drawn(standing, rows)) is not None:
        arms = tuple(replace(arm, drawn=drawn.get(arm.traffic.version, 0.0)) for arm in arms)
    before = about_the_same(past, standing.since_commit)
    learned = _learned_before(before)
    received = earliest(rows.answers["received"].min(), recorded(before, "received"))
    dropped = dropped_since(inputs, product, earliest(standing.since, received))
    return ExperimentEvidence(
        standing=standing,
        now=rows.now,
        first=rows.first if dropped is None else recorded(before, "first") or rows.first,
        arms=arms,
        duels=counts.duels,
        before=traffic_before(rows.before, rows.failures_before, slow=levels.latency),
        unsettled=counts.unsettled,
        split_p=split.p_value if split is not None else None,
        mismatch=split is not None and split.mismatch,
        errors_allowed=levels.errors,
        slow_allowed=1 - levels.latency_share,
        learned=learned[0],
        pending=learned[1],
        received=received,
        dropped_until=dropped,
        incomplete_since=None if dropped is None else recorded(before, "incomplete_since") or inputs.started,
        facts={
            "costs": _costs(product),
            "windows": [one.to_json() for one in counts.windows],
            "test": _test(product, standing, rows),
        },
    )


def _rows(inputs: Inputs, product: Product, release: Release, standing: ExperimentStanding) -> _Rows:
    paths, since = ChainPaths(product=product.name), standing.since
    answered, failures = inputs.table(paths.predictions), of_versions(inputs.table(paths.service_failures))
    table = counted(product, answered)
    near = pl.col("received") >= since - CLOCK
    followed = pl.concat([one.filter(near).select("commit").unique() for one in (answered, failures)]).collect()
    policies = policies_under(inputs, paths.release, release, followed["commit"].unique().sort().to_list())
    under = near & pl.col("commit").is_in(list(policies))
    there = table.collect_schema().names()
    assert product.labels is not None
    wanted = dict.fromkeys((*product.labels.key, *product.serving.assign_by))
    extra = [name for name in wanted if name not in _ANSWERS and name in there]
    extra += ["request"] if any(name not in there for name in wanted) else []
    named = pl.col("propensity").is_null()  # the caller named the version, so nobody drew it
    answers = table.select(*_ANSWERS, *extra).filter(under & ~named).collect().sort("received", "request_id")
    outcomes = inputs.table(paths.outcomes).filter(near).collect()
    outcomes = outcomes.join(answers.select("request_id"), on="request_id", how="semi")
    moments = [moment for moment in (newest_asked(answers), outcomes["label_known_at"].max()) if moment is not None]
    past = pl.col("received").is_between(since - BEFORE, since, closed="left") & ~pl.col("commit").is_in(list(policies))
    return _Rows(
        answers=answers,
        failed=failures.filter(under).collect(),
        outcomes=outcomes,
        before=answered.filter(past).select("request_id", "received", "latency_us", "variant").collect(),
        failures_before=failures.filter(past).collect(),
        policies=policies,
        first=first_asked(table.filter(~under), answers),
        now=newest_of(*moments, until=inputs.started) if moments else None,
    )


def _split(product: Product, standing: ExperimentStanding, rows: _Rows) -> "SampleRatio | None":
    """Whether units were split as the policy says: of a bandit, as what it had learned then said."""
    from headwater.monitoring import sample_ratio_of_parts

    if standing.kind not in _SPLIT:
        return None
    units = drawn_units(product, rows.answers)
    if not units.height:
        return None
    parts: dict[tuple[tuple[str, float], ...], Counter[str]] = {}
    for commit, name, count in units.group_by("commit", "variant").len().sort("commit", "variant").iter_rows():
        shares = tuple(policy_shares(rows.policies[commit].policy).items())
        parts.setdefault(shares, Counter())[name] += count
    return sample_ratio_of_parts(
        (seen, {**dict.fromkeys((*standing.answering, *seen), 0.0), **dict(shares)}) for shares, seen in parts.items()
    )


def _drawn(standing: ExperimentStanding, rows: _Rows) -> dict[str, float] | None:
    """For how many requests each version was drawn, by what the policy said when they came; None where nobody is drawn.

    Of requests, not of units: who was drawn before a bandit turned asks on under what it learned. Nor does it take the unit's name.
    """
    from headwater.monitoring import count_requests, with_batches

    if standing.kind not in _SPLIT:
        return None
    asked = Counter[str]()
    for (commit,), part in with_batches(rows.answers).partition_by("commit", as_dict=True).items():
        asked[str(commit)] += count_requests(part)
    for commit, count in rows.failed.group_by("commit").agg(pl.col("count").sum()).iter_rows():
        asked[commit] += count
    drawn: dict[str, float] = {}
    for commit in sorted(asked):
        for name, share in policy_shares(rows.policies[commit].policy).items():
            drawn[name] = drawn.get(name, 0.0) + share * asked[commit]
    return drawn


def _learned_before(before: Mapping[str, Any] | None) -> tuple[datetime | None, Mapping[str, Any] | None]:
    """When this experiment learned last, by the time of the requests, and what."""
    if before is None or before["learned"] is None:
        return None, None
    return datetime.fromisoformat(before["learned"]["at"]), before["learned"]["policy"]


def _costs(product: Product) -> dict[str, Any] | None:
    """From a loss to the business metric."""
    from headwater.monitoring import price_of

    costs = costs_of(product)
    if costs is None:
        return None
    return {"unit": costs.unit, "least": price_of(0, costs), "span": price_of(1, costs) - price_of(0, costs)}


def _test(product: Product, standing: ExperimentStanding, rows: _Rows) -> dict[str, Any] | None:
    """The report of a plain test; of fixed shares only."""
    if standing.kind not in _FIXED:
        return None
    shares = {name: share for name, share in policy_shares(standing.policy).items() if share > 0}
    if len(shares) < 2 or standing.control not in shares:
        return None
    return plain_test(product, rows.answers, rows.outcomes, shares=shares, control=standing.control)
