"""The rules that any product obeys, as one function that a stranger's test can call."""

import ast
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from headwater.code_version import code_version
from headwater.product import Asset, Product


def check_product(product: Product, assets: Sequence[Asset] | None = None) -> tuple[str, ...]:
    """Every rule that a product breaks, as sentences that say what to do; empty when it obeys them all.

    Args:
        product: The declaration.
        assets: All its assets, derived ones among them, so that a declaration may name these; judged is what the product
            declares itself, and dbt's models. None knows of the declared ones alone.
    """
    known = assets if assets is not None else product.assets
    own = {asset.path for asset in product.assets} | set(product.dbt.models.values() if product.dbt else ())
    found = [
        *_ownership(product),
        *(problem for asset in known if asset.path in own for problem in _asset(asset)),
        *_references(product, known),
        *_model(product),
        *(problem for asset in product.assets for problem in _purity(asset)),
    ]
    return tuple(found)


def _ownership(product: Product) -> Iterator[str]:
    for owner in product.owners:
        if not owner.startswith("team:") and "@" not in owner:
            yield f"Owner {owner!r} is neither 'team:<name>' nor an email: write one of them."
    if not product.question.strip().endswith("?"):
        yield "The question is no question: end it with '?'."
    for source in product.sources:
        if not source.licence:
            yield f"Source {source.name!r} has no licence: say under which terms the data may be used."
        if source.partitions and source.partitions.column in source.columns:
            yield f"Source {source.name!r} has a column {source.partitions.column!r} like its partitions: rename the partitions'."


def _asset(asset: Asset) -> Iterator[str]:
    if not asset.description:
        yield f"{asset.path} has no description: give its function a docstring."
    if not asset.checks and not asset.path.endswith(("_page", "_cards", "_card")) and "dbt" not in asset.kinds:
        yield f"{asset.path} has no check: name at least one claim, such as not_empty()."
    if not asset.kinds:
        yield f"{asset.path} has no kinds: say what it is made with."
    if len(asset.kinds) > 10:
        yield f"{asset.path} has {len(asset.kinds)} kinds: Dagster shows ten."
    if code_version(asset) != code_version(asset):
        yield f"{asset.path} has a code version that changes by itself: keep what its closure holds constant."


def _references(product: Product, known: Sequence[Asset]) -> Iterator[str]:
    own = {asset.path for asset in known} | {f"{product.name}/landing/{source.name}" for source in product.sources}
    own |= set(product.dbt.models.values()) if product.dbt else set()
    for asset in known:
        for path in asset.inputs:
            if path.startswith(f"{product.name}/") and path not in own:
                yield f"{asset.path} reads {path}, which nothing makes: declare it or mend the name."
    for view in product.features:
        if view.path not in own:
            yield f"Feature view {view.name!r} reads {view.path}, which nothing makes: declare it or mend the path."
    if product.labels and product.labels.path not in own:
        yield f"Labels read {product.labels.path}, which nothing makes: declare it or mend the path."


def _model(product: Product) -> Iterator[str]:
    if product.model is None:
        return
    if not product.gates:
        yield "The model has no gate: declare at least one, or any model goes live."
    if not product.model.baseline:
        yield "The model has no baseline: name the columns of a simple one that it must beat."
    for text in ("intended_use", "limitations"):
        if not getattr(product, text):
            yield f"The product says nothing of its {text}: the model card needs it."


def _purity(asset: Asset) -> Iterator[str]:
    """A declared function is pure: no Dagster, no clock, no environment, no random numbers without a seed."""
    banned = {
        "datetime.now": "clock",
        "time.time": "clock",
        "os.environ": "environment",
        "random.random": "random source",
    }
    for text in _dotted(asset.compute):
        if text.split(".", 1)[0] == "dagster":
            yield f"{asset.path} uses Dagster: its function takes inputs and returns rows, nothing else."
        if text in banned:
            yield f"{asset.path} reads the {banned[text]} ({text}): pass what it needs as an input or a declaration."


def _dotted(function: Callable[..., Any]) -> Iterator[str]:
    try:
        tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
