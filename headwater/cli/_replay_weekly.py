"""What a replay is compared with: the same training once a week, on all that was known by then, whoever would have released it."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from headwater.lake import Lake

if TYPE_CHECKING:
    from headwater.models import Bundle
    from headwater.product import Asset, Product
    from resources.settings import Settings

_COST_FILE: Final = "cost.json"
_BUNDLE: Final = "bundle"


@dataclass(frozen=True, kw_only=True)
class WeeklyModels:
    """The models that there are.

    Attributes:
        bundles: First instant of a week to the model that was trained then. A week is missing where too little was known, or where
            the tables do not reach yet.
        cpu_seconds: Processor time that their trainings took.
    """

    bundles: "Mapping[datetime, Bundle]"
    cpu_seconds: float


def weekly_models(
    product: "Product",
    lake: Lake,
    settings: "Settings",
    folder: Path,
    weeks: Sequence[datetime],
    told: Callable[[str], None] = lambda line: None,
) -> WeeklyModels:
    """The models of some weeks; those that were not trained yet are trained now, if the feature tables are up to date.

    Labels and features are taken as they were known at the week's first instant, so it does not matter when it is done. Models are
    kept: a replay trains each once.

    Args:
        product: The product, with a model.
        lake: Its lake.
        settings: Which branch, and where files land.
        folder: Where the replay keeps things.
        weeks: First instants.
        told: Gets a line for each training.
    """
    from assets._declared import declared
    from headwater.models import read_bundle

    assets = declared(product)
    kept = folder / "weekly" / _recipe(product, assets)
    missing = [week for week in weeks if not (kept / _name(week) / _COST_FILE).is_file()]
    if missing and _up_to_date(product, lake, settings, assets):
        _train(product, lake, settings, kept, missing, told)
    there = {week: kept / _name(week) for week in weeks if (kept / _name(week) / _COST_FILE).is_file()}
    return WeeklyModels(
        bundles={week: read_bundle(place / _BUNDLE) for week, place in there.items() if (place / _BUNDLE).is_dir()},
        cpu_seconds=sum(json.loads((place / _COST_FILE).read_text())["cpu_seconds"] for place in there.values()),
    )


def _train(
    product: "Product",
    lake: Lake,
    settings: "Settings",
    kept: Path,
    weeks: Sequence[datetime],
    told: Callable[[str], None],
) -> None:
    from assets._chain._model import declaration_of
    from assets._chain._retraining import up_to
    from assets._chain._training_set import labelled_features, split_of
    from headwater.models import UnusableDataError
    from headwater.models.bundle import write_bundle
    from headwater.models.training import train_model

    labels, snapshot = product.labels, lake.at(settings.branch)
    assert labels is not None
    rows = labelled_features(product, snapshot.table(labels.path), snapshot.table)
    known = labels.known_at or labels.time
    shutil.rmtree(kept / ".part", ignore_errors=True)
    for week in weeks:
        told(f"            the model of the week of {week:%Y-%m-%d} is trained, to compare with")
        begun, part = time.process_time(), kept / ".part"
        part.mkdir(parents=True)
        try:
            there = rows.filter(pl.col(known).is_null() | up_to(rows.lazy(), known, week))
            parts = split_of(product).apply(there)
            write_bundle(part / _BUNDLE, train_model(parts.train, parts.validation, declaration_of(product)))
        except UnusableDataError:
            shutil.rmtree(part / _BUNDLE, ignore_errors=True)  # too little was known by then
        (part / _COST_FILE).write_text(json.dumps({"cpu_seconds": time.process_time() - begun}) + "\n")
        part.rename(kept / _name(week))


def _recipe(product: "Product", assets: "Sequence[Asset]") -> str:
    """Names how it is trained: a model that was trained otherwise is another one."""
    from assets._chain._paths import ChainPaths
    from headwater.code_version import code_version

    paths = ChainPaths(product=product.name)
    codes = [code_version(asset) for asset in assets if asset.path in (paths.training_set, paths.model)]
    return hashlib.sha256(" ".join(codes).encode()).hexdigest()[:16]


def _up_to_date(product: "Product", lake: Lake, settings: "Settings", assets: "Sequence[Asset]") -> bool:
    """Whether labels and feature tables are built from all that has landed."""
    from assets._plan import ancestors, stale_assets

    assert product.labels is not None
    read = {product.labels.path, *(view.path for view in product.features)}
    above = ancestors({asset.path: asset.inputs for asset in assets})
    read |= {path for name in tuple(read) for path in above.get(name, ())}
    stale = stale_assets(lake, assets, branch=settings.branch, landing=settings.landing)
    return not read & {item.path for item in stale}


def _name(week: datetime) -> str:
    return f"{week.astimezone(UTC):%Y%m%dT%H%M%SZ}"
