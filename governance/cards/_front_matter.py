"""The YAML front matter of Hugging Face cards (huggingface_hub's ModelCardData and DatasetCardData)."""

from typing import Any, Final

from governance.cards.facts import DatasetFacts, ModelFacts

_TASK: Final = "tabular-classification"
_LANGUAGE: Final = "en"
# Hugging Face's licence identifiers are SPDX ids in lower case; anything else is `other` with a name.
_KNOWN_LICENCES: Final = frozenset(
    {
        "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
        "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense", "odbl", "pddl", "isc",
    }
)  # fmt: skip
_METRIC_TYPES: Final = {"auc": "roc_auc", "brier": "brier_score"}
_SIZES: Final = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
)  # fmt: skip
_LARGEST: Final = "n>1B"


def model_front_matter(facts: ModelFacts) -> str:
    """The block between the `---` lines of a model card, both included."""
    name = f"{facts.product} {facts.version}"
    fields: dict[str, Any] = {"language": _LANGUAGE, **_licence(facts.licence)}
    if facts.algorithm:
        fields["library_name"] = facts.algorithm
    fields |= {"pipeline_tag": _TASK, "tags": _tags(facts.product, facts.algorithm, facts.risk)}
    if facts.training_set:
        fields["datasets"] = [facts.training_set]
    metrics = _metrics(facts)
    if metrics:
        fields["metrics"] = [metric["type"] for metric in metrics]
    fields["model_name"] = name
    if metrics:
        fields["model-index"] = [{"name": name, "results": [_result(facts, metrics)]}]
    return _block(fields)


def dataset_front_matter(facts: DatasetFacts) -> str:
    """The block between the `---` lines of a dataset card, both included."""
    fields: dict[str, Any] = {"language": _LANGUAGE, **_licence(facts.licence), "pretty_name": facts.path}
    if facts.rows is not None:
        fields["size_categories"] = [next((name for limit, name in _SIZES if facts.rows < limit), _LARGEST)]
    fields |= {
        "source_datasets": ["original"],
        "task_categories": [_TASK],
        "tags": _tags(facts.product, "tabular", None),
    }
    if facts.columns:
        described: dict[str, Any] = {"features": [{"name": item.name, "dtype": item.dtype} for item in facts.columns]}
        if facts.rows is not None:
            described["splits"] = [{"name": "all", "num_examples": facts.rows}]
        fields["dataset_info"] = described
    return _block(fields)


def _result(facts: ModelFacts, metrics: list[dict[str, Any]]) -> dict[str, Any]:
    path = facts.training_set or facts.product
    dataset: dict[str, Any] = {"type": path, "name": path, "split": "test"}
    pinned = next((pin.data_version for pin in facts.inputs if pin.path == facts.training_set), None)
    # The lake commit says where the training data can be read; without one its content digest still names them.
    if revision := facts.run.lake_commit or pinned:
        dataset["revision"] = revision
    if pinned:
        dataset["args"] = {"data_version": pinned}
    return {"task": {"type": _TASK, "name": facts.question or facts.product}, "dataset": dataset, "metrics": metrics}


def _metrics(facts: ModelFacts) -> list[dict[str, Any]]:
    if facts.evaluation is None:
        return []
    found = []
    for metric in facts.evaluation.metrics:
        if metric.value is None:
            continue
        entry: dict[str, Any] = {"type": _METRIC_TYPES.get(metric.name, metric.name), "value": metric.value}
        entry["name"] = metric.name
        if metric.low is not None and metric.high is not None:
            level = facts.evaluation.level
            entry["args"] = {"low": metric.low, "high": metric.high, "level": level, "rows": metric.n}
        found.append(entry)
    return found


def _licence(text: str | None) -> dict[str, str]:
    if not text or not text.strip():
        return {}
    known = text.strip().lower()
    return {"license": known} if known in _KNOWN_LICENCES else {"license": "other", "license_name": text.strip()}


def _tags(product: str, kind: str | None, risk: str | None) -> list[str]:
    return ["headwater", product, *([kind] if kind else []), *([f"risk-{risk}"] if risk else [])]


def _block(fields: dict[str, Any]) -> str:
    import yaml

    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10_000)
    return f"---\n{text}---\n"
