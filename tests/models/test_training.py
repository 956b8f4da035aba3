import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headwater.models import (
    IDENTITY,
    LightGBMModel,
    LogisticBaseline,
    ModelDeclaration,
    Split,
    ThresholdKind,
    ThresholdRule,
    TorchTabularModel,
    TrainedModel,
    UnusableDataError,
    declaration_from_json,
    train_lightgbm,
    train_logistic,
    train_model,
    write_bundle,
)
from headwater.models.errors import (
    EmptyPartError,
    LabelError,
    MissingColumnsError,
    ModelDeclarationError,
    NullInputError,
    RecordError,
    WrongDtypeError,
)
from headwater.models.evaluation_metrics import area_under_curve
from headwater.models.logistic_adapter import LogisticScorer

ROOT = Path(__file__).parents[2]


def test_a_repeated_training_gives_the_same_bytes(
    split: Split, declaration: LightGBMModel, trained: TrainedModel
) -> None:
    again = train_lightgbm(split.train, split.validation, declaration)
    assert again.scorer.files() == trained.scorer.files()
    assert (again.threshold, again.metrics, again.reference) == (trained.threshold, trained.metrics, trained.reference)


def test_rows_read_back_in_another_order_give_the_same_bytes(
    split: Split, declaration: LightGBMModel, trained: TrainedModel
) -> None:
    shuffled = [part.sample(fraction=1.0, shuffle=True, seed=9) for part in (split.train, split.validation)]
    chunked = pl.concat([shuffled[0][:700], shuffled[0][700:]], rechunk=False)
    again = train_lightgbm(chunked, shuffled[1], declaration)
    assert again.scorer.files() == trained.scorer.files()
    assert again.reference == trained.reference


TRAIN_IN_A_PROCESS = """
import json, sys
from pathlib import Path
import polars as pl
from headwater.models import declaration_from_json, train_model, write_bundle
folder, name, shuffled = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "shuffled"
parts = [pl.read_parquet(folder / f"{part}.parquet") for part in ("train", "validation")]
if shuffled:
    parts = [part.sample(fraction=1.0, shuffle=True, seed=41) for part in parts]
for raw in json.loads((folder / "declarations.json").read_text()):
    write_bundle(folder / name / raw["kind"], train_model(*parts, declaration_from_json(raw)))
"""


def identity_files(folder: Path) -> dict[str, bytes]:
    files = (path for pattern in IDENTITY for path in folder.glob(pattern))
    return {path.name: path.read_bytes() for path in files}


def test_hash_seed_threads_and_row_order_change_no_byte_of_a_models_identity(
    split: Split, trained: TrainedModel, baseline: TrainedModel, tmp_path: Path
) -> None:
    split.train.write_parquet(tmp_path / "train.parquet")
    split.validation.write_parquet(tmp_path / "validation.parquet")
    declared = [model.declaration.to_json() for model in (trained, baseline)]
    (tmp_path / "declarations.json").write_text(json.dumps(declared))
    for name, rows, threads, hash_seed in (("first", "as they are", "1", "0"), ("second", "shuffled", "2", "4242")):
        surroundings = {
            "PYTHONHASHSEED": hash_seed,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "POLARS_MAX_THREADS": threads,
        }
        subprocess.run(
            [sys.executable, "-c", TRAIN_IN_A_PROCESS, str(tmp_path), name, rows],
            cwd=ROOT,
            env=os.environ | surroundings,
            timeout=120,
            check=True,
        )
    for model in (trained, baseline):
        write_bundle(tmp_path / "here" / model.declaration.kind, model)
        here = identity_files(tmp_path / "here" / model.declaration.kind)
        assert len(here) == 7
        for name in ("first", "second"):
            assert identity_files(tmp_path / name / model.declaration.kind) == here


def test_a_changed_row_changes_the_model(split: Split, declaration: LightGBMModel, trained: TrainedModel) -> None:
    changed = split.train.with_columns(
        late=pl.when(pl.int_range(pl.len()) == 3).then(1 - pl.col("late")).otherwise("late")
    )
    again = train_lightgbm(changed, split.validation, declaration)
    assert again.scorer.files() != trained.scorer.files()


def test_the_model_learns_and_beats_the_baseline(split: Split, trained: TrainedModel, baseline: TrainedModel) -> None:
    label = split.test["late"].to_numpy()
    ours = area_under_curve(label, trained.predict(split.test))
    assert ours > area_under_curve(label, baseline.predict(split.test)) + 0.05
    assert ours > 0.7


def test_unknown_categories_and_nulls_are_scored(split: Split, trained: TrainedModel) -> None:
    rows = pl.DataFrame(
        {"delay": [None], "hops": [None], "zone": ["pluto"], "gate": [99], "wet": [None]},
        schema=split.test.select("delay", "hops", "zone", "gate", "wet").schema,
    )
    score = trained.predict(rows)
    assert score.shape == (1,)
    assert 0.0 < score[0] < 1.0
    assert trained.predict(rows.clear()).shape == (0,)


def test_early_stopping_keeps_the_best_round(split: Split, declaration: LightGBMModel) -> None:
    long = replace(declaration, num_boost_round=400, early_stopping_rounds=5)
    trained = train_lightgbm(split.train, split.validation, long)
    assert 1 < trained.metrics["rounds"] < 400
    exactly = replace(declaration, num_boost_round=int(trained.metrics["rounds"]), early_stopping_rounds=None)
    same = train_lightgbm(split.train, split.validation, exactly)
    np.testing.assert_array_equal(same.predict(split.test), trained.predict(split.test))


def test_the_threshold_marks_the_declared_share_of_validation(split: Split, declaration: LightGBMModel) -> None:
    rule = ThresholdRule(kind=ThresholdKind.POSITIVE_RATE, value=0.2)
    trained = train_lightgbm(split.train, split.validation, replace(declaration, threshold=rule))
    assert trained.decide(trained.predict(split.validation)).mean() == pytest.approx(0.2, abs=0.02)


def test_the_logistic_scorer_agrees_with_scikit_learn_on_plain_numbers(split: Split) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train = split.train.with_columns(double=pl.col("hops") * 2.0 + pl.col("gate"))
    held = split.validation.with_columns(double=pl.col("hops") * 2.0 + pl.col("gate"))
    declaration = LogisticBaseline(features=("hops", "double"), label="late")
    ours = train_logistic(train, held, declaration)
    assert ours.metrics["converged"]
    scale = StandardScaler().fit(train.select("hops", "double").to_numpy())
    theirs = LogisticRegression(max_iter=500).fit(
        scale.transform(train.select("hops", "double").to_numpy()), train["late"]
    )
    expected = theirs.predict_proba(scale.transform(held.select("hops", "double").to_numpy()))[:, 1]
    np.testing.assert_allclose(ours.predict(held), expected, atol=2e-4)


def test_the_logistic_scorer_gives_a_row_the_same_score_whatever_is_scored_with_it() -> None:
    features = (
        {"name": "hops", "mean": 3.5, "scale": 1.7, "weight": 0.4, "missing": -0.3},
        {"name": "zone", "codes": [0.1, -0.7, 1.3]},
        {"name": "gate", "mean": -2.0, "scale": 0.3, "weight": -0.21, "missing": 0.9},
    )
    scorer, random = LogisticScorer(intercept=-0.2, features=features), np.random.default_rng(5)
    matrix = np.column_stack([random.normal(4, 2, 2_500), random.integers(0, 3, 2_500), random.normal(0, 1, 2_500)])
    matrix[random.random(2_500) < 0.1, 0] = np.nan
    together = scorer.score(matrix)
    assert [together[row] for row in range(0, 2_500, 97)] == [
        scorer.score(matrix[[row]])[0] for row in range(0, 2_500, 97)
    ]
    assert scorer.score(matrix[:0]).shape == (0,)
    by_hand = -0.2 - 0.3 + 1.3 - 0.21 * (0.25 + 2.0) / 0.3  # hops is null, zone has the third code
    assert scorer.score(np.array([[np.nan, 2.0, 0.25]]))[0] == pytest.approx(1 / (1 + np.exp(-by_hand)), rel=1e-12)


def test_the_logistic_training_is_deterministic(split: Split, baseline: TrainedModel) -> None:
    shuffled = split.train.sample(fraction=1.0, shuffle=True, seed=4)
    again = train_model(shuffled, split.validation, baseline.declaration)
    assert again.scorer.files() == baseline.scorer.files()


Spoil = Callable[[pl.DataFrame], pl.DataFrame]
UNUSABLE: dict[str, tuple[Spoil, type[Exception], str]] = {
    "a missing feature": (lambda frame: frame.drop("zone"), MissingColumnsError, "'zone'"),
    "a missing label": (lambda frame: frame.drop("late"), MissingColumnsError, "'late'"),
    "a feature of text": (lambda frame: frame.with_columns(delay=pl.lit("x")), WrongDtypeError, "'delay'"),
    "a label of text": (lambda frame: frame.with_columns(late=pl.lit("yes")), WrongDtypeError, "'late'"),
    "an all-null label": (
        lambda frame: frame.with_columns(late=pl.lit(None, dtype=pl.Int8)),
        LabelError,
        "null in all",
    ),
    "a null in the label": (
        lambda frame: frame.with_columns(late=pl.when(pl.int_range(pl.len()) > 0).then("late")),
        LabelError,
        "null in 1 of",
    ),
    "one class only": (lambda frame: frame.with_columns(late=pl.lit(1)), LabelError, "one class only"),
    "three classes": (lambda frame: frame.with_columns(late=pl.int_range(pl.len()) % 3), LabelError, "2.0"),
    "no rows": (lambda frame: frame.clear(), EmptyPartError, "no rows"),
}


@pytest.mark.parametrize("part", ["training", "validation"])
@pytest.mark.parametrize("what", UNUSABLE)
def test_unusable_rows_are_an_error_that_names_the_part_and_the_column(
    what: str, part: str, split: Split, declaration: LightGBMModel
) -> None:
    spoil, error, message = UNUSABLE[what]
    train = spoil(split.train) if part == "training" else split.train
    validation = spoil(split.validation) if part == "validation" else split.validation
    with pytest.raises(error, match=message) as caught:
        train_model(train, validation, declaration)
    assert isinstance(caught.value, UnusableDataError)
    assert part in str(caught.value)


def test_a_null_in_a_never_null_feature_stops_the_training(split: Split, declaration: LightGBMModel) -> None:
    with pytest.raises(NullInputError, match="'delay'"):
        train_model(split.train, split.validation, replace(declaration, not_null=("delay",)))


def test_a_nested_feature_is_refused_by_name(split: Split, declaration: LightGBMModel) -> None:
    nested = split.train.with_columns(hops=pl.concat_list("hops"))
    with pytest.raises(WrongDtypeError, match="'hops'"):
        train_model(nested, split.validation, declaration)


WRONG: dict[str, Callable[[], ModelDeclaration]] = {
    "no features": lambda: LightGBMModel(features=(), label="y"),
    "a feature twice": lambda: LightGBMModel(features=("a", "a"), label="y"),
    "the label as feature": lambda: LightGBMModel(features=("a", "y"), label="y"),
    "an unknown category": lambda: LightGBMModel(features=("a",), categorical=("b",), label="y"),
    "an owned parameter": lambda: LightGBMModel(features=("a",), label="y", parameters={"num_threads": 8}),
    "no trees": lambda: LightGBMModel(features=("a",), label="y", num_boost_round=0),
    "a name LightGBM rewrites": lambda: LightGBMModel(features=("a b",), label="y"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_impossible_model_cannot_be_declared(what: str) -> None:
    with pytest.raises(ModelDeclarationError):
        WRONG[what]()


def test_a_parameter_that_lightgbm_refuses_is_a_declaration_error(split: Split, declaration: LightGBMModel) -> None:
    wrong = replace(declaration, parameters={"learning_rate": -1.0})
    with pytest.raises(ModelDeclarationError, match="learning_rate"):
        train_model(split.train, split.validation, wrong)


@pytest.mark.parametrize(
    "declared",
    [
        LightGBMModel(features=("a", "b"), categorical=("b",), label="y", parameters={"max_depth": 3}),
        LogisticBaseline(features=("a",), label="y", threshold=ThresholdRule(kind=ThresholdKind.COST, value=3.0)),
        TorchTabularModel(features=("a",), label="y", hidden=(8, 4)),
    ],
)
def test_a_declaration_reads_back_from_json(declared: ModelDeclaration) -> None:
    assert declaration_from_json(json.loads(json.dumps(declared.to_json()))) == declared


@pytest.mark.parametrize(
    "damage", [{}, {"kind": "oracle"}, {"kind": "lightgbm"}, {"kind": "lightgbm", "threshold": {}}]
)
def test_a_damaged_declaration_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(RecordError, match="declaration"):
        declaration_from_json(damage)
