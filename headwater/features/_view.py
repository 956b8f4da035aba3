"""How a feature table meets labels: by which entity, as of which time, for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import polars as pl

from headwater.features.errors import FeatureViewError


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """One feature table as a training set sees it.

    Attributes:
        name: Names the view in errors and reports.
        path: Lake path of the feature table.
        entity: Columns of the table that name whom a row is about; empty for facts about everyone.
        features: Columns of the table to take.
        event_time: Column with the time that a row describes.
        known_at: Column with the time from which the row could be read. A corrected row has the same event time and a
            later known-at time; a late row has an older event time than one that was known before it.
        ttl: Greatest age of the event time at the prediction time, the border included; None for no limit.
        prefix: Put before the features' names in the training set.
        label_entity: Columns of the labels that hold `entity`, in its order; empty when they have the same names.
        defaults: What a feature reads as where it is null, for whatever reason: nothing known, too old, or null in the table.
            The same in the training set and in the service. Features without one stay null.
    """

    name: str
    path: str
    entity: tuple[str, ...]
    features: tuple[str, ...]
    event_time: str = "event_time"
    known_at: str = "known_at"
    ttl: timedelta | None = None
    prefix: str = ""
    label_entity: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = (*self.entity, self.event_time, *([] if self.known_at == self.event_time else [self.known_at]))
        if not self.features:
            self._refuse("it takes no features.", "Name at least one column.")
        if len({*columns, *self.features}) != len(columns) + len(self.features):
            self._refuse("it names a column twice.", "Entity, times and features are different columns.")
        if self.label_entity and len(self.label_entity) != len(self.entity):
            self._refuse("`label_entity` and `entity` differ in length.", "Name one column of the labels for each.")
        if self.ttl is not None and self.ttl < timedelta(0):
            self._refuse(f"its ttl is {self.ttl}.", "Give zero or more.")
        if strange := [name for name in self.defaults if name not in self.features]:
            self._refuse(f"it has a default for {', '.join(strange)}.", "Name features of the view.")
        if nulls := [name for name, value in self.defaults.items() if value is None]:
            self._refuse(f"the default of {', '.join(nulls)} is None.", "Leave it out: null is what it reads as then.")

    def _refuse(self, problem: str, remedy: str) -> None:
        raise FeatureViewError(view=self.name, problem=problem, remedy=remedy)

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns of the labels that hold the entity."""
        return self.label_entity or self.entity

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that the view reads, each once."""
        return tuple(dict.fromkeys((*self.entity, self.event_time, self.known_at, *self.features)))

    @property
    def outputs(self) -> dict[str, str]:
        """Feature to its name in the training set."""
        return {feature: f"{self.prefix}{feature}" for feature in self.features}

    @property
    def output_defaults(self) -> dict[str, Any]:
        """The defaults by the features' names in the training set."""
        return {self.outputs[feature]: value for feature, value in self.defaults.items()}


@dataclass(frozen=True, kw_only=True)
class FeatureTable:
    """A feature view with its rows.

    Attributes:
        view: How the rows meet labels.
        rows: The feature table, in any order.
    """

    view: FeatureView
    rows: pl.LazyFrame | pl.DataFrame
