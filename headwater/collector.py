"""The garbage collector, paused while modules load."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Loads what is imported in this block without a collection.

    Modules make hundreds of thousands of objects that stay. Each full collection looks at all of them and finds nothing: of
    the time to import Dagster and dbt, a fifth. Nothing is lost: the next collection finds what this time left.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
