"""Whether `Serving.keep` took rows from what a decision looks at, and what the decision before said while they were there."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from assets._chain._paths import ChainPaths
from assets._chain._retention import dropped_until
from headwater.product import Inputs, Product


def about_the_same(past: Mapping[str, Any] | None, since_commit: str) -> Mapping[str, Any] | None:
    """The document of the decision before, if it was about what stands: a stage, a watch, an experiment.

    Args:
        past: The document; None before the first decision.
        since_commit: The commit that began what stands.
    """
    then = past["evidence"]["standing"] if past is not None else None
    return past if then is not None and then["since_commit"] == since_commit else None


def recorded(before: Mapping[str, Any] | None, name: str) -> datetime | None:
    """An instant of the evidence of the decision before; None where there was none, or where it did not say it."""
    said = None if before is None else before["evidence"].get(name)
    return None if said is None else datetime.fromisoformat(said)


def earliest(*moments: Any) -> Any:
    """The earliest of those instants that are known; None where none is."""
    return min((moment for moment in moments if moment is not None), default=None)


def dropped_since(inputs: Inputs, product: Product, since: datetime) -> datetime | None:
    """When the newest request came in, of those since an instant, whose row `Serving.keep` took; None where it took none.

    What came in before belongs to no stage and no experiment that began then. Rows go oldest first, so that one is enough to tell.
    """
    path = ChainPaths(product=product.name).predictions
    found = dropped_until(inputs.previous(path), path)
    return found if found is not None and found >= since else None
