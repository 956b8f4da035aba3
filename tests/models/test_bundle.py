import hashlib
import json
import pickletools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headwater.models import IDENTITY, LightGBMModel, Split, TrainedModel, read_bundle, train_model, write_bundle
from headwater.models.errors import BundleError, BundleExistsError, ReservedFileError
from tests.models.conftest import make_rows

ROOT = Path(__file__).parents[2]
FILES = {
    "MLmodel", "declaration.json", "digests.json", "environment.lock", "metrics.json", "model.lgb.txt",
    "preprocessing.json", "signature.json", "threshold.json", "training_reference.json",
}  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def template(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "bundle"
    write_bundle(folder, trained)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A bundle of one's own to spoil."""
    return shutil.copytree(template, tmp_path / "bundle")


def test_a_bundle_read_back_is_the_model_that_was_written(split: Split, trained: TrainedModel, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", trained)
    bundle = read_bundle(tmp_path / "bundle")
    assert set(content(tmp_path / "bundle")) == FILES
    np.testing.assert_array_equal(bundle.predict(split.test), trained.predict(split.test))
    scores = trained.predict(split.test)
    np.testing.assert_array_equal(bundle.decide(scores), scores >= trained.threshold)
    assert bundle.declaration == trained.declaration
    assert bundle.preprocessing == trained.preprocessing
    assert bundle.metrics == trained.metrics
    assert bundle.reference == trained.reference


def test_two_trainings_of_the_same_data_give_byte_identical_folders(
    split: Split, declaration: LightGBMModel, trained: TrainedModel, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "here", trained, extra_files={"drift/reference.json": b"{}"})
    shuffled = split.train.sample(fraction=1.0, shuffle=True, seed=2)
    again = train_model(shuffled, split.validation, declaration)
    write_bundle(tmp_path / "there" / "deeper", again, extra_files={"drift/reference.json": b"{}"})
    assert content(tmp_path / "here") == content(tmp_path / "there" / "deeper")


def test_the_logistic_baseline_has_the_same_kind_of_bundle(
    split: Split, baseline: TrainedModel, tmp_path: Path
) -> None:
    bundle = write_bundle(tmp_path / "bundle", baseline)
    np.testing.assert_array_equal(bundle.predict(split.test), baseline.predict(split.test))
    assert "model.logistic.json" in content(tmp_path / "bundle")


def test_no_file_is_a_pickle_or_names_this_machine(trained: TrainedModel, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", trained)
    for name, data in content(tmp_path / "bundle").items():
        with pytest.raises((ValueError, UnicodeDecodeError, IndexError)):
            list(pickletools.genops(data))
        assert str(tmp_path).encode() not in data, name
        assert str(ROOT).encode() not in data, name


@pytest.mark.parametrize("name", sorted(FILES - {"digests.json"}))
def test_a_changed_file_is_refused_by_name(name: str, folder: Path) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleError, match=f"'{name}' was changed") as caught:
        read_bundle(folder)
    assert caught.value.file == name


@pytest.mark.parametrize("name", ["model.lgb.txt", "preprocessing.json", "signature.json", "digests.json"])
def test_one_flipped_bit_is_refused_by_name(name: str, folder: Path) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    for place in (0, len(data) // 2, len(data) - 2):
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(BundleError) as caught:
            read_bundle(folder)
        # A digest that was flipped accuses the file that it is of.
        assert caught.value.file == name or (name == "digests.json" and caught.value.file in FILES)
        data[place] ^= 1
    path.write_bytes(data)
    read_bundle(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_refused_by_name(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"'{name}' is missing"):
        read_bundle(folder)


def test_a_missing_file_that_the_digests_hide_is_refused_by_name(folder: Path) -> None:
    digests = json.loads((folder / "digests.json").read_text())
    for name in ("threshold.json", "model.lgb.txt"):
        del digests["sha256"][name]
        (folder / name).rename(folder.parent / name)
        (folder / "digests.json").write_text(json.dumps(digests))
        with pytest.raises(BundleError, match=name.replace(".", r"\.")):
            read_bundle(folder)
        (folder.parent / name).rename(folder / name)
        digests["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_an_unlisted_file_is_refused_by_name(folder: Path) -> None:
    (folder / "evil.py").write_text("boom")
    with pytest.raises(BundleError, match=r"'evil\.py' is not listed"):
        read_bundle(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99, "sha256": {}}', '{"format": 1}', "{"])
def test_damaged_digests_are_refused(text: str, folder: Path) -> None:
    (folder / "digests.json").write_text(text)
    with pytest.raises(BundleError, match=r"'digests\.json'"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("threshold.json", "{}"),
        ("declaration.json", '{"kind": "oracle"}'),
        ("preprocessing.json", "{}"),
        ("signature.json", '{"inputs": [], "outputs": []}'),
        ("metrics.json", "[]"),
    ],
)
def test_a_file_that_is_whole_but_senseless_is_refused_by_name(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text)
    digests = json.loads((folder / "digests.json").read_text())
    digests["sha256"][name] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "digests.json").write_text(json.dumps(digests))
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert caught.value.file == name


def test_nothing_is_written_over(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(BundleExistsError, match=r"notes\.txt"):
        write_bundle(tmp_path, trained)
    assert content(tmp_path) == {"notes.txt": b"keep"}


@pytest.mark.parametrize(
    "name", ["", "/etc/x", "../x", "a/../../x", "digests.json", "model.pkl", "metrics.json", "a\\b", "./a"]
)
def test_an_extra_file_can_neither_leave_the_folder_nor_replace_a_file(
    name: str, trained: TrainedModel, tmp_path: Path
) -> None:
    with pytest.raises(ReservedFileError):
        write_bundle(tmp_path / "bundle", trained, extra_files={name: b"x"})
    assert not (tmp_path / "bundle").exists()


def test_the_identity_leaves_out_what_only_describes_the_surroundings() -> None:
    from fnmatch import fnmatch

    chosen = {name for name in FILES if any(fnmatch(name, pattern) for pattern in IDENTITY)}
    assert {"MLmodel", "digests.json", "environment.lock"} == FILES - chosen


def test_the_environment_is_listed_sorted_with_its_interpreter(trained: TrainedModel, tmp_path: Path) -> None:
    lines = write_bundle(tmp_path / "bundle", trained).environment.splitlines()
    assert lines[0].startswith("# CPython 3.")
    assert lines[1:] == sorted(set(lines[1:]))
    assert any(line.startswith("lightgbm==") for line in lines)


# MLflow warns about the hints of its own classes when it is first imported.
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_mlflow_loads_the_folder_and_predicts_the_same_numbers(
    split: Split, trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    import mlflow.pyfunc

    write_bundle(tmp_path / "bundle", trained)
    before = content(tmp_path)
    model = mlflow.pyfunc.load_model(str(tmp_path / "bundle"))
    expected = trained.predict(split.test)
    columns = list(trained.preprocessing.names)
    np.testing.assert_array_equal(model.predict(split.test.select(columns).to_pandas()), expected)
    full = make_rows(300, seed=5).drop_nulls()  # no gaps: pandas keeps whole numbers and booleans as they are
    np.testing.assert_array_equal(model.predict(full.select(columns).to_pandas()), trained.predict(full))
    assert content(tmp_path) == before


def test_reading_needs_neither_mlflow_nor_pandas_nor_the_lake(
    split: Split, trained: TrainedModel, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "bundle", trained)
    split.test.write_ipc(tmp_path / "rows.arrow")
    script = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"mlflow", "pandas", "sklearn", "matplotlib", "torch", "pyarrow", "deltalake", "dagster", "duckdb"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Wall())
from pathlib import Path
import polars as pl
from headwater.models import read_bundle
bundle = read_bundle(Path(sys.argv[1]) / "bundle")
print(repr(float(bundle.predict(pl.read_ipc(Path(sys.argv[1]) / "rows.arrow")).sum())))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == float(trained.predict(split.test).sum())
