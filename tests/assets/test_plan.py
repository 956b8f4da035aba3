"""In what runs a build makes everything fresh."""

from assets._declared import declared
from assets._plan import Stale, ancestors, waves
from assets.flights.product import PRODUCT


def test_what_is_urgent_is_in_no_run_with_a_training() -> None:
    assets = declared(PRODUCT)
    urgent = {asset.path for asset in assets if asset.urgent}
    above = ancestors({asset.path: asset.inputs for asset in assets})
    stale = [Stale(path=f"flights/{name}", partition=None, reasons=()) for name in ("training_set", "predictions")]
    runs = [paths for _, paths in waves(stale, assets)]
    assert urgent < frozenset().union(*runs)
    (training,) = [paths for paths in runs if "flights/model" in paths]
    assert not training & urgent
    done: set[str] = set()
    for paths in runs:
        assert not done & paths, "nothing is built twice"
        done |= paths
        later = frozenset().union(*runs) - done
        assert not [path for path in paths if above[path] & later], "nothing is built before what it is made of"
