"""Which features a model leans on: the algorithm's own gain, and the loss of AUC when a column is shuffled."""

import numpy as np
import polars as pl

from headwater.models.evaluation import GAIN, PERMUTATION, Importance
from headwater.models.evaluation_metrics import area_under_curve
from headwater.models.training import Predictor, canonical, read_label


def gain_importance(model: Predictor) -> tuple[Importance, ...]:
    """The algorithm's own importances as shares of their sum, largest first; empty when it has none."""
    gains = model.scorer.importance()
    total = sum(gains.values())
    shares = {name: gain / total if total else 0.0 for name, gain in gains.items()}
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Importance(feature=name, method=GAIN, value=value) for name, value in ranked)


def permutation_importance(
    model: Predictor, frame: pl.DataFrame, *, repeats: int = 3, max_rows: int = 5000, seed: int = 7
) -> tuple[Importance, ...]:
    """Mean loss of AUC when one feature's values are shuffled among the rows (Breiman 2001), largest first.

    Args:
        model: The model.
        frame: Rows with features and label, such as the test part. Their order changes nothing.
        repeats: Shuffles a feature, >= 1.
        max_rows: A seeded sample of so many rows is used when there are more.
        seed: Of the sample and the shuffles.

    Raises:
        LabelError: The label is unusable or one class only: AUC would be undefined.
    """
    rows = canonical(frame, model.declaration, rows="judged")
    label = read_label(rows, model.declaration.label, rows="judged")
    matrix = model.preprocessing.transform(rows, rows="judged")
    generator = np.random.Generator(np.random.PCG64(seed))
    if len(label) > max_rows:
        chosen = np.sort(generator.choice(len(label), max_rows, replace=False))
        matrix, label = matrix[chosen], label[chosen]
    whole = area_under_curve(label, model.scorer.score(matrix))
    found = []
    for index, name in enumerate(model.preprocessing.names):
        losses = []
        for _ in range(repeats):
            shuffled = matrix.copy()
            shuffled[:, index] = matrix[generator.permutation(len(matrix)), index]
            losses.append(whole - area_under_curve(label, model.scorer.score(shuffled)))
        value, spread = float(np.mean(losses)), float(np.std(losses))
        found.append(Importance(feature=name, method=PERMUTATION, value=value, spread=spread))
    return tuple(sorted(found, key=lambda item: (-item.value, item.feature)))
