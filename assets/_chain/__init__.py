"""Everything a product gets for its declaration: landing, training set, model, evaluation, cards, drift, release.

No Dagster in here: these modules turn a `Product` into `Asset`s, which `headwater` can run alone.
"""

from assets._chain._assemble import chain_of

__all__ = ["chain_of"]
