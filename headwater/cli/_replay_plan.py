"""What of a product is built on each day of a replay, and what may wait for a training."""

from collections.abc import Sequence

from assets._chain._paths import ChainPaths
from assets._plan import ancestors, below
from headwater.product import Asset, Product


def watched_assets(product: Product, assets: Sequence[Asset]) -> frozenset[str]:
    """The assets that answers, reports and decisions of a day rest on.

    What only a training set reads is not among them: it changes nothing before a training is ordered. Nor are the online features
    and their tables where streams carry on every feature that comes in day by day.

    Args:
        product: The product.
        assets: Its declared assets, ordered.
    """
    paths = ChainPaths(product=product.name)
    trained = below(frozenset({paths.training_set}), assets) if product.retraining is not None else frozenset()
    goals = {paths.training_order, paths.rollout_step, paths.performance_causes, paths.service_report}
    above = ancestors({asset.path: asset.inputs for asset in assets if asset.path not in trained})
    if not _streams_carry_on(product, assets):
        goals.add(paths.online_features)
    if product.retraining is None:  # nothing waits for an order
        goals.add(paths.release)
    there = goals & {asset.path for asset in assets} - trained
    return frozenset(there.union(*(above[path] for path in there)))


def _streams_carry_on(product: Product, assets: Sequence[Asset]) -> bool:
    """Whether every view whose table grows by landed partitions is carried on by a stream."""
    above = ancestors({asset.path: asset.inputs for asset in assets})
    partitioned = {asset.path for asset in assets if asset.partitions is not None}
    streamed = {each.view for each in product.streams}
    return all(
        view.name in streamed or not ({view.path, *above.get(view.path, ())} & partitioned) for view in product.features
    )
