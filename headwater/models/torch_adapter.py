"""A small neural network fitted by torch on one thread and kept as plain arrays: scoring needs NumPy alone."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from headwater.models.declarations import TorchTabularModel
from headwater.models.errors import MissingPackageError, RecordError
from headwater.models.preprocessing import FeatureKind, Preprocessing
from headwater.models.training import Matrices

FILE: Final = "model.npz"
_MEAN, _SCALE, _NUMERIC, _CODED = "mean", "scale", "numeric", "coded"


@dataclass(frozen=True, kw_only=True)
class NetworkScorer:
    """The network's arrays by name.

    Attributes:
        arrays: `numeric` and `coded` (column positions), `mean` and `scale` (of the numeric ones), `embedding.<i>`
            (one row a code), `weight.<i>` and `bias.<i>` (layers, the last gives the log odds). No object arrays.
    """

    arrays: Mapping[str, np.ndarray]

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities of the positive class, float64 `[rows]`."""
        hidden = self._inputs(matrix)
        layers = sum(name.startswith("weight.") for name in self.arrays)
        for index in range(layers):
            # einsum, not a BLAS product: the number of threads must not change the last bits of a score.
            weight = self.arrays[f"weight.{index}"].astype(np.float64)
            hidden = np.einsum("ij,kj->ik", hidden, weight) + self.arrays[f"bias.{index}"]
            if index < layers - 1:
                hidden = np.maximum(hidden, 0.0)
        return 1.0 / (1.0 + np.exp(-np.clip(hidden[:, 0], -500, 500)))

    def _inputs(self, matrix: np.ndarray) -> np.ndarray:
        blocks = [*_scaled(matrix[:, self.arrays[_NUMERIC]], self.arrays[_MEAN], self.arrays[_SCALE])]
        for index, position in enumerate(self.arrays[_CODED]):
            blocks.append(self.arrays[f"embedding.{index}"].astype(np.float64)[matrix[:, position].astype(np.int64)])
        return np.concatenate(blocks, axis=1)

    def files(self) -> Mapping[str, bytes]:
        """The arrays as an uncompressed `.npz` without times, so that equal arrays give equal bytes."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(self.arrays):
                content = io.BytesIO()
                np.lib.format.write_array(content, np.ascontiguousarray(self.arrays[name]), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())
        return {FILE: packed.getvalue()}

    def importance(self) -> Mapping[str, float]:
        """None of its own: use permutation."""
        return {}


def train(matrices: Matrices, declaration: TorchTabularModel) -> tuple[NetworkScorer, dict[str, float | int | bool]]:
    """Fits by Adam on the CPU, one thread, seeded; keeps the epoch with the best validation log loss.

    Raises:
        MissingPackageError: torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingPackageError(package="torch", extra="torch", purpose="a TorchTabularModel") from error
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(declaration.seed)
            return _fit(torch, matrices, declaration)
    finally:
        torch.set_num_threads(threads)


def load(files: Mapping[str, bytes]) -> NetworkScorer:
    """The scorer that `files` came from. Object arrays, which would need pickle, are refused.

    Raises:
        RecordError: It is no such archive.
    """
    try:
        with np.load(io.BytesIO(files[FILE]), allow_pickle=False) as archive:
            return NetworkScorer(arrays={name: archive[name] for name in archive.files})
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(record="network", reason=str(error)) from error


def _fit(
    torch: Any, matrices: Matrices, declaration: TorchTabularModel
) -> tuple[NetworkScorer, dict[str, float | int | bool]]:
    fixed = _fixed(matrices.train, matrices.preprocessing)
    numbers, codes = _tensors(torch, matrices.train, fixed)
    held_numbers, held_codes = _tensors(torch, matrices.validation, fixed)
    label = torch.from_numpy(matrices.train_label.astype(np.float32))
    held_label = torch.from_numpy(matrices.validation_label.astype(np.float32))
    sizes = [
        len(item.vocabulary) + 1 for item in matrices.preprocessing.features if item.kind is FeatureKind.CATEGORICAL
    ]
    embeddings = [torch.nn.Embedding(size, declaration.embedding) for size in sizes]
    widths = [numbers.shape[1] + len(sizes) * declaration.embedding, *declaration.hidden, 1]
    layers = [torch.nn.Linear(left, right) for left, right in pairwise(widths)]
    modules = torch.nn.ModuleList([*embeddings, *layers])
    optimizer = torch.optim.Adam(modules.parameters(), lr=declaration.learning_rate)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits

    def odds(number: Any, code: Any) -> Any:
        hidden = torch.cat([number, *(table(code[:, index]) for index, table in enumerate(embeddings))], dim=1)
        for layer in layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return layers[-1](hidden)[:, 0]

    best, kept, epoch_kept = float("inf"), _arrays(embeddings, layers), 0
    for epoch in range(1, declaration.epochs + 1):
        order = torch.randperm(len(label))
        for start in range(0, len(label), declaration.batch_rows):
            rows = order[start : start + declaration.batch_rows]
            optimizer.zero_grad()
            loss_of(odds(numbers[rows], codes[rows]), label[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(loss_of(odds(held_numbers, held_codes), held_label))
        if loss < best:
            best, kept, epoch_kept = loss, _arrays(embeddings, layers), epoch
    return NetworkScorer(arrays={**fixed, **kept}), {"rounds": epoch_kept}


def _fixed(matrix: np.ndarray, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Column positions, means and scales: what is computed rather than learned by descent."""
    coded = [item.kind is FeatureKind.CATEGORICAL for item in preprocessing.features]
    numeric = np.flatnonzero(~np.array(coded))
    means, scales = np.zeros(len(numeric)), np.ones(len(numeric))
    for index, position in enumerate(numeric):
        known = matrix[:, position][~np.isnan(matrix[:, position])]
        if len(known):
            means[index], scales[index] = known.mean(), known.std() or 1.0
    return {_NUMERIC: numeric, _CODED: np.flatnonzero(coded), _MEAN: means, _SCALE: scales}


def _scaled(columns: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    missing = np.isnan(columns)
    return (np.where(missing, mean, columns) - mean) / scale, missing.astype(np.float64)


@np.errstate(over="ignore", invalid="ignore")
def _tensors(torch: Any, matrix: np.ndarray, fixed: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
    numbers = np.concatenate(_scaled(matrix[:, fixed[_NUMERIC]], fixed[_MEAN], fixed[_SCALE]), axis=1)
    codes = matrix[:, fixed[_CODED]].astype(np.int64)
    return torch.from_numpy(numbers.astype(np.float32)), torch.from_numpy(codes)


def _arrays(embeddings: Sequence[Any], layers: Sequence[Any]) -> dict[str, np.ndarray]:
    kept = {f"embedding.{index}": table.weight for index, table in enumerate(embeddings)}
    kept |= {f"weight.{index}": layer.weight for index, layer in enumerate(layers)}
    kept |= {f"bias.{index}": layer.bias for index, layer in enumerate(layers)}
    return {name: value.detach().numpy().copy() for name, value in kept.items()}
