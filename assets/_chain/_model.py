"""The model bundle: trained on the training set's train part, tuned on its validation part."""

from functools import partial
from pathlib import Path

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from assets._chain._reference import FEATURES_FILE, kept_months, kept_profile, watched_categories, watched_features
from assets._chain._training_set import SPLIT, TRAIN, VALIDATION
from headwater.lake import Kind
from headwater.models import (
    IDENTITY,
    LightGBMModel,
    LogisticBaseline,
    ModelDeclaration,
    RequestSchema,
    RequestSchemaError,
    ThresholdKind,
    ThresholdRule,
    TorchTabularModel,
    TrainedModel,
    UnusableDataError,
    request_schema,
    train_model,
    write_bundle,
)
from headwater.names import METRICS_FACT, SIGNATURE_FACT
from headwater.product import (
    Asset,
    Audit,
    Check,
    DeclarationError,
    Inputs,
    Product,
    RejectedInputError,
    Result,
    Verdict,
)


def model_asset(product: Product) -> Asset:
    """The model bundle of a product with a model."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.model,
        kind=Kind.FOLDER,
        compute=partial(_train, declaration=declaration_of(product), product=product),
        inputs=(paths.training_set,),
        identity=IDENTITY,
        checks=(
            Check(
                name="bundle_predicts",
                judge=partial(_bundle_predicts, training_set=paths.training_set),
                description="The bundle, read back with its digests verified, scores rows within [0, 1].",
            ),
        ),
        description=f"Model bundle: {product.question}",
        kinds=(product.model.algorithm if product.model else "model",),
        packages=("lightgbm",),
        declaration=declared_values(
            labels=product.labels,
            features=product.features,
            watched=watched_features(product),
            by_season=product.drift.by_season,
            on_demand=[[one.name, one.path, one.inputs] for one in product.on_demand],
        ),
        covers=tuple(one.function for one in product.on_demand),
        versioned=True,
    )


def declaration_of(product: Product) -> ModelDeclaration:
    """What the product's model section asks for, in the adapters' words.

    Raises:
        DeclarationError: No adapter has this name.
    """
    model, labels = product.model, product.labels
    assert model is not None
    assert labels is not None
    threshold = ThresholdRule()
    if model.positive_rate is not None:
        threshold = ThresholdRule(kind=ThresholdKind.POSITIVE_RATE, value=model.positive_rate)
    common = {
        "features": model.features,
        "categorical": model.categorical,
        "label": labels.label,
        "threshold": threshold,
    }
    if model.algorithm == LightGBMModel.kind:
        return LightGBMModel(**common, parameters=model.parameters, num_boost_round=model.rounds)  # type: ignore[arg-type]
    if model.algorithm == LogisticBaseline.kind:
        return LogisticBaseline(**common, **model.parameters)  # type: ignore[arg-type]
    if model.algorithm == TorchTabularModel.kind:
        return TorchTabularModel(**common, **model.parameters)  # type: ignore[arg-type]
    raise DeclarationError(
        what="Model",
        name=model.algorithm,
        problem="no adapter has this name.",
        remedy=f"Use {LightGBMModel.kind}, {LogisticBaseline.kind} or {TorchTabularModel.kind}.",
    )


def baseline_of(product: Product) -> LogisticBaseline | None:
    """The declared baseline: a logistic regression on a few columns, None when none is declared."""
    model, labels = product.model, product.labels
    if model is None or labels is None or not model.baseline:
        return None
    categorical = tuple(name for name in model.baseline if name in model.categorical)
    return LogisticBaseline(features=model.baseline, categorical=categorical, label=labels.label)


def parts_of(inputs: Inputs, training_set: str, *names: str) -> list[pl.DataFrame]:
    """Parts of the training set by name."""
    rows = inputs.table(training_set)
    return [rows.filter(pl.col(SPLIT) == name).collect() for name in names]


def trained(train: pl.DataFrame, validation: pl.DataFrame, declaration: ModelDeclaration) -> TrainedModel:
    """`train_model`, whose refusals of the data become a failed check with the reason."""
    try:
        return train_model(train, validation, declaration)
    except UnusableDataError as error:
        raise RejectedInputError(f"The training set cannot train {declaration.kind}: {error}") from error


def _train(inputs: Inputs, folder: Path, *, declaration: ModelDeclaration, product: Product) -> Result:
    path = ChainPaths(product=product.name).training_set
    train, validation = parts_of(inputs, path, TRAIN, VALIDATION)
    model = trained(train, validation, declaration)
    request = _request(product, train)
    columns = watched_features(product)
    read = train.select(pl.col(name).cast(model.preprocessing.schema[name]) for name in columns)
    write_bundle(folder, model, request=request, extra_files=_references(train, read, product))
    signature = f"{model.signature.digest()} {request.digest()}"
    return Result(facts={SIGNATURE_FACT: signature, METRICS_FACT: dict(model.metrics)})


def _references(train: pl.DataFrame, read: pl.DataFrame, product: Product) -> dict[str, bytes]:
    """What the train part's features looked like, whole and by calendar month."""
    assert product.labels is not None
    codes = watched_categories(product)
    months = {}
    if product.drift.by_season:
        moments = train[product.labels.time]
        months = kept_months(read, moments, zone=product.split.timezone, categorical=codes)
    return {FEATURES_FILE: kept_profile(read, categorical=codes), **months}


def _request(product: Product, train: pl.DataFrame) -> RequestSchema:
    labels, model = product.labels, product.model
    assert labels is not None
    assert model is not None
    try:
        return request_schema(
            train.schema,
            features=model.features,
            time=labels.time,
            key=labels.key,
            views=product.features,
            on_demand=product.on_demand,
            trained=train,
        )
    except RequestSchemaError as error:
        raise RejectedInputError(str(error)) from error


def _bundle_predicts(audit: Audit, *, training_set: str) -> Verdict:
    from headwater.models import read_bundle

    bundle = read_bundle(audit.staged.folder(audit.path))
    scores = bundle.predict(audit.base.table(training_set).head(200).collect())
    inside = bool(0.0 <= scores.min() <= scores.max() <= 1.0)
    # Which rows come first depends on how the table's files lie: no number of theirs belongs into a card.
    return Verdict(passed=inside, facts={"rows": len(scores)})
