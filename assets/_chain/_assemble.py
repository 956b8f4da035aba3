"""All assets of a product, in an order in which each comes after what it reads."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from assets._chain._dbt import dbt_assets_of
from assets._chain._landing import landing_asset
from headwater.product import Asset, DeclarationError, Product


def chain_of(product: Product, manifest: Mapping[str, Any] | None = None) -> tuple[Asset, ...]:
    """Landing, datasets, features, training set, model, evaluation, cards, drift report, release.

    Args:
        product: The declaration.
        manifest: dbt's manifest, needed when the product has dbt models.

    Raises:
        DeclarationError: Two assets share a path, or an input belongs to nobody.
    """
    from assets._chain._models import model_chain

    declared = [
        *(landing_asset(product.name, source) for source in product.sources),
        *product.assets,
        *(dbt_assets_of(product, manifest) if manifest is not None else ()),
        *model_chain(product),
    ]
    return _ordered(declared)


def _ordered(declared: list[Asset]) -> tuple[Asset, ...]:
    by_path: dict[str, Asset] = {}
    for asset in declared:
        if asset.path in by_path:
            raise DeclarationError(
                what="Asset", name=asset.path, problem="two assets have this path.", remedy="Rename one of them."
            )
        by_path[asset.path] = asset
    try:
        order = TopologicalSorter({path: asset.inputs for path, asset in by_path.items()}).static_order()
        return tuple(by_path[path] for path in order if path in by_path)
    except CycleError as error:
        raise DeclarationError(
            what="Asset", name=str(error.args[1][0]), problem="it reads itself in a circle.", remedy="Use `previous`."
        ) from error
