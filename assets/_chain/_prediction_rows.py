"""Records of the prediction log as rows: columns, key columns, what is no row, what was there before."""

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    from serving.prediction_log import Placed, PredictionRecord

AT: Final = "at"
UTC_TIME: Final = pl.Datetime("us", "UTC")
COLUMNS: Final[Mapping[str, pl.DataType]] = {
    "request_id": pl.String(), AT: UTC_TIME, "received": UTC_TIME, "latency_us": pl.Int64(), "log_us": pl.Int64(),
    "version": pl.String(), "variant": pl.String(), "propensity": pl.Float64(), "score": pl.Float64(), "decision": pl.Boolean(),
    "shadows": pl.String(), "request": pl.String(), "features": pl.String(), "reasons": pl.String(),
    "online": pl.String(), "commit": pl.String(), "caller": pl.String(), "trace": pl.String(),
}  # fmt: skip
"""Those of every product; the columns of the label's key follow. Mappings are JSON with sorted keys."""
REJECTED: Final[Mapping[str, pl.DataType]] = {
    "segment": pl.String(), "end": pl.Int64(), "problem": pl.String(), "record": pl.Binary(), "received": UTC_TIME,
}  # fmt: skip
"""What is no row: where it stood in the log, why, its bytes, and when it came in, or was set aside where they do not say that."""
PLACE: Final = "__place"
_ANSWER: Final = "__answer"
_WHEN: Final = frozenset({"received", "latency_us", "log_us", "trace"})
"""What a second answer to one request may have otherwise without saying anything else."""
_FIRST_TIME: Final = -62_135_596_800_000_000
_LAST_TIME: Final = 253_402_300_799_999_999
"""Microseconds since 1970 of the first and the last instant that Delta and Python both have (years 1 to 9999)."""
_LARGEST: Final = 2**63
_HAIR: Final = 1e-9
"""By so much services of before let the score of an ensemble exceed 1."""


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Records as rows, and those that are none.

    Attributes:
        rows: `COLUMNS`, key columns, and `PLACE`: the record's place among all.
        rejected: Place and problem of each other record.
    """

    rows: pl.DataFrame
    rejected: Mapping[int, str]


def sort_out(records: "Sequence[Placed]", product: str, key: Mapping[str, pl.DataType]) -> Sorted:
    """Rows of the records of a product.

    Args:
        records: As they stand in the log.
        product: Its name; a record of another one is no row.
        key: Dtypes of the columns of the label's key.
    """
    from serving.prediction_log import RecordFormatError, decode_record

    rows: list[dict[str, Any]] = []
    requests: list[Mapping[str, Any]] = []
    rejected: dict[int, str] = {}
    for place, placed in enumerate(records):
        try:
            record = decode_record(placed.data)
            rows.append({**_cells(record, product), PLACE: place})
            requests.append(record.request)
        except (RecordFormatError, _NoRowError) as error:
            rejected[place] = str(error)
    frame = pl.DataFrame(rows, schema={**COLUMNS, PLACE: pl.Int64()}, orient="row")
    own = [typed_column(name, [request.get(name) for request in requests], dtype) for name, dtype in key.items()]
    return Sorted(rows=frame.with_columns(own).select(*COLUMNS, *key, PLACE), rejected=rejected)


def from_requests(rows: pl.LazyFrame, key: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Rows that stand in other columns: keys of other dtypes are read from the requests again; those of an older Headwater have no `log_us`."""
    there = rows.collect_schema()
    own = [
        _from_text(pl.col("request").str.json_path_match(f"$['{name}']"), dtype).alias(name)
        for name, dtype in key.items()
        if there.get(name) != dtype
    ]
    later = [] if "log_us" in there else [pl.lit(0, pl.Int64()).alias("log_us")]
    return rows.with_columns(*own, *later).select(*COLUMNS, *key)


def first_answers(
    rows: pl.DataFrame, standing: pl.LazyFrame | None, unique_for: timedelta
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that repeat no other answer, and those of the others that say something else than the answer they repeat.

    A row repeats the first answer to its request id that came in at most `unique_for` before or after it.

    Args:
        rows: With `PLACE`, in the order in which they were answered.
        standing: The table, None without one.
        unique_for: For how long a request id stands for one request.
    """
    known = _standing(rows, standing, unique_for)
    both = pl.concat([known, rows.select(known.columns)])
    answers = _answers(both, known.height, unique_for)
    again = rows.with_columns(answers).filter(pl.col(_ANSWER).is_not_null())
    first = both[again[_ANSWER]]
    said = [name for name in known.columns if name not in _WHEN and name != "request_id"]
    same = [again[name].eq_missing(first[name]).alias(name) for name in said]
    contrary = again.filter(~pl.DataFrame(same).select(pl.all_horizontal(pl.all())).to_series())
    return rows.join(again, on=PLACE, how="anti", maintain_order="left"), contrary.drop(_ANSWER)


def _answers(both: pl.DataFrame, known: int, unique_for: timedelta) -> pl.Series:
    """Of each row behind the first `known` the place, among all, of the first answer that it repeats; null where it repeats none."""
    span = unique_for // timedelta(microseconds=1)
    found: list[int | None] = [None] * (both.height - known)
    firsts: dict[str, list[tuple[int, int]]] = {}
    asked = both.select(pl.int_range(pl.len()).alias(PLACE), "request_id", pl.col("received").dt.epoch("us"))
    for place, name, received in asked.filter(pl.col("request_id").is_duplicated()).iter_rows():
        times = firsts.setdefault(name, [])
        after = bisect(times, (received, place))
        near = [one for one in times[max(after - 1, 0) : after + 1] if abs(one[0] - received) <= span]
        if place >= known and near:
            found[place - known] = min(near, key=lambda one: abs(one[0] - received))[1]
        else:
            times.insert(after, (received, place))
    return pl.Series(_ANSWER, found, dtype=pl.Int64)


def _standing(rows: pl.DataFrame, standing: pl.LazyFrame | None, unique_for: timedelta) -> pl.DataFrame:
    """The rows of the table that a row may repeat: ids are read first, all else only of those that meet."""
    columns = [name for name in rows.columns if name == "received" or name not in (*_WHEN, PLACE)]
    if standing is None or not rows.height:
        return rows.select(columns).clear()
    oldest, newest = rows.select(pl.col("received").min(), newest=pl.col("received").max()).row(0)
    near = standing.filter(pl.col("received").is_between(_moved(oldest, -unique_for), _moved(newest, unique_for)))
    asked = rows.lazy().select("request_id").unique()
    met = near.select("request_id").join(asked, on="request_id", how="semi").collect()["request_id"]
    if met.is_empty():
        return rows.select(columns).clear()
    return near.filter(pl.col("request_id").is_in(met.unique().implode())).select(columns).collect()


def _moved(moment: datetime, by: timedelta) -> datetime:
    """An instant some time earlier or later, within the years that there are."""
    try:
        return moment + by
    except OverflowError:
        return (datetime.max if by > timedelta(0) else datetime.min).replace(tzinfo=UTC)


class _NoRowError(Exception):
    """A record that the table cannot hold."""


def _cells(record: "PredictionRecord", product: str) -> dict[str, Any]:
    import msgspec

    if record.product != product:
        raise _NoRowError(f"It is of product {record.product!r}.")
    for name in ("at", "received"):
        if not _FIRST_TIME <= getattr(record, name) <= _LAST_TIME:
            raise _NoRowError(f"Its {name!r} lies outside the years 1 to 9999.")
    times = {"latency_us": record.latency, "log_us": record.log}
    if not all(-_LARGEST <= time < _LARGEST for time in times.values()):
        raise _NoRowError("Its latency, or the time of the log, is no 64-bit number.")
    if not all(0 <= score <= 1 + _HAIR for score in (record.score, *record.shadows.values())):  # so is NaN none
        raise _NoRowError("A score in it is no number from 0 to 1.")
    encode = msgspec.json.Encoder(order="deterministic").encode
    try:
        texts = {name: encode(getattr(record, name)).decode() for name in ("shadows", "request", "features", "reasons")}
    except (TypeError, ValueError, OverflowError) as error:
        raise _NoRowError(f"It holds what JSON cannot: {error}") from error
    plain = {name: getattr(record, name) for name in COLUMNS if name not in times and name not in texts}
    return {**plain, **texts, **times, "score": min(record.score, 1.0)}


def typed_column(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """Values of requests as a column; null where they are none of its dtype. Times are microseconds since 1970, dates also texts."""
    if isinstance(dtype, pl.Datetime | pl.Date) or dtype.is_integer():
        whole = [value if type(value) is int and -_LARGEST <= value < _LARGEST else None for value in values]
        found = _whole(pl.Series(name, whole, dtype=pl.Int64), dtype)
        if dtype == pl.Date:  # the engine logs days as texts
            days = pl.Series(name, [value if type(value) is str else None for value in values], dtype=pl.String)
            return days.str.to_date("%Y-%m-%d", strict=False).zip_with(found.is_null(), found)
        return found
    wanted: tuple[type, ...] = (str,)
    if dtype == pl.Boolean:
        wanted = (bool,)
    elif dtype.is_float():
        wanted = (int, float)
    held = [value if type(value) in wanted else None for value in values]
    inner = pl.Float64() if dtype.is_float() else pl.Boolean() if dtype == pl.Boolean else pl.String()
    return pl.Series(name, held, dtype=inner, strict=False).cast(dtype, strict=False)


def _whole(numbers: pl.Series, dtype: pl.DataType) -> pl.Series:
    return pl.DataFrame([numbers]).select(_whole_as(pl.col(numbers.name), dtype))[numbers.name]


def _whole_as(numbers: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if not isinstance(dtype, pl.Datetime | pl.Date):
        return numbers.cast(dtype, strict=False)
    within = pl.when(numbers.is_between(_FIRST_TIME, _LAST_TIME)).then(numbers)
    return within.cast(UTC_TIME).cast(dtype)


def _from_text(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime | pl.Date) or dtype.is_integer():
        whole = _whole_as(text.cast(pl.Int64, strict=False), dtype)
        return pl.coalesce(text.str.to_date("%Y-%m-%d", strict=False), whole) if dtype == pl.Date else whole
    if dtype == pl.Boolean:
        return pl.when(text == "true").then(True).when(text == "false").then(False)
    return text.cast(dtype, strict=False)
