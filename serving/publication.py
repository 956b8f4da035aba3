"""When online features are published: several services, and streams, may share one store."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from headwater.features.errors import NotPublishedError, OnlineStoreError
from headwater.features.online import OnlineContent, OnlineStore, OnlineVersion
from headwater.features.online._extension import published_content
from headwater.features.online._interface import OnlineView
from headwater.lake import Lake
from headwater.lake.errors import RefNotFoundError


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What a store shall answer from, without the rows: small enough to be compared at every look.

    Attributes:
        name: Where it is published.
        since: Earliest time that is answered, in microseconds since 1970.
        views: The views by name.
    """

    name: str
    since: int
    views: Mapping[str, OnlineView]

    @classmethod
    def of(cls, product: str, content: OnlineContent) -> "Publication":
        """That of a product's content."""
        views = {table.view.name: table.view for table in content.tables}
        return cls(name=store_name(product, content), since=content.since, views=views)

    def is_in(self, there: OnlineVersion) -> bool:
        """Whether a store's version is this very content, with or without rows that were added since."""
        return (
            there.since == self.since
            and self.views.keys() == there.views.keys()
            and self.views
            == {
                name: replace(
                    view, content=published_content(view), rows=self.views[name].rows, newest=self.views[name].newest
                )
                for name, view in there.views.items()
            }
        )


def store_name(product: str, content: OnlineContent) -> str:
    """Where a product's online features are published: by their shape, so that models of another shape keep theirs."""
    shape: Any = [
        [table.view.name, table.view.keys, table.view.entity, table.view.features, table.view.dtypes, table.view.unit]
        for table in content.tables
    ]
    return f"{product}.{hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:16]}"


def published(store: OnlineStore, name: str) -> OnlineVersion | None:
    """What a store answers from under a name, None when that is nothing. Raises OnlineStoreError."""
    try:
        return store.version(name)
    except NotPublishedError:
        return None


def is_published(store: OnlineStore, name: str, content: OnlineContent) -> bool:
    """Whether this very content is what a store answers from, with or without rows that were added since."""
    there = published(store, name)
    return there is not None and replace(Publication.of("", content), name=name).is_in(there)


def is_behind(lake: Lake, commit: str, head: str) -> bool:
    """Whether a commit is another one or stands in its history. One that the lake does not know stands in none.

    Args:
        lake: The lake.
        commit: The one that may be the older.
        head: The one whose first-parent history is read, back to the other.
    """
    try:
        return any(one.id == commit for one in lake.log(head))
    except RefNotFoundError:
        return False


def published_for(
    store: OnlineStore,
    product: str,
    content: OnlineContent,
    *,
    commit: str,
    precedes: Callable[[str, str], bool] | None,
) -> Publication:
    """Sees to it that a store has a product's online features, or newer ones, and says what they shall be.

    What is published already, by another worker, and what streams have added since are left. The name is marked, so that nobody takes it out.

    Args:
        store: The store, which others publish to.
        product: The product.
        content: Its online features.
        commit: The lake commit that holds them.
        precedes: Whether a commit is another one or stands in its history, as `is_behind` has it of the lake; None for content that
            is only held, which may be older than anything there.

    Raises:
        OnlineStoreError: The store is away or full.
        LakeError: The lake is away.
    """
    wanted = Publication.of(product, content)
    _mark(store, wanted.name)  # before it is looked at: from here on nobody takes out what is there
    there = published(store, wanted.name)
    is_wanted = there is None
    if there is not None and precedes is not None and not wanted.is_in(there):
        is_wanted = precedes(there.commit, commit) or not precedes(commit, there.commit)
    if is_wanted:
        store.publish(wanted.name, content, commit=commit)
        _mark(store, wanted.name)
    return wanted


def _mark(store: OnlineStore, name: str) -> None:
    with suppress(OnlineStoreError):  # a store without room for a mark still answers from what it has
        store.mark(name)
