"""The evidence of a rollout: what the lake knows of the requests since its stage began."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._evaluation import EVALUATION_FILE
from assets._chain._paths import ChainPaths
from assets._chain._rollout_standing import Stood, served_under, standing_of
from headwater.decisions import RolloutEvidence, Standing, Versus
from headwater.names import VERSION_FACT
from headwater.product import Inputs, Product

if TYPE_CHECKING:
    from headwater.monitoring import DecisionCosts, ServiceLevels, StageCounts, Windowing

BEFORE: Final = timedelta(days=7)
"""So much of the time before a rollout says what the service was like without it."""
_ANSWERS: Final = (
    "request_id", "at", "received", "latency_us", "variant", "propensity", "decision", "shadows", "commit",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows of the lake.

    Attributes:
        seen: Answers since the stage began, oldest received first.
        answers: Those that were drawn under its policy.
        failed: Requests that got no answer under its policy.
        failures: Requests that got no answer since, under whatever policy.
        before: Answers of the time before the rollout.
        failures_before: Requests that got none then.
        outcomes: Of the answers since.
        first: The newest instant that requests were about when the first one since came in; None before that.
        now: The newest instant that the requests since, and their labels, know of.
    """

    seen: pl.DataFrame
    answers: pl.DataFrame
    failed: pl.DataFrame
    failures: pl.DataFrame
    before: pl.DataFrame
    failures_before: pl.DataFrame
    outcomes: pl.DataFrame
    first: datetime | None
    now: datetime


def rollout_evidence(inputs: Inputs, product: Product, *, watched: str = "") -> RolloutEvidence:
    """What a decision about the product's rollout looks at.

    Args:
        inputs: As the decision reads them.
        product: The product.
        watched: The commit that began a watch of which the decision before knew that it is over: nothing of it is read again.
    """
    stood = standing_of(inputs, product)
    if stood.standing is None:
        return RolloutEvidence(standing=None, idle=stood.idle)
    if stood.standing.since_commit == watched:
        return _over(stood.standing)
    rows = _rows(inputs, product, stood, stood.standing)
    if rows is None:
        return RolloutEvidence(standing=stood.standing)
    rules, standing = product.rollout.rules, stood.standing
    is_watched = standing.is_watch and not standing.is_compared
    is_over = is_watched and rows.first is not None and rows.now - rows.first >= rules.watch
    return _over(standing) if is_over else _measured(inputs, product, standing, rows)


def _over(standing: Standing) -> RolloutEvidence:
    said = f"{standing.candidate} answers everything, and its watch is over."
    return RolloutEvidence(standing=None, idle=said, watched=standing.since_commit)


def _measured(inputs: Inputs, product: Product, standing: Standing, rows: _Rows) -> RolloutEvidence:
    from headwater.monitoring import stage_counts, traffic_before

    rules, levels, costs = product.rollout.rules, levels_of(product), costs_of(product)
    judged = {name: _evaluation(inputs, product, name) for name in (standing.candidate, standing.other)}
    counts = stage_counts(
        rows.answers, rows.failed, rows.outcomes, standing=standing,
        thresholds={name: found["threshold"] for name, found in judged.items() if found},
        slow=levels.latency, costs=costs, windowing=windowing_of(product), min_coverage=rules.min_coverage, now=rows.now,
    )  # fmt: skip
    split = _split(product, standing, rows.answers)
    facts = {
        "before_rollout": _compared_before(judged[standing.candidate], standing.candidate),
        "business": _business(counts, costs),
        "wrong": _wrong(counts.versus_wrong, alpha=rules.alpha),
        "windows": [one.to_json() for one in counts.windows],
        "split": split,
        "test": _test(product, standing, rows),
    }
    return RolloutEvidence(
        standing=standing,
        now=rows.now,
        first=rows.first,
        seen=rows.seen.height + int(rows.failures["count"].sum()),
        candidate=counts.candidate,
        other=counts.other,
        before=traffic_before(rows.before, rows.failures_before, slow=levels.latency),
        versus=counts.versus,
        unsettled=counts.unsettled,
        split_p=split["p_value"] if split else None,
        mismatch=bool(split and split["mismatch"]),
        errors_allowed=levels.errors,
        slow_allowed=1 - levels.latency_share,
        wrong_allowed=_wrong_allowed(product, judged[standing.candidate]),
        facts=facts,
    )


def levels_of(product: Product) -> "ServiceLevels":
    """What the service promises."""
    from headwater.monitoring import ServiceLevels

    return product.service_levels or ServiceLevels()


def costs_of(product: Product) -> "DecisionCosts | None":
    """The business metric."""
    return product.performance.costs if product.performance is not None else None


def windowing_of(product: Product) -> "Windowing":
    """The windows whose labels count together."""
    from headwater.monitoring import Windowing

    zone = product.performance.windowing.zone if product.performance is not None else product.split.timezone
    return Windowing(length=product.rollout.rules.window, zone=zone)


def _rows(inputs: Inputs, product: Product, stood: Stood, standing: Standing) -> _Rows | None:
    """None before the first prediction."""
    paths, since, begun = ChainPaths(product=product.name), standing.since, stood.begun
    assert stood.release is not None
    assert begun is not None
    table, failures = inputs.table(paths.predictions), inputs.table(paths.service_failures)
    told = inputs.table(paths.outcomes)
    newest: Any = table.select(pl.col("at").max()).collect().item()
    if newest is None and not (failures.select(pl.len()).collect().item()):
        return None
    there = table.collect_schema().names()
    wanted = dict.fromkeys((*_key(product), *_drawn_by(product)))
    extra = [name for name in wanted if name not in _ANSWERS and name in there]
    extra += ["request"] if any(name not in there for name in _drawn_by(product)) else []
    seen = table.select(*_ANSWERS, *extra).filter(pl.col("received") >= since).collect().sort("received", "request_id")
    failed = failures.filter(pl.col("received") >= since).collect()
    followed = pl.concat([seen["commit"], failed["commit"]]).unique().sort().to_list()
    commits = served_under(inputs, paths.release, stood.release, followed)
    answers = seen.filter(pl.col("commit").is_in(commits) & pl.col("propensity").is_not_null())
    past = pl.col("received").is_between(begun - BEFORE, begun, closed="left")
    outcomes = told.filter(pl.col("received") >= since).collect()
    moments: list[Any] = [seen["at"].max(), outcomes["label_known_at"].max()]
    return _Rows(
        seen=seen,
        answers=answers,
        failed=failed.filter(pl.col("commit").is_in(commits)),
        failures=failed,
        before=table.select("received", "latency_us").filter(past).collect(),
        failures_before=failures.filter(past).collect(),
        outcomes=outcomes,
        first=_first(table, seen, since),
        now=max((one for one in moments if one is not None), default=since),
    )


def _first(table: pl.LazyFrame, seen: pl.DataFrame, since: datetime) -> datetime | None:
    """Where the time of the requests stood when the first one of a stage came in.

    A request about last month that comes in first does not make a stage last a month: time goes on from where it stood. Unless all
    of it lies further back, as when a past is played again.
    """
    if not seen.height:
        return None
    before: Any = table.filter(pl.col("received") < since).select(pl.col("at").max()).collect().item()
    first, newest = seen["at"][0], seen["at"].max()
    return before if before is not None and first < before <= newest else first


def _evaluation(inputs: Inputs, product: Product, version: str) -> dict[str, Any]:
    """The newest evaluation of a version; empty when there is none."""
    path = ChainPaths(product=product.name).evaluation
    for commit in inputs.history(path):
        output = commit.provenance.output(path) if commit.provenance is not None else None
        if output is None or output.facts.get(VERSION_FACT) != version:
            continue
        past = inputs.previous(path, commit=commit.id)
        if past is None:
            return {}
        found: dict[str, Any] = json.loads((past.folder(path) / EVALUATION_FILE).read_text())["evaluation"]
        return found
    return {}


def _wrong_allowed(product: Product, evaluation: Mapping[str, Any]) -> float | None:
    """Share of wrong decisions that breaks the promise, where one was made: bad weather makes every version worse."""
    if product.service_levels is None or not evaluation:
        return None
    found = next((one["value"] for one in evaluation["metrics"] if one["name"] == "accuracy"), None)
    return None if found is None else 1 - found * (1 - product.service_levels.accuracy_drop)


def _compared_before(evaluation: Mapping[str, Any], candidate: str) -> dict[str, Any] | None:
    """How candidate and champion compared on the newest labelled rows, before anybody was answered."""
    champion = evaluation.get("champion") if evaluation else None
    if not champion:
        return None
    told = [
        {name: one["metric"][name] for name in ("name", "value", "low", "high", "n")} for one in champion["differences"]
    ]
    return {"candidate": candidate, "against": champion["version"], "rows": evaluation["rows"], "differences": told}


def _business(counts: "StageCounts", costs: "DecisionCosts | None") -> dict[str, Any] | None:
    from headwater.monitoring import price_of

    if costs is None:
        return None
    sides = {"candidate": counts.versus.candidate, "other": counts.versus.other}
    means = {name: price_of(side.mean, costs) if side.count else None for name, side in sides.items()}
    return {"unit": costs.unit, "span": price_of(1, costs) - price_of(0, costs), **means}


def _wrong(versus: Versus, *, alpha: float) -> dict[str, Any]:
    """The model's own metric beside the business's."""
    return {
        **vars(versus.effect(alpha=alpha)),
        "candidate_share": versus.candidate.mean if versus.candidate.count else None,
        "other_share": versus.other.mean if versus.other.count else None,
    }


def _shares(standing: Standing) -> dict[str, float]:
    return {standing.other: 1 - standing.share, standing.candidate: standing.share}


def _split(product: Product, standing: Standing, answers: pl.DataFrame) -> dict[str, Any] | None:
    """Whether events were split as declared; None where nothing is split."""
    from headwater.monitoring import sample_ratio

    if not 0 < standing.share < 1:
        return None
    units = _units(product, answers)
    if not units.height:
        return None
    counts = {str(name): count for name, count in units.group_by("variant").len().iter_rows()}
    known = {name: counts.get(name, 0) for name in _shares(standing)}
    return sample_ratio(known, _shares(standing)).to_json()


def _key(product: Product) -> tuple[str, ...]:
    assert product.labels is not None
    return product.labels.key


def _drawn_by(product: Product) -> tuple[str, ...]:
    """Request fields by which the service draws a version."""
    return product.serving.assign_by or _key(product)


def _units(product: Product, answers: pl.DataFrame) -> pl.DataFrame:
    """The first answer to each unit that was drawn: requests that were drawn together are one. None where the log must not name it."""
    names = _drawn_by(product)
    said = [
        pl.col(name).cast(pl.String).alias(f"__{name}")
        if name in answers.columns
        else pl.col("request").str.json_path_match(f"$['{name}']").alias(f"__{name}")
        for name in names
    ]
    unit = [f"__{name}" for name in names]
    return answers.with_columns(said).drop_nulls(unit).unique(unit, keep="first", maintain_order=True)


def _test(product: Product, standing: Standing, rows: _Rows) -> dict[str, Any] | None:
    """The report of a test of the two versions, for one look: power, and rows that it would need."""
    from headwater.monitoring import Experiment, experiment_report

    if not 0 < standing.share < 1:
        return None
    rules, key = product.rollout.rules, list(_key(product))
    own = rows.outcomes.join(rows.answers.select("request_id"), on="request_id", how="semi").drop_nulls(key)
    if not own.height:
        return None
    experiment = Experiment(
        shares=_shares(standing),
        control=standing.other,
        unit=tuple(key),
        effect=-rules.canary_margin,
        alpha=rules.alpha,
        costs=costs_of(product),
        min_coverage=rules.min_coverage,
    )
    return experiment_report(own, experiment=experiment).to_json()
