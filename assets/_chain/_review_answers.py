"""What people said of uncertain predictions: empty until `headwater review` writes into it."""

from assets._chain._kept_table import kept_table
from assets._chain._paths import ChainPaths
from headwater.product import Asset, Product
from headwater.review import SCHEMA


def review_answers_asset(product: Product) -> Asset:
    """The table of answers of a product with a review. A build keeps what stands; people add to it."""
    return kept_table(
        ChainPaths(product=product.name).review_answers,
        SCHEMA,
        "What people said of uncertain predictions: a label or that they cannot tell, with reason and author.",
    )
