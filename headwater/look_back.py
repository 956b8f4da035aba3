"""How far back the decisions about a product look, beside how long its answers are kept."""

from datetime import timedelta
from typing import TYPE_CHECKING

from headwater.decisions import BEFORE, LONG_BEFORE

if TYPE_CHECKING:
    from headwater.product import Product


def kept_too_short(product: "Product") -> tuple[str, str] | None:
    """Why `Serving.keep` is shorter than what decisions look back at, and what to do; None where it is not.

    Rows go while a stage or a window that counts is still looked at: what is left is another sample, by which a watch never ends and a
    metric is never judged.
    """
    keep = product.serving.keep
    if product.model is None or keep is None:
        return None
    needs, remedies = [], []
    if keep < (needed := product.rollout.looks_back):
        needs.append(f"the rollout needs {needed} ({_stages(product)})")
        remedies.append(", or ".join(_shorter_rollout(product)))
    if product.retraining is not None and keep < (needed := _windows(product)):
        needs.append(
            f"the retraining needs {needed} (the last {product.retraining.windows} windows of {_length(product)})"
        )
        remedies.append("for the retraining fewer Retraining(windows=...) or shorter PerformanceRules(windowing=...)")
    if not needs:
        return None
    return (
        f"Serving(keep=...) is {keep}, and decisions look back further: {'; '.join(needs)}.",
        f"Keep answers that long, or declare {'; '.join(remedies)}.",
    )


def _stages(product: "Product") -> str:
    """What of the rollout needs how long."""
    rollout, rules = product.rollout, product.rollout.rules
    before = BEFORE if rollout.keep_replaced or not rules.watch else LONG_BEFORE
    parts = [f"max_wait={rules.max_wait} for {rollout.waits} stages before it has everything"] if rollout.waits else []
    parts += [f"watch={rules.watch}", f"a window of {rules.window}"] if rules.watch else []
    return ", ".join([*parts, f"{before} before the version came in"])


def _shorter_rollout(product: "Product") -> list[str]:
    rollout, rules = product.rollout, product.rollout.rules
    names = [*(["max_wait"] if rollout.waits else []), *(["watch"] if rules.watch else [])]
    found = [f"a shorter RolloutRules({', '.join(f'{name}=...' for name in names)})"]
    if rules.watch and not rollout.keep_replaced:
        found.append(
            f"Rollout(keep_replaced=True), whose watch compares with {BEFORE} before in place of {LONG_BEFORE}"
        )
    return found


def _windows(product: "Product") -> timedelta:
    assert product.retraining is not None
    return product.retraining.windows * _length(product)


def _length(product: "Product") -> timedelta:
    """Of a window in which performance is judged."""
    from headwater.monitoring import Windowing

    return product.performance.windowing.length if product.performance is not None else Windowing().length
