"""How a number reads in a card. One rule, so that a test can find every fact again."""

_SMALLEST_PLAIN = 1e-3
_LARGEST_PLAIN = 1e6


def show(value: int | float) -> str:
    """Integers with thousands separators; others with two decimals when those are exact, else four, or
    four digits where that says too little."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) < _LARGEST_PLAIN and float(f"{value:.2f}") == value:
        return f"{value:,.2f}"
    if _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN:
        return f"{value:,.4f}"
    return f"{value:.3e}"


def interval(low: float | None, high: float | None) -> str | None:
    """Both ends joined by spaces that do not break, None without an interval."""
    return None if low is None or high is None else f"{show(low)}\u00a0to\u00a0{show(high)}"
