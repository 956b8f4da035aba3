"""From training set to release: the assets of a product with a model."""

from assets._chain._cards import dataset_cards_asset, model_card_asset
from assets._chain._drift import drift_assets
from assets._chain._evaluation import evaluation_asset
from assets._chain._model import model_asset
from assets._chain._release import release_asset
from assets._chain._training_set import training_set_asset
from headwater.product import Asset, Product


def model_chain(product: Product) -> tuple[Asset, ...]:
    """Training set, model, evaluation, cards, drift report and release; what needs no model comes for every product."""
    cards = (dataset_cards_asset(product),) if product.sources or product.assets else ()
    if product.labels is None:
        return cards
    if product.model is None:
        return (*cards, training_set_asset(product))
    return (
        *cards,
        training_set_asset(product),
        model_asset(product),
        evaluation_asset(product),
        model_card_asset(product),
        *drift_assets(product),
        release_asset(product),
    )
