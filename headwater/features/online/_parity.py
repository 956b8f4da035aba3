"""Whether a store answers what a training set would have had: the same instants asked of it and of the point-in-time join."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from headwater.features._point_in_time import point_in_time_join
from headwater.features._view import FeatureTable
from headwater.features.online._interface import Lookup, OnlineStore

_BATCH: Final = 500
_SHOWN: Final = 20


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One feature of one question that differs.

    Attributes:
        view: The view.
        feature: The feature, under the training set's name.
        entity: Whom it is about.
        at: The time asked.
        online: The store's value.
        offline: The join's value.
    """

    view: str
    feature: str
    entity: tuple[Any, ...]
    at: str
    online: Any
    offline: Any


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The outcome of a comparison.

    Attributes:
        compared: Values compared.
        found: Of them with a value that is not null in the join: without any, nothing was proven.
        different: Values that differ.
        examples: Some of them.
    """

    compared: int
    found: int
    different: int
    examples: tuple[Difference, ...]


def parity(
    store: OnlineStore, product: str, tables: Sequence[FeatureTable], labels: pl.DataFrame, *, time: str
) -> Parity:
    """Compares every feature of `labels` in the store with the join's, exactly: null only equals null, NaN only NaN.

    Args:
        store: The store.
        product: The product.
        tables: The feature tables in the lake.
        labels: Whom to ask about and when: the views' keys and `time`, a Datetime; each time within the store's window.
        time: That column.

    Raises:
        NotPublishedError, TimeBeforeWindowError, EntityValueError, OnlineStoreError: As of `OnlineStore.lookup`.
        MissingColumnError, TimeTypeError, EntityTypeError: As of the join.
    """
    keys = list(dict.fromkeys(key for table in tables for key in table.view.keys))
    asked = labels.select(time, *keys)
    offline = point_in_time_join(asked, tables, time=time).collect()
    moments = asked.get_column(time).dt.epoch("us").to_list()
    compared = found = different = 0
    examples: list[Difference] = []
    for table in tables:
        view = table.view
        entities = list(asked.select(view.keys).iter_rows()) if view.keys else [()] * asked.height
        answers = _answers(store, product, view.name, entities, moments)
        columns = {name: offline.get_column(name).to_list() for name in view.outputs.values()}
        for place, (feature, wanted) in enumerate(columns.items()):
            compared += len(wanted)
            found += sum(value is not None for value in wanted)
            for row, value in enumerate(wanted):
                online = answers[row][place]
                if same(online, value):
                    continue
                different += 1
                if len(examples) < _SHOWN:
                    examples.append(
                        Difference(
                            view=view.name, feature=feature, entity=entities[row], at=str(asked[time][row]),
                            online=online, offline=value,
                        )
                    )  # fmt: skip
    return Parity(compared=compared, found=found, different=different, examples=tuple(examples))


def same(online: Any, offline: Any) -> bool:
    """Whether two values are the same: of one type, and equal or both NaN."""
    return type(online) is type(offline) and (online == offline or (online != online and offline != offline))


def _answers(
    store: OnlineStore, product: str, view: str, entities: Sequence[tuple[Any, ...]], moments: Sequence[int]
) -> list[tuple[Any, ...]]:
    asked = [Lookup(view, entity, at) for entity, at in zip(entities, moments, strict=True)]
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(asked), _BATCH):
        found += [row.values for row in store.lookup(product, asked[start : start + _BATCH])[1]]
    return found
