"""Sorted listings with prefix, delimiter and pagination, for REST and gateway alike."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from headwater.testing.lakefs_double._http import Request

MAX_PER_PAGE: Final = 1000
DEFAULT_PER_PAGE: Final = 100
_T = TypeVar("_T")


def amount(request: Request) -> int:
    """The page size that a REST request asks for."""
    text = request.parameter("amount")
    wanted = int(text) if text.lstrip("-").isdecimal() else 0
    return min(wanted, MAX_PER_PAGE) if wanted > 0 else DEFAULT_PER_PAGE


def page(items: Sequence[_T], names: Sequence[str], *, after: str, limit: int) -> tuple[list[_T], dict[str, object]]:
    """One page of `items`, which are sorted by `names`, and its pagination record."""
    start = next((i for i, name in enumerate(names) if name > after), len(names)) if after else 0
    chosen = list(items[start : start + limit])
    more = start + limit < len(items)
    return chosen, pagination(more, names[start + len(chosen) - 1] if more and chosen else "", len(chosen))


def pagination(more: bool, offset: str, count: int) -> dict[str, object]:
    """lakeFS's pagination record."""
    return {"has_more": more, "next_offset": offset, "results": count, "max_per_page": MAX_PER_PAGE}


def entries(paths: Iterable[str], *, prefix: str, delimiter: str) -> dict[str, bool]:
    """Names below `prefix`, sorted, with True for a common prefix."""
    names: dict[str, bool] = {}
    for path in sorted(paths):
        if not path.startswith(prefix):
            continue
        cut = path.find(delimiter, len(prefix)) if delimiter else -1
        if cut >= 0:
            names[path[: cut + len(delimiter)]] = True
        else:
            names[path] = False
    return names
