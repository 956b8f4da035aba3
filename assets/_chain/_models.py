"""From training set to release: the assets of a product with a model."""

from headwater.product import Asset, Product


def model_chain(product: Product) -> tuple[Asset, ...]:
    """Dataset cards for every product; from training set and online features to release and predictions for one with a model."""
    from assets._chain._cards import dataset_cards_asset, model_card_asset
    from assets._chain._causes import causes_asset
    from assets._chain._drift import drift_assets
    from assets._chain._evaluation import evaluation_asset
    from assets._chain._experiment import experiment_asset
    from assets._chain._failures import failures_asset
    from assets._chain._model import model_asset
    from assets._chain._online import online_asset
    from assets._chain._outcomes import outcomes_asset
    from assets._chain._performance import performance_asset
    from assets._chain._prediction_day import prediction_day_asset
    from assets._chain._predictions import predictions_asset
    from assets._chain._release import release_asset
    from assets._chain._release_orders import release_orders_asset, release_refusals_asset
    from assets._chain._retraining import retraining_assets
    from assets._chain._review_answers import review_answers_asset
    from assets._chain._rollout import rollout_assets
    from assets._chain._served_parity import served_parity_asset
    from assets._chain._service_report import service_report_asset
    from assets._chain._training_set import training_set_asset

    cards = (dataset_cards_asset(product),) if any("/datasets/" in asset.path for asset in product.assets) else ()
    if product.labels is None:
        return cards
    if product.model is None:
        return (*cards, training_set_asset(product))
    online = (online_asset(product),) if product.features else ()
    return (
        *cards,
        *online,
        training_set_asset(product),
        model_asset(product),
        evaluation_asset(product),
        model_card_asset(product),
        *drift_assets(product),
        release_orders_asset(product),
        release_refusals_asset(product),
        failures_asset(product),
        experiment_asset(product),
        *rollout_assets(product),
        release_asset(product),
        predictions_asset(product),
        prediction_day_asset(product),
        *((served_parity_asset(product),) if product.features else ()),
        *((review_answers_asset(product),) if product.review is not None else ()),
        outcomes_asset(product),
        performance_asset(product),
        causes_asset(product),
        service_report_asset(product),
        *retraining_assets(product),
    )
