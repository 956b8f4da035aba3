from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from headwater.models import (
    Bootstrap,
    Evaluation,
    Rival,
    Split,
    TrainedModel,
    evaluate,
    gain_importance,
    permutation_importance,
    plots,
)
from headwater.models.errors import LabelError


def test_the_gain_names_every_feature_and_sums_to_one(trained: TrainedModel) -> None:
    gains = gain_importance(trained)
    assert {item.feature for item in gains} == set(trained.preprocessing.names)
    assert sum(item.value for item in gains) == pytest.approx(1.0)
    assert [item.value for item in gains] == sorted((item.value for item in gains), reverse=True)
    assert gains[0].feature == "delay"


def test_shuffling_a_column_that_matters_costs_auc_and_one_that_does_not_costs_none(
    split: Split, trained: TrainedModel
) -> None:
    losses = {item.feature: item.value for item in permutation_importance(trained, split.test)}
    assert losses["delay"] > 0.05
    assert losses["wet"] > losses["hops"]
    assert abs(losses["hops"]) < 0.02


def test_permutation_importance_depends_on_the_rows_not_on_their_order(split: Split, trained: TrainedModel) -> None:
    shuffled = split.test.sample(fraction=1.0, shuffle=True, seed=6)
    ours = permutation_importance(trained, split.test, max_rows=200)
    assert permutation_importance(trained, shuffled, max_rows=200) == ours
    assert permutation_importance(trained, split.test, max_rows=200, seed=8) != ours


def test_permutation_importance_of_one_class_is_an_error(split: Split, trained: TrainedModel) -> None:
    with pytest.raises(LabelError, match="one class only"):
        permutation_importance(trained, split.test.with_columns(late=pl.lit(0)))


@pytest.fixture(scope="module")
def evaluation(split: Split, trained: TrainedModel, baseline: TrainedModel) -> Evaluation:
    return evaluate(
        labels=split.test["late"].to_numpy(),
        scores=trained.predict(split.test),
        threshold=trained.threshold,
        baseline=Rival(version="logistic", scores=baseline.predict(split.test), threshold=baseline.threshold),
        champion=None,
        bootstrap=Bootstrap(resamples=20),
        importances=gain_importance(trained),
    )


def test_plots_are_svg_with_the_same_bytes_each_time_and_no_date(evaluation: Evaluation) -> None:
    drawn = plots(evaluation)
    assert set(drawn) == {"calibration", "lift", "roc", "importances"}
    assert drawn == plots(evaluation)
    for text in drawn.values():
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert "dc:date" not in text
    assert f"AUC {evaluation.metric('auc').value:.3f}" in drawn["roc"]
    assert "delay" in drawn["importances"]


def test_a_plot_with_nothing_to_show_is_left_out() -> None:
    one_class = evaluate(labels=np.zeros(30), scores=np.linspace(0, 1, 30), threshold=0.5, baseline=None, champion=None)
    assert set(plots(one_class)) == {"calibration"}
