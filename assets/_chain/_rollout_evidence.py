"""The evidence of a rollout: what the lake knows of the requests since its stage began."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._evaluation import EVALUATION_FILE
from assets._chain._kept_evidence import about_the_same, dropped_since, earliest, recorded
from assets._chain._paths import ChainPaths
from assets._chain._rollout_rows import StageRows, of_watch, stage_rows
from assets._chain._rollout_standing import standing_of
from assets._chain._rules_of_requests import drawn_by, levels_of
from assets._chain._versions import published_folder
from headwater.decisions import RolloutEvidence, Standing, Versus
from headwater.product import Inputs, Product

if TYPE_CHECKING:
    from headwater.monitoring import DecisionCosts, StageCounts, Windowing


UNIT: Final = "drawn_unit"
"""Column of what an answer was drawn by, as monitoring reads it."""
_BETWEEN: Final = "\x1f"
_FEW_WINDOWS: Final = 3


def rollout_evidence(inputs: Inputs, product: Product, past: Mapping[str, Any] | None) -> RolloutEvidence:
    """What a decision about the product's rollout looks at. Of a watch that is over, what was asked in its time.

    Args:
        inputs: As the decision reads them.
        product: The product.
        past: The document of the decision before, None before the first.
    """
    stood = standing_of(inputs, product)
    if stood.standing is None:
        return RolloutEvidence(standing=None, idle=stood.idle)
    rules, standing = product.rollout.rules, stood.standing
    before, rows = about_the_same(past, standing.since_commit), stage_rows(inputs, product, stood)
    received = earliest(rows.seen["received"].min() if rows is not None else None, recorded(before, "received"))
    dropped = dropped_since(inputs, product, earliest(standing.since, received))
    # Of what lost its rows time goes on from where it began and stood.
    first, now = (recorded(before, name) if dropped is not None else None for name in ("first", "now"))
    if rows is None:
        return RolloutEvidence(standing=standing, now=now, first=first, received=received, dropped_until=dropped)
    rows = replace(rows, first=first or rows.first, now=rows.now if rows.first is not None else now or rows.now)
    is_watched = standing.is_watch and not standing.is_compared
    if is_watched and rows.first is not None and rows.now - rows.first >= rules.watch:
        rows = of_watch(rows, watch=rules.watch, windowing=windowing_of(product), received=received)
    return replace(_measured(inputs, product, standing, rows), received=received, dropped_until=dropped)


def _measured(inputs: Inputs, product: Product, standing: Standing, rows: StageRows) -> RolloutEvidence:
    from headwater.monitoring import count_requests, stage_counts, traffic_before

    rules, levels, costs = product.rollout.rules, levels_of(product), costs_of(product)
    judged = {name: evaluation_of(inputs, product, name) for name in (standing.candidate, standing.other)}
    counts = stage_counts(
        with_units(product, rows.answers), rows.failed, rows.outcomes, standing=standing, per=counted_per(product),
        thresholds={name: found["threshold"] for name, found in judged.items() if found},
        slow=levels.latency, costs=costs, windowing=windowing_of(product), min_coverage=rules.min_coverage, now=rows.now,
        first=rows.first,
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
        seen=count_requests(rows.seen) + int(rows.failures["count"].sum()),
        candidate=counts.candidate,
        other=counts.other,
        before=traffic_before(rows.before, rows.failures_before, slow=levels.latency),
        versus=counts.versus,
        unsettled=counts.unsettled,
        split_p=split["p_value"] if split else None,
        mismatch=bool(split and split["mismatch"]),
        errors_allowed=levels.errors,
        slow_allowed=1 - levels.latency_share,
        **_accuracy(product, standing, rows, judged, counts.versus_wrong),
        facts=facts,
    )


def costs_of(product: Product) -> "DecisionCosts | None":
    """The business metric."""
    return product.performance.costs if product.performance is not None else None


def windowing_of(product: Product) -> "Windowing":
    """The windows whose labels count together."""
    from headwater.monitoring import Windowing

    zone = product.performance.windowing.zone if product.performance is not None else product.split.timezone
    return Windowing(length=product.rollout.rules.window, zone=zone)


def evaluation_of(inputs: Inputs, product: Product, version: str) -> dict[str, Any]:
    """The newest evaluation of a version; empty when there is none."""
    folder = published_folder(inputs, ChainPaths(product=product.name).evaluation, version)
    if folder is None:
        return {}
    found: dict[str, Any] = json.loads((folder / EVALUATION_FILE).read_text())["evaluation"]
    return found


def _accuracy(
    product: Product,
    standing: Standing,
    rows: StageRows,
    judged: Mapping[str, Mapping[str, Any]],
    versus_wrong: Versus,
) -> dict[str, Any]:
    """What says how good a version in its watch decides: empty before that."""
    from headwater.monitoring import wrong_by_window

    levels = levels_of(product)
    if not standing.is_watch:
        return {}
    how: dict[str, Any] = {
        "windowing": windowing_of(product),
        "min_coverage": product.rollout.rules.min_coverage,
        "now": rows.now,
    }
    now = wrong_by_window(rows.answers, rows.outcomes, version=standing.candidate, first=rows.first, **how)
    return {
        "accuracy_drop": levels.accuracy_drop,
        "wrong_now": now,
        "wrong_before": wrong_by_window(rows.long_before, rows.told_before, version=standing.other, first=None, **how),
        "versus_wrong": versus_wrong,
        "wrong_allowed": _wrong_allowed(product, judged[standing.other] or judged[standing.candidate], len(now)),
    }


def _wrong_allowed(product: Product, evaluation: Mapping[str, Any], windows: int) -> float | None:
    """Share of wrong decisions that breaks the promise; of one that nobody declared not before some windows were seen.

    By its evaluation nobody knows by how much days differ: one bad day would send a version back.
    """
    if not evaluation or (product.service_levels is None and windows < _FEW_WINDOWS):
        return None
    found = next((one["value"] for one in evaluation["metrics"] if one["name"] == "accuracy"), None)
    return None if found is None else 1 - found * (1 - levels_of(product).accuracy_drop)


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
    units = drawn_units(product, answers)
    if not units.height:
        return None
    counts = {str(name): count for name, count in units.group_by("variant").len().iter_rows()}
    known = {name: counts.get(name, 0) for name in _shares(standing)}
    return sample_ratio(known, _shares(standing)).to_json()


def drawn_units(product: Product, answers: pl.DataFrame) -> pl.DataFrame:
    """The first answer to each unit that was drawn. None where the log must not name it."""
    return with_units(product, answers).drop_nulls(UNIT).unique(UNIT, keep="first", maintain_order=True)


def with_units(product: Product, answers: pl.DataFrame) -> pl.DataFrame:
    """Answers with what each of them was drawn by: requests that were drawn together have one unit.

    Where a field is absent a request was drawn by its own id. Null where the log must not name the unit.
    """
    names = drawn_by(product)
    if set(names) & set(product.serving.redacted):
        return answers.with_columns(pl.lit(None, pl.String).alias(UNIT))
    time = product.labels.time if product.labels is not None else ""
    columns = {name: "at" if name == time else name for name in names}
    said = [
        pl.col(column).cast(pl.String)
        if column in answers.columns
        else pl.col("request").str.json_path_match(f"$['{name}']")
        for name, column in columns.items()
    ]
    drawn = pl.concat_str(pl.lit("drawn by"), *said, separator=_BETWEEN)
    return answers.with_columns(drawn.fill_null(pl.col("request_id")).alias(UNIT))


def counted_per(product: Product) -> tuple[str, ...]:
    """What counts once in a comparison, in words: fields by which versions are drawn. Empty where each labelled event is drawn by itself."""
    assert product.labels is not None
    names = drawn_by(product)
    if set(product.labels.key) <= set(names):
        return ()
    hidden = product.serving.redacted
    return tuple(f"{name}, which the log must not hold" if name in hidden else name for name in names)


def _test(product: Product, standing: Standing, rows: StageRows) -> dict[str, Any] | None:
    """The report of a test of the two versions."""
    if not 0 < standing.share < 1:
        return None
    return plain_test(product, rows.answers, rows.outcomes, shares=_shares(standing), control=standing.other)


def plain_test(
    product: Product, answers: pl.DataFrame, outcomes: pl.DataFrame, *, shares: Mapping[str, float], control: str
) -> dict[str, Any] | None:
    """The report of a plain test of versions, for one look: power, and the rows that it would need. None before an outcome is known.

    Args:
        product: The product.
        answers: What the policy drew.
        outcomes: What became of it.
        shares: Version to its share.
        control: Whom the others are compared with.
    """
    from headwater.monitoring import Experiment, experiment_report

    rules, units = (
        product.rollout.rules,
        with_units(product, answers).select("request_id", "received", UNIT).drop_nulls(),
    )
    own = outcomes.join(units, on=["request_id", "received"])
    if not own.height:
        return None
    experiment = Experiment(
        shares=dict(shares),
        control=control,
        unit=(UNIT,),
        effect=-rules.canary_margin,
        alpha=rules.alpha,
        costs=costs_of(product),
        min_coverage=rules.min_coverage,
    )
    return experiment_report(own, experiment=experiment).to_json()
