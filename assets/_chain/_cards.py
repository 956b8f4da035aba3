"""Cards: what the model and the datasets are, every number read from the lake."""

import platform
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._evaluation import read_evaluation
from assets._chain._landing import landing_path
from assets._chain._model import declaration_of
from assets._chain._paths import ChainPaths
from assets._chain._training_set import PURGED_FACT, SPLIT, TEST, TRAIN, UNLABELLED_FACT, VALIDATION
from governance.cards import (
    DatasetFacts,
    FeatureFacts,
    ModelFacts,
    PartFacts,
    PartitionFacts,
    RunFacts,
    SourceFileFacts,
    dataset_card,
    describe_columns,
    drift_facts,
    model_card,
    write_card,
)
from headwater.lake import Kind
from headwater.models import ModelDeclaration, ThresholdKind, judge, read_bundle
from headwater.names import VERSION_FACT
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Verdict
from headwater.provenance import Output, Provenance, ProvenanceError

CARD_FILES: Final = ("README.md", "card.html", "facts.json")
FACTS_FILE: Final = "facts.json"


def model_card_asset(product: Product) -> Asset:
    """The model card of a product with a model."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.model_card,
        kind=Kind.FOLDER,
        compute=partial(_model_card, product=product),
        inputs=(paths.training_set, paths.model, paths.evaluation, paths.drift_report),
        identity=(FACTS_FILE,),
        checks=(_complete(),),
        description="Model card: Markdown and one self-contained HTML file, computed from the lake.",
        kinds=("markdown", "html"),
        declaration=declared_values(texts=_texts(product), model=product.model, gates=product.gates),
    )


def _texts(product: Product) -> list[str]:
    texts = (product.question, product.intended_use, product.out_of_scope, product.limitations, product.licence)
    return [*texts, *product.owners, str(product.risk)]


def dataset_cards_asset(product: Product) -> Asset:
    """A card for each dataset of a product."""
    paths = ChainPaths(product=product.name)
    described = tuple(asset for asset in product.assets if f"{product.name}/datasets/" in asset.path)
    landings = tuple(landing_path(product.name, source.name) for source in product.sources)
    return Asset(
        path=paths.dataset_cards,
        kind=Kind.FOLDER,
        compute=partial(_dataset_cards, product=product, described=tuple(asset.path for asset in described)),
        inputs=(*(asset.path for asset in described), *landings),
        identity=(f"*/{FACTS_FILE}",),
        checks=(Check(name="a_card_for_each_dataset", judge=_card_each, description="Every dataset has its card."),),
        description="Dataset cards: schema, rows, ranges, sources with sha256, contract verdicts.",
        kinds=("markdown", "html"),
        declaration=declared_values(
            texts=_texts(product), sources=product.sources, datasets=[a.path for a in described]
        ),
    )


def _model_card(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths = ChainPaths(product=product.name)
    record = inputs.provenance(paths.model)
    output = record.output(paths.model)
    assert output is not None
    card = model_card(_model_facts(inputs, product, record, output))
    write_card(card, folder)
    return Result(facts={VERSION_FACT: output.facts[VERSION_FACT]})


def _model_facts(inputs: Inputs, product: Product, record: Provenance, output: Output) -> ModelFacts:
    paths, labels = ChainPaths(product=product.name), product.labels
    bundle = read_bundle(inputs.folder(paths.model))
    evaluation = read_evaluation(inputs.folder(paths.evaluation))
    declared = declaration_of(product)
    training = _training_facts(inputs, product)
    return ModelFacts(
        product=product.name,
        version=output.facts[VERSION_FACT],
        question=product.question,
        owners=product.owners,
        intended_use=product.intended_use or None,
        out_of_scope=product.out_of_scope or None,
        limitations=product.limitations or None,
        licence=product.licence or None,
        risk=str(product.risk),
        algorithm=declared.kind,
        objective="log loss of the label",
        parameters=_parameters(declared),
        threshold=bundle.threshold,
        label=labels.label if labels else None,
        features=_features(inputs, product),
        training_set=paths.training_set,
        path=paths.model,
        data_version=output.data_version,
        inputs=record.inputs,
        parts=_parts(inputs, product, training.get(PURGED_FACT)),
        rows_without_label=training.get(UNLABELLED_FACT),
        evaluation=evaluation,
        gates=judge(product.gates, evaluation),
        checks=record.checks,
        drift=drift_facts(inputs.table(paths.drift_report).collect()),
        digests=dict(bundle.digests),
        code_version=output.code_version,
        reproduce=f"headwater model reproduce {product.name}@{output.facts[VERSION_FACT]}",
        run=replace(
            _run_facts(record, environment=tuple(bundle.environment.splitlines())),
            bundle_commit=inputs.written_in(paths.model),
        ),
    )


def _parameters(declared: ModelDeclaration) -> dict[str, Any]:
    """What was declared, flat, without what the card says elsewhere and what does not apply."""
    found = {k: v for k, v in declared.to_json().items() if k not in ("features", "categorical", "label", "kind")}
    if declared.threshold.kind is ThresholdKind.F1:
        found["threshold"] = {"kind": ThresholdKind.F1.value}  # its value is unused
    return _flat({name: value for name, value in found.items() if value != ()})


def _run_facts(record: Provenance, *, environment: tuple[str, ...] = ()) -> RunFacts:
    return RunFacts(
        lake_commit=record.input_commit,
        git_commit=record.git_commit,
        git_dirty=record.git_dirty,
        run_id=record.run_id,
        started=record.started or None,
        actor=record.actor or None,
        cost=record.cost,
        hardware=f"{platform.machine()}, {platform.system()}",
        environment=environment,
    )


def _features(inputs: Inputs, product: Product) -> tuple[FeatureFacts, ...]:
    schema = inputs.entry(ChainPaths(product=product.name).training_set).schema
    source = {f"{view.prefix}{name}": view.path for view in product.features for name in view.features}
    assert product.model is not None
    default = product.labels.path if product.labels else None
    return tuple(
        FeatureFacts(name=name, dtype=schema.get(name), source=source.get(name, default))
        for name in product.model.features
    )


def _parts(inputs: Inputs, product: Product, purged: Mapping[str, int] | None) -> tuple[PartFacts, ...]:
    labels = product.labels
    assert labels is not None
    rows = inputs.table(ChainPaths(product=product.name).training_set)
    time, label = pl.col(labels.time), pl.col(labels.label).cast(pl.Int64)
    counted = rows.group_by(SPLIT).agg(
        pl.len().alias("rows"), label.sum().alias("positives"), time.min().alias("start"), time.max().alias("end")
    )
    found = {row[SPLIT]: row for row in counted.collect().to_dicts()}
    return tuple(
        PartFacts(
            name=name,
            rows=found[name]["rows"],
            positives=found[name]["positives"],
            start=found[name]["start"].isoformat(),
            end=found[name]["end"].isoformat(),
            purged=None if purged is None else purged.get(name, 0),
        )
        for name in (TRAIN, VALIDATION, TEST)
        if name in found
    )


def _training_facts(inputs: Inputs, product: Product) -> Mapping[str, Any]:
    """What the build of the training set recorded; nothing when it came from outside."""
    path = ChainPaths(product=product.name).training_set
    try:
        output = inputs.provenance(path).output(path)
    except ProvenanceError:
        return {}
    return output.facts if output else {}


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat |= {f"{name}.{inner}": inner_value for inner, inner_value in _flat(item).items()}
        else:
            flat[name] = item
    return flat


def _dataset_cards(inputs: Inputs, folder: Path, *, product: Product, described: tuple[str, ...]) -> Result:
    files = [fact for source in product.sources for fact in _source_files(inputs, product, source.name)]
    for path in described:
        record = inputs.provenance(path)
        entry, output = inputs.entry(path), record.output(path)
        asset = next(asset for asset in product.assets if asset.path == path)
        read = {f"{product.name}/landing/{name}": name for name in (source.name for source in product.sources)}
        own = {read[landing] for landing in asset.inputs if landing in read}
        card = dataset_card(
            DatasetFacts(
                product=product.name,
                path=path,
                description=asset.description or None,
                owners=product.owners,
                licence=product.licence or None,
                intended_use=product.intended_use or None,
                out_of_scope=product.out_of_scope or None,
                limitations=product.limitations or None,
                data_version=entry.data_version,
                rows=entry.rows,
                columns=describe_columns(inputs.table(path), descriptions={}),
                partitions=tuple(PartitionFacts(key=k, data_version=v) for k, v in sorted(entry.partitions.items())),
                sources=tuple(fact for name, fact in files if name in own),
                inputs=record.inputs if asset.partitions is None else (),
                checks=record.checks,
                code_version=output.code_version if output else None,
                run=_run_facts(record),
            )
        )
        place = folder / path.rsplit("/", 1)[1]
        place.mkdir()
        write_card(card, place)
    return Result(facts={"cards": len(described)})


def _source_files(inputs: Inputs, product: Product, source: str) -> list[tuple[str, SourceFileFacts]]:
    """The file that a landing asset was last built from, with its sha256."""
    record = inputs.provenance(landing_path(product.name, source))
    declared = next(item for item in product.sources if item.name == source)
    origin = f"{declared.packaged.distribution}: {declared.packaged.file}" if declared.packaged else None
    return [
        (
            source,
            SourceFileFacts(name=pin.path, sha256=pin.data_version, origin=origin, licence=declared.licence or None),
        )
        for pin in record.inputs
        if pin.role == "landed"
    ]


def _complete() -> Check:
    return Check(
        name="card_is_whole", judge=_whole, description="Markdown, HTML and facts are there and none is empty."
    )


def _whole(audit: Audit) -> Verdict:
    folder = audit.staged.folder(audit.path)
    sizes = {name: (folder / name).stat().st_size if (folder / name).is_file() else 0 for name in CARD_FILES}
    return Verdict(passed=all(sizes.values()), facts={"bytes": sizes})


def _card_each(audit: Audit) -> Verdict:
    folder = audit.staged.folder(audit.path)
    found = sorted(file.parent.name for file in folder.glob(f"*/{FACTS_FILE}"))
    return Verdict(passed=len(found) == audit.facts.get("cards"), facts={"cards": found})
