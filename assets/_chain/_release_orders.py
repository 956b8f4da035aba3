"""The orders of a product's release, and what was refused of it: empty until somebody orders, or a gate fails."""

from assets._chain._kept_table import kept_table
from assets._chain._paths import ChainPaths
from headwater.product import Asset, Product
from headwater.refusals import SCHEMA as REFUSALS
from headwater.release_orders import SCHEMA


def release_orders_asset(product: Product) -> Asset:
    """The table of orders of a product with a model. A build keeps what stands; commands add to it."""
    return kept_table(
        ChainPaths(product=product.name).release_orders,
        SCHEMA,
        "What people ordered of the release: promote, hold, resume, roll back, deprecate, retire; with reason and actor.",
    )


def release_refusals_asset(product: Product) -> Asset:
    """The table of refusals of a product with a model. A build keeps what stands; refused orders and builds add to it."""
    return kept_table(
        ChainPaths(product=product.name).release_refusals,
        REFUSALS,
        "What was refused of the release: orders that could not be followed, and versions whose gates failed; with evidence.",
    )
