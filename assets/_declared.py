"""Every product's declared assets, dbt's models among them. No Dagster, so that the command line starts fast."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from assets._chain import chain_of
from assets._products import products
from headwater.product import Asset, Product
from resources.dbt import ensure_manifest


@cache
def manifest_path() -> Path | None:
    """dbt's manifest, parsed when it was older than the project; None when no product uses dbt."""
    return ensure_manifest() if any(product.dbt for product in products()) else None


@cache
def _manifest() -> Mapping[str, Any] | None:
    path = manifest_path()
    return json.loads(path.read_text()) if path else None


_chains: dict[str, tuple[Asset, ...]] = {}


def declared(product: Product) -> tuple[Asset, ...]:
    """Every asset of a product, each after what it reads."""
    if product.name not in _chains:
        _chains[product.name] = chain_of(product, _manifest())
    return _chains[product.name]


def built_by_dbt(product: Product) -> frozenset[str]:
    """Paths of the product's dbt models."""
    return frozenset(product.dbt.models.values()) if product.dbt else frozenset()
