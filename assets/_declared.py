"""Every product's declared assets, dbt's models among them. No Dagster, so that the command line starts fast."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from assets._chain import chain_of
from assets._products import products
from headwater.product import Asset, Product
from resources.dbt import ensure_manifest


@cache
def manifest() -> Mapping[str, Any] | None:
    """dbt's manifest, parsed by dbt again when it was older than the project; None when no product uses dbt."""
    return json.loads(ensure_manifest().read_text()) if any(product.dbt for product in products()) else None


_chains: dict[str, tuple[Asset, ...]] = {}


def declared(product: Product) -> tuple[Asset, ...]:
    """Every asset of a product, each after what it reads."""
    if product.name not in _chains:
        _chains[product.name] = chain_of(product, manifest())
    return _chains[product.name]


def all_declared() -> tuple[Asset, ...]:
    """Every asset of every product."""
    return tuple(asset for product in products() for asset in declared(product))


def built_by_dbt(product: Product) -> frozenset[str]:
    """Paths of the product's dbt models."""
    return frozenset(product.dbt.models.values()) if product.dbt else frozenset()
