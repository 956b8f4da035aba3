"""How long a declared time may be where it is added to an instant, or taken from one."""

from datetime import timedelta
from typing import Final

LONGEST: Final = timedelta(days=36_500)
"""A hundred years. Now and as long before or after are instants that Python, Polars and a column of nanoseconds have."""
