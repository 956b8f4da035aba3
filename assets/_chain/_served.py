"""The data quality of what is served: what versions looked up and did not find, in the newest 24 hours, beside their training."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._paths import ChainPaths
from assets._chain._versions import published_folder
from headwater.models.bundle import read_request
from headwater.product import Inputs, Product

if TYPE_CHECKING:
    from headwater.monitoring import ServiceLevels

_DAY: Final = timedelta(days=1)


def served_of(
    inputs: Inputs, product: Product, answers: pl.LazyFrame, *, now: datetime, levels: "ServiceLevels"
) -> list[dict[str, Any]]:
    """What the versions read in the last 24 hours of the service's clock: one night has other features than a whole day.

    Args:
        inputs: Of an asset that names the model as `previous`.
        product: The product.
        answers: The predictions.
        now: As of when.
        levels: Its promises: so many requests are needed for a problem.

    Returns:
        Each `ServedView` as it is recorded.
    """
    from headwater.monitoring import served_views

    rows = answers.filter((pl.col("received") > now - _DAY) & (pl.col("received") <= now)).select("version", "reasons")
    frame = rows.collect()
    trained = {version: _trained(inputs, product, version) for version in frame["version"].unique().sort()}
    return [one.to_json() for one in served_views(frame, trained=trained, min_answers=levels.min_requests)]


def _trained(inputs: Inputs, product: Product, version: str) -> Mapping[str, float]:
    """By view the share of a version's training that read nothing but defaults; empty where its bundle does not say, or is not there."""
    folder = published_folder(inputs, ChainPaths(product=product.name).model, version)
    schema = read_request(folder)[0] if folder is not None else None
    return schema.defaulted if schema is not None else {}
