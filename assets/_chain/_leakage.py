"""The claim that a training set knows nothing that the model will not know."""

from dataclasses import asdict
from functools import partial
from typing import Final

from headwater.features import (
    FeatureTable,
    FeatureView,
    LeakageFinding,
    duplicate_entities,
    future_values,
    label_among_features,
    late_labels,
    suspicious_features,
)
from headwater.features.errors import UndefinedAucError
from headwater.product import Audit, Check, Labels, Product, Verdict

_SHOWN: Final = 20


def leakage_check(product: Product, *, split: str, parts: tuple[str, ...]) -> Check:
    """Fails on a value or a label from the future, a feature that alone tells the label, or a key in two parts.

    Args:
        product: A declaration with labels.
        split: Column that names each row's part.
        parts: Its values, in order of time.
    """
    assert product.labels is not None
    features = _judged(product)
    judge = partial(
        _leakage, labels=product.labels, views=product.features, features=features, split=split, parts=parts
    )
    return Check(
        name="leakage",
        judge=judge,
        description=(
            "A sample of rows holds only what was known by its time; no feature alone tells the label; "
            "no key stands in two parts of the split; each part's labels were known before the next part begins."
        ),
    )


def _leakage(
    audit: Audit,
    *,
    labels: Labels,
    views: tuple[FeatureView, ...],
    features: tuple[str, ...],
    split: str,
    parts: tuple[str, ...],
) -> Verdict:
    frame = audit.rows().collect()
    tables = [FeatureTable(view=view, rows=audit.base.table(view.path)) for view in views]
    findings = [
        *future_values(frame, tables, time=labels.time),
        *label_among_features(frame, label=labels.label, features=features),
        *duplicate_entities(frame, key=labels.key, split=split),
    ]
    if labels.known_at is not None:
        findings += late_labels(frame, time=labels.time, known_at=labels.known_at, split=split, parts=parts)
    try:
        findings += suspicious_features(frame, label=labels.label, features=features)
    except UndefinedAucError as error:
        return Verdict(passed=False, facts=_facts(features, findings), description=str(error))
    said = " ".join(finding.message for finding in findings[:_SHOWN])
    return Verdict(passed=not findings, facts=_facts(features, findings), description=said)


def _facts(features: tuple[str, ...], findings: list[LeakageFinding]) -> dict[str, object]:
    shown = [{**asdict(finding), "kind": finding.kind.value} for finding in findings[:_SHOWN]]
    return {"features_judged": len(features), **({"findings": shown} if shown else {})}


def _judged(product: Product) -> tuple[str, ...]:
    """The columns that must not tell the label: the model's, or without a model all that views give."""
    if product.model:
        return product.model.features
    return tuple(name for view in product.features for name in view.outputs.values())
