"""Feast's offline store over the benchmark's files; runs in Feast's own environment, knows nothing of Headwater.

python _feast_peer.py FOLDER dask|duckdb LABELS ROUNDS
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType


def main(folder: Path, store_type: str, labels: int, rounds: int) -> None:
    """Prints the seconds of each round and the number of rows as one line of JSON."""
    place = folder / f"feast-{store_type}"
    place.mkdir(exist_ok=True)
    (place / "feature_store.yaml").write_text(
        f"project: bench\nregistry: {place}/registry.db\nprovider: local\nentity_key_serialization_version: 3\n"
        f"offline_store:\n  type: {store_type}\nonline_store:\n  type: sqlite\n  path: {place}/online.db\n"
    )
    store = FeatureStore(repo_path=str(place))
    entity = Entity(name="who", join_keys=["who"], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=f"table{number}",
            entities=[entity],
            ttl=timedelta(days=30),
            schema=[Field(name=f"{name}{number}", dtype=Float64) for name in "ab"],
            source=FileSource(
                path=str(folder / f"table{number}.parquet"), timestamp_field="event_time", created_timestamp_column="known_at"
            ),
        )
        for number in range(3)
    ]  # fmt: skip
    store.apply([entity, *views])
    asked = pd.read_parquet(folder / "labels.parquet").head(labels).rename(columns={"at": "event_timestamp"})
    features = [f"table{number}:{name}{number}" for number in range(3) for name in "ab"]
    taken, used, rows = [], [], 0
    for _ in range(rounds):
        start, before = time.perf_counter(), time.process_time()
        rows = len(store.get_historical_features(entity_df=asked, features=features).to_df())
        taken.append(time.perf_counter() - start)
        used.append(time.process_time() - before)
    print(json.dumps({"wall": taken, "cpu": used, "rows": rows}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
