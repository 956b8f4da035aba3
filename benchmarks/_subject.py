"""What every server answers from: one LightGBM model, rows for it, and the scores that must come back.

Of a built lake with online features that is the released model of `flights`, with its own rows; otherwise a model trained
here on made-up rows, always the same.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np
import polars as pl

from headwater.lake import EmbeddedLake, Snapshot
from headwater.models import Bundle, read_bundle
from headwater.models.lightgbm_adapter import FILE
from headwater.models.row_encoder import RowEncoder
from headwater.registry import live_version, model_version

PRODUCT: Final = "flights"
ROWS: Final = 256
_NUMERIC, _CODED, _TREES, _TRAINED = 35, 10, 300, 20_000


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model with questions and answers.

    Attributes:
        what: The model in words.
        text: LightGBM's model text.
        names: Its inputs.
        rows: Rows as the model reads them, None for a missing value.
        scores: The model's answer to each row, `[rows]`.
        questions: The same rows as one asks the service: fields of the labelled event, and the time. None for made-up rows.
    """

    what: str
    text: str
    names: Sequence[str]
    rows: Sequence[Sequence[float | None]]
    scores: Sequence[float]
    questions: Sequence[dict[str, Any]] | None = None

    def write(self, folder: Path) -> None:
        """Puts what the peers read into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(self.text)
        (folder / "names.json").write_text(json.dumps(list(self.names)))


def subject(state: Path) -> Subject:
    """The released model of the lake in a state folder, or the made-up one."""
    found = _released(state / "lake") if (state / "lake").is_dir() else None
    return found or made_up()


def made_up() -> Subject:
    """300 trees over 45 inputs: numbers, and categories as codes."""
    draw = np.random.default_rng(7)
    numbers = draw.normal(size=(_TRAINED, _NUMERIC))
    codes = draw.integers(0, 20, size=(_TRAINED, _CODED))
    weights = draw.normal(size=_NUMERIC) / 4
    odds = numbers @ weights + np.sin(3 * numbers[:, 0]) + (codes[:, 0] % 3 - 1) + (codes[:, 1] > 12) * numbers[:, 1]
    label = (draw.random(_TRAINED) < 1 / (1 + np.exp(-odds))).astype(int)
    matrix = np.hstack([numbers, codes.astype(float)])
    names = [f"number_{n}" for n in range(_NUMERIC)] + [f"code_{n}" for n in range(_CODED)]
    data = lightgbm.Dataset(matrix, label, feature_name=names, categorical_feature=names[_NUMERIC:])
    parameters = {
        "objective": "binary", "num_leaves": 31, "min_data_in_leaf": 50, "learning_rate": 0.05, "deterministic": True,
        "force_row_wise": True, "num_threads": 1, "seed": 7, "verbosity": -1,
    }  # fmt: skip
    text = lightgbm.train(parameters, data, num_boost_round=_TREES).model_to_string()
    return _answered(f"{_TREES} trees over {len(names)} made-up inputs", text, names, matrix[:ROWS])


def _answered(
    what: str, text: str, names: Sequence[str], matrix: np.ndarray, questions: Sequence[dict[str, Any]] | None = None
) -> Subject:
    booster = lightgbm.Booster(model_str=text)
    rows = [[None if math.isnan(value) else value for value in row] for row in matrix.tolist()]
    scores = np.asarray(booster.predict(matrix, num_threads=1)).tolist()
    return Subject(what=what, text=text, names=names, rows=rows, scores=scores, questions=questions)


def _released(place: Path) -> Subject | None:
    lake = EmbeddedLake.open(place, create=False)
    version, now = live_version(lake, PRODUCT), lake.at("main")
    if version is None or not now.has(f"{PRODUCT}/online_features"):
        return None
    published = model_version(lake, f"{PRODUCT}@{version}")
    bundle = read_bundle(lake.at(published.commit).folder(f"{PRODUCT}/model"))
    text = bundle.scorer.files()[FILE].decode()
    events = _events(now, bundle.preprocessing.names)
    matrix = RowEncoder(bundle.preprocessing).matrix(events.to_dicts())
    what = f"{PRODUCT} {version}, {text.count('Tree=')} trees over {matrix.shape[1]} inputs"
    return _answered(what, text, bundle.preprocessing.names, matrix, _questions(events, bundle))


def _events(now: Snapshot, names: Sequence[str]) -> pl.DataFrame:
    """Rows of the training set that the online features can answer, evenly over their time.

    Those without a missing value: MLflow without a signature makes texts of a column that has one, and then refuses it.
    """
    from assets.flights.product import PRODUCT as FLIGHTS

    since = json.loads((now.folder(f"{PRODUCT}/online_features") / "online.json").read_text())["since"]
    time = FLIGHTS.labels.time
    known = (
        now.table(f"{PRODUCT}/training_set")
        .filter(pl.col(time).dt.epoch("us") >= since)
        .drop_nulls(names)
        .sort(time)
        .collect()
    )
    return known.gather_every(max(1, known.height // ROWS)).head(ROWS)


def _questions(events: pl.DataFrame, bundle: Bundle) -> list[dict[str, Any]]:
    """As a caller asks: with the fields that the version takes, which are not all columns of a label."""
    from assets.flights.product import PRODUCT as FLIGHTS

    labels = FLIGHTS.labels
    assert bundle.request is not None
    fields = events.select(field.name for field in bundle.request.fields).to_dicts()
    return [
        {"entity": {name: _text(value) for name, value in row.items()}, "time": _text(time)}
        for row, time in zip(fields, events.get_column(labels.time), strict=True)
    ]


def _text(value: Any) -> Any:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
