"""Building what follows from an order until it has heard it: a daemon or another command may build it at the same time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headwater.lake import Lake
    from headwater.materialize import Outcome
    from headwater.product import Asset
    from resources.settings import Settings

_TRIES: Final = 8


def built_until_heard(lake: "Lake", asset: "Asset", settings: "Settings", is_heard: Callable[[], bool]) -> "Outcome":
    """Builds an asset until what stands there has heard an order, or is refused.

    Args:
        lake: The lake, with the order in it.
        asset: What reads orders.
        settings: Branch and folders.
        is_heard: Whether what stands there follows from the order.

    Raises:
        MergeConflictError: Others were quicker every time.
    """
    from headwater.lake.errors import MergeConflictError
    from headwater.materialize import Status, materialize
    from resources.opening import this_run

    for left in reversed(range(_TRIES)):
        try:
            outcome = materialize(
                lake, asset, run=this_run(), scratch=settings.scratch, state=settings.state, branch=settings.branch
            )
        except MergeConflictError:
            if not left:
                raise
            continue
        if outcome.status is Status.REFUSED or is_heard():
            return outcome
    raise AssertionError(f"{asset.path}, which was built from the orders, has heard them")
