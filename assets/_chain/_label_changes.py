"""Labels that were known and are others now: beside the outcomes of their events, for who has to know what was judged on them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from headwater.product import Audit, Check, Labels, Severity, Verdict

BEFORE: Final = "label_before"
CHANGE: Final = "label_change"
CHANGED_AT: Final = "label_changed_at"
CHANGED_IN: Final = "label_changed_in"
CHANGE_COLUMNS: Final[Mapping[str, pl.DataType]] = {
    BEFORE: pl.Int8(), CHANGE: pl.String(), CHANGED_AT: pl.Datetime("us", "UTC"), CHANGED_IN: pl.String(),
}  # fmt: skip
"""Of an outcome whose label changed after it was known: what it was, how it changed, as of when that was seen, and the commit that
wrote the labels then. Null where nothing changed, or the label is again what it was; of several changes the newest."""
WARNED_FOR: Final = timedelta(days=28)
"""So long a change that was seen is told: a build every few minutes would else hide it with the next one."""
_SHOWN: Final = 20
_GIVEN: Final = ("known", "none")
_PREDICTION: Final = ("request_id", "received")
"""What names a prediction: an id may be used again (`Serving.unique_for`)."""


def with_label_changes(
    rows: pl.DataFrame,
    before: pl.LazyFrame | None,
    truth: pl.DataFrame,
    *,
    declared: Labels,
    now: datetime,
    commit: str,
) -> pl.DataFrame:
    """The outcomes with `CHANGE_COLUMNS`.

    A label that fills a null is a change only where the labels say since when each is known: elsewhere that is how they arrive.

    Args:
        rows: Outcomes as of `now`.
        before: Outcomes of the build before, None before the first. Those of another key are compared with nothing.
        truth: The labels that `rows` are made from.
        declared: Which columns the labels are.
        now: As of when.
        commit: The commit that wrote `truth`.
    """
    key = list(declared.key)
    there = before.collect_schema() if before is not None else pl.Schema()
    if before is None or any(there.get(name) != truth.schema[name] for name in key):  # none, or under another key
        return rows.with_columns(_nothing())
    names = dict.fromkeys(("request_id", "received", *key, "at", "judged", "truth", "label"))
    changes = list(CHANGE_COLUMNS) if CHANGE in there else _nothing()
    stood = before.select(*names, *changes).collect()
    seen = _seen(stood, rows, truth, declared).with_columns(
        pl.lit(now).cast(CHANGE_COLUMNS[CHANGED_AT]).alias(CHANGED_AT), pl.lit(commit).alias(CHANGED_IN)
    )
    known = _still_other(stood.filter(pl.col(CHANGE).is_not_null()), rows, key).select(*key, *CHANGE_COLUMNS)
    newest = pl.concat([seen.select(known.columns), known]).unique(key, keep="first", maintain_order=True)
    if newest.is_empty():
        return rows.with_columns(_nothing())
    return rows.join(newest, on=key, how="left", maintain_order="left")


def _still_other(changed: pl.DataFrame, rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The changes whose label is not again what it was before."""
    given = rows.filter(pl.col("judged"), pl.col("truth").is_in(_GIVEN)).select(*key, pl.col("label").alias(BEFORE))
    return changed.join(given, on=[*key, BEFORE], how="anti", nulls_equal=True, maintain_order="left")


def _seen(stood: pl.DataFrame, rows: pl.DataFrame, truth: pl.DataFrame, declared: Labels) -> pl.DataFrame:
    """Key, `BEFORE` and `CHANGE` of the events whose label is not what the outcomes before say."""
    from headwater.monitoring import changed_labels

    given = stood.filter(pl.col("judged"), pl.col("truth").is_in(_GIVEN))
    now = rows.select(*_PREDICTION, pl.col("truth").alias("__truth"), pl.col("label").alias("__label"))
    both = given.join(now, on=_PREDICTION, how="inner")
    # Only the few that differ are looked at more closely: there are none on most days.
    same = (pl.col("truth") == pl.col("__truth")) & pl.col("label").eq_missing(pl.col("__label"))
    key = list(declared.key)
    other = both.filter(~same).drop_nulls(key)
    if other.is_empty():
        return other.select(*key, pl.col("label").alias(BEFORE), pl.lit("").alias(CHANGE))
    time = {} if declared.time in key else {declared.time: pl.col("at")}
    old = other.select(*key, **time, **{declared.label: pl.col("label")})
    new = truth.join(other.select(key), on=key, how="semi")
    found = changed_labels(old, new, declared=replace(declared, known_at=None)).rows
    if declared.known_at is None:
        found = found.filter(pl.col("change") != "filled")
    return found.select(*key, pl.col("label_before").alias(BEFORE), pl.col("change").alias(CHANGE))


def _nothing() -> list[pl.Expr]:
    return [pl.lit(None, dtype).alias(name) for name, dtype in CHANGE_COLUMNS.items()]


def label_changes(rows: pl.DataFrame, *, key: tuple[str, ...], now: datetime) -> dict[str, Any]:
    """The changes among outcomes, as JSON: how many events, how many of them lately, and the newest ones.

    Args:
        rows: With `CHANGE_COLUMNS`.
        key: Columns that name an event.
        now: As of when.
    """
    changed = rows.filter(pl.col(CHANGE).is_not_null(), pl.col("judged"))
    # Not `now - WARNED_FOR`: `now` may be of the year 1, with nothing before it.
    recent = changed.filter(pl.lit(now) - pl.col(CHANGED_AT) < WARNED_FOR)
    shown = changed.sort(CHANGED_AT, *key, descending=[True, *(False for _ in key)]).head(_SHOWN)
    return {
        "events": changed.height,
        "recent": recent.height,
        "kinds": dict(sorted(recent.group_by(CHANGE).len().iter_rows())),
        "newest": [
            {
                "event": {name: _plain(row[name]) for name in key},
                "at": row["at"].isoformat(),
                "before": row[BEFORE],
                "now": row["label"] if row["truth"] in _GIVEN else None,
                "change": row[CHANGE],
                "seen": row[CHANGED_AT].isoformat(),
                "commit": row[CHANGED_IN],
            }
            for row in shown.iter_rows(named=True)
        ],
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | bool | None) else str(value)


def labels_are_final() -> Check:
    """Warns of labels that changed after they were known."""
    return Check(
        name="labels_are_final",
        judge=_are_final,
        blocking=False,
        severity=Severity.WARN,
        description=f"No label of a predicted event was seen to change in the {WARNED_FOR.days} days before, once it was known: what "
        "was judged on it keeps its numbers.",
    )


def _are_final(audit: Audit) -> Verdict:
    found: Mapping[str, Any] = audit.facts.get("label_changes", {})
    if not (recent := int(found.get("recent", 0))):
        return Verdict(passed=True, facts=found)
    newest = found["newest"][0]
    event = ", ".join(f"{name} {value}" for name, value in newest["event"].items())
    kinds = ", ".join(f"{count} {kind}" for kind, count in found["kinds"].items())
    said = (
        f"{recent} labels changed after they were known ({kinds}). The newest: {event} was {newest['before']} and is {newest['now']}, "
        f"seen as of {newest['seen']} in commit {newest['commit'][:12]}. Windows that are settled keep what was judged on them."
    )
    return Verdict(passed=False, facts=found, description=said)
