"""Feast's online store over the benchmark's table; runs in Feast's own environment, knows nothing of Headwater.

Writes the table, says so on a line, and then answers each line of JSON: lists of entities in, nanoseconds of each call and
the values of the last one out.

python feast_online.py FOLDER sqlite|redis [HOST:PORT,db=N]
"""

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ["FEAST_USAGE"] = "False"

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType


def opened(folder: Path, kind: str, where: str) -> FeatureStore:
    """A store with one view, applied."""
    place = folder / f"feast-{kind}"
    place.mkdir()
    online = f"  path: {place}/online.db\n" if kind == "sqlite" else f"  connection_string: {where}\n"
    (place / "feature_store.yaml").write_text(
        f"project: bench\nprovider: local\nentity_key_serialization_version: 3\n"
        f"registry:\n  path: {place}/registry.db\n  cache_ttl_seconds: 0\nonline_store:\n  type: {kind}\n{online}"
    )
    store = FeatureStore(repo_path=str(place))
    entity = Entity(name="who", join_keys=["who"], value_type=ValueType.INT64)
    view = FeatureView(
        name="history",
        entities=[entity],
        ttl=timedelta(0),
        schema=[Field(name=f"a{number}", dtype=Float64) for number in range(5)],
        source=FileSource(path=str(folder / "table.parquet"), timestamp_field="event_time"),
    )
    store.apply([entity, view])
    return store


def ask(store: FeatureStore, asked: list[list[int]]) -> dict[str, Any]:
    """One call for each list of entities."""
    features = [f"history:a{number}" for number in range(5)]
    taken: list[int] = []
    found: dict[str, list[Any]] = {}
    for entities in asked:
        start = time.perf_counter_ns()
        found = store.get_online_features(features=features, entity_rows=[{"who": who} for who in entities]).to_dict()
        taken.append(time.perf_counter_ns() - start)
    return {"taken": taken, "values": [list(row) for row in zip(*(found[f"a{n}"] for n in range(5)), strict=True)]}


def main(folder: Path, kind: str, where: str) -> None:
    """Writes, then answers until there are no more lines."""
    store = opened(folder, kind, where)
    table = pd.read_parquet(folder / "table.parquet")
    start = time.perf_counter()
    store.write_to_online_store("history", df=table)
    print(json.dumps({"publish": time.perf_counter() - start}), flush=True)
    for line in sys.stdin:
        print(json.dumps(ask(store, json.loads(line))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "")
