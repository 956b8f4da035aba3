"""What an online store promises: the newest known features of an entity at a time, as the point-in-time join has them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import polars as pl


class Answer(StrEnum):
    """How a lookup ended.

    `UNKNOWN`: nothing about the entity was visible at the time. `STALE`: the newest event is older than the view's ttl.
    """

    FOUND = "found"
    UNKNOWN = "unknown"
    STALE = "stale"


class Lookup(NamedTuple):
    """One question.

    Attributes:
        view: Name of the feature view.
        entity: Values of its entity columns, in the view's order.
        at: The time, in microseconds since 1970 (UTC, or the zone-less clock that the table's times follow).
    """

    view: str
    entity: tuple[Any, ...]
    at: int


class OnlineRow(NamedTuple):
    """One answer.

    Attributes:
        answer: How the lookup ended.
        values: The view's features in its order; nulls where nothing was found or it was stale.
        event: Event time of the row, stale ones too, in microseconds since 1970; None where there was none.
    """

    answer: Answer
    values: tuple[Any, ...]
    event: int | None


@dataclass(frozen=True, kw_only=True)
class OnlineView:
    """A feature view as it was published.

    Attributes:
        name: Its name.
        path: Lake path of its table.
        keys: Names of the entity's values in a request.
        entity: Dtypes of the entity columns, as Polars writes them.
        features: Names of the features as the model reads them, with the prefix.
        dtypes: Their dtypes.
        unit: Time unit of the table: `ms`, `us` or `ns`.
        ttl: Greatest age of an event in that unit, None for any.
        data_version: What the table held.
        content: Digest of the published rows, with a `+` when others were added: what a changed declaration made of the same table is other content.
        rows: Rows published.
        newest: Newest event time in the unit; None without rows.
    """

    name: str
    path: str
    keys: tuple[str, ...]
    entity: tuple[str, ...]
    features: tuple[str, ...]
    dtypes: tuple[str, ...]
    unit: str
    ttl: int | None
    data_version: str
    content: str
    rows: int
    newest: int | None

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "OnlineView":
        """The view that `dataclasses.asdict` wrote as JSON."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()
        }
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class OnlineVersion:
    """What a store answers from: all views of a product, read at one lake commit.

    Attributes:
        product: The product.
        commit: The lake commit that the tables were read at.
        since: Earliest time that is answered as the lake would, in microseconds since 1970.
        views: The views by name, with what extensions added.
        extended: The lake commit that the newest extension was made from, empty where there was none since the publication.
        extensions: How many there were.
    """

    product: str
    commit: str
    since: int
    views: Mapping[str, OnlineView]
    extended: str = ""
    extensions: int = 0

    @property
    def source(self) -> str:
        """What the answers come from: the lake commit that was published, and behind a `+` that of the newest extension."""
        return f"{self.commit}+{self.extended}" if self.extended else self.commit

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {
            "product": self.product,
            "commit": self.commit,
            "since": self.since,
            "views": {name: asdict(view) for name, view in self.views.items()},
            "extended": self.extended,
            "extensions": self.extensions,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "OnlineVersion":
        """The version that `to_json` wrote."""
        views = {name: OnlineView.from_json(view) for name, view in raw["views"].items()}
        return cls(
            product=raw["product"],
            commit=raw["commit"],
            since=raw["since"],
            views=views,
            extended=raw.get("extended", ""),  # a store of before there were extensions has none
            extensions=raw.get("extensions", 0),
        )


@dataclass(frozen=True, kw_only=True)
class OnlineTable:
    """A view with the rows that answer from the window's start on: see `prepare`.

    Attributes:
        view: What is published.
        rows: Entity columns, then the time from which a row is visible, its event time, and the features.
    """

    view: OnlineView
    rows: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class OnlineContent:
    """All views of a product, to be published together.

    Attributes:
        since: Earliest time that is answered as the lake would, in microseconds since 1970.
        tables: The views.
    """

    since: int
    tables: tuple[OnlineTable, ...]


class OnlineStore(Protocol):
    """Features by entity for a service. Several processes read while one publishes or extends.

    `headwater.testing.online_suite` says what every implementation does.
    """

    def publish(self, product: str, content: OnlineContent, *, commit: str) -> OnlineVersion:
        """Puts the views of a product in place of those there were, all at once: a lookup sees the old or the new ones.

        A view whose rows are what is there is left as it is.

        Args:
            product: The product.
            content: Its views.
            commit: The lake commit that holds them.

        Raises:
            OnlineStoreError: The store is away, full or of another format.
        """
        ...

    def extend(
        self, product: str, rows: Mapping[str, pl.DataFrame], *, commit: str, onto: OnlineVersion | None = None
    ) -> OnlineVersion:
        """Adds rows to what is published, to all views at once: a lookup sees all of them or none.

        From the window's start on, the answers are then those of the published and the added rows together, as if all of them
        had been published: of one entity and event time the row that is known later counts, of one known-at time the
        added one. The same rows again change nothing. The next publication replaces them.

        Args:
            product: The product.
            rows: By view its rows, as `rows_from` makes them of a feature table.
            commit: The lake commit that they were made from.
            onto: The version that they were worked out for; None takes any.

        Returns:
            The version with its views' rows and newest events as they are now.

        Raises:
            NotPublishedError: Nothing of the product, or no such view.
            MissingColumnError, OnlineTypeError: Rows of another shape than the published ones.
            VersionChangedError: Another version than `onto` is there. Nothing was added.
            OnlineStoreError: The store is away, full or of another format.
        """
        ...

    def version(self, product: str) -> OnlineVersion:
        """What is published now. Raises NotPublishedError, OnlineStoreError."""
        ...

    def lookup(self, product: str, asked: Sequence[Lookup]) -> tuple[OnlineVersion, list[OnlineRow]]:
        """Answers in the order asked, all from one version.

        Raises:
            NotPublishedError: Nothing of the product, or no such view.
            TimeBeforeWindowError: A time before the window: the answer could differ from the lake's.
            TimeValueError: A time that is no whole number, or lies beyond 2255.
            EntityValueError: An entity has too few or too many values, or one of another type.
            OnlineStoreError: The store is away, full or of another format.
        """
        ...

    def lookup_many(
        self, product: str, view: str, entities: Sequence[tuple[Any, ...]], at: int
    ) -> tuple[OnlineVersion, list[OnlineRow]]:
        """Answers for many entities of one view at one time, in their order: what `lookup` says, faster. Raises as that."""
        ...

    def withdraw(self, product: str, *, mark: str | None = None) -> bool:
        """Takes a product out; nothing happens when it is not there.

        Args:
            product: The product.
            mark: Only with this mark: whoever uses it has not said so since. None whatever its mark.

        Returns:
            Whether it was there, and is not any more.

        Raises:
            OnlineStoreError: The store is away, full or of another format.
        """
        ...

    def mark(self, product: str) -> None:
        """Says that somebody looks a product up, by giving it another mark than any before; nothing happens when it is not there.

        A publication moves a mark that is there, too. What nobody ever marked has none.

        Raises:
            OnlineStoreError: The store is away, full or of another format.
        """
        ...

    def marks(self) -> Mapping[str, str]:
        """By product what is published, its mark; an empty one where nobody ever made any. Raises OnlineStoreError."""
        ...

    def close(self) -> None:
        """Lets go of files and connections."""
        ...
