from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from headwater.models import Split, TorchTabularModel, TrainedModel, train_model, write_bundle
from headwater.models.errors import MissingPackageError, RecordError
from headwater.models.evaluation_metrics import area_under_curve
from headwater.models.torch_adapter import FILE, load

torch_needed = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed (extra `torch`)")
NETWORK = TorchTabularModel(
    features=("delay", "hops", "zone", "gate", "wet"),
    categorical=("zone", "gate"),
    label="late",
    epochs=8,
    batch_rows=128,
    learning_rate=5e-3,
)


@pytest.fixture(scope="module")
def network(split: Split) -> TrainedModel:
    return train_model(split.train, split.validation, NETWORK)


@torch_needed
def test_a_network_learns_and_trains_to_the_same_bytes_in_any_row_order(
    split: Split, network: TrainedModel, baseline: TrainedModel
) -> None:
    label = split.test["late"].to_numpy()
    ours = area_under_curve(label, network.predict(split.test))
    assert ours > area_under_curve(label, baseline.predict(split.test)) + 0.05
    shuffled = split.train.sample(fraction=1.0, shuffle=True, seed=9)
    assert train_model(shuffled, split.validation, NETWORK).scorer.files() == network.scorer.files()
    other = train_model(split.train, split.validation, replace(NETWORK, seed=3))
    assert other.scorer.files() != network.scorer.files()


@torch_needed
def test_training_leaves_torch_as_it_was(split: Split) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    train_model(split.train, split.validation, replace(NETWORK, epochs=1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


@torch_needed
def test_a_network_has_the_same_bundle_and_scores_the_same_without_torch(
    split: Split, network: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    bundle = write_bundle(tmp_path / "bundle", network)
    np.testing.assert_array_equal(bundle.predict(split.test), network.predict(split.test))
    assert (tmp_path / "bundle" / FILE).is_file()


@torch_needed
def test_numpy_scores_what_torch_would(split: Split, network: TrainedModel) -> None:
    import torch

    arrays: Mapping[str, np.ndarray] = network.scorer.arrays
    matrix = network.preprocessing.transform(split.test)
    numbers = matrix[:, arrays["numeric"]]
    missing = np.isnan(numbers)
    blocks = [(np.where(missing, arrays["mean"], numbers) - arrays["mean"]) / arrays["scale"], missing.astype(float)]
    blocks += [arrays[f"embedding.{index}"][matrix[:, at].astype(int)] for index, at in enumerate(arrays["coded"])]
    hidden = torch.from_numpy(np.concatenate(blocks, axis=1)).float()
    for index in range(3):
        hidden = hidden @ torch.from_numpy(arrays[f"weight.{index}"]).T + torch.from_numpy(arrays[f"bias.{index}"])
        hidden = torch.relu(hidden) if index < 2 else hidden
    np.testing.assert_allclose(network.predict(split.test), torch.sigmoid(hidden[:, 0]).numpy(), atol=1e-5)


def test_without_torch_the_error_names_the_extra(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match=r"headwater\[torch\]"):
        train_model(split.train, split.validation, NETWORK)


def test_arrays_that_would_need_pickle_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", weight=np.array([{"a": 1}], dtype=object))
    for content in ((tmp_path / "evil.npz").read_bytes(), b"", b"PK garbage"):
        with pytest.raises(RecordError, match="network"):
            load({FILE: content})
