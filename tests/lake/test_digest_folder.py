"""The data version of folders: names and contents, nothing else."""

import os
from pathlib import Path

import pytest

from headwater.lake._digest import IdentityError, digest_folder, merkle, select_identity


def tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


FILES = {"model.txt": b"weights", "meta/signature.json": b"{}", "meta/empty": b""}


def test_the_golden_folder_never_changes(tmp_path: Path) -> None:
    assert digest_folder(tree(tmp_path, FILES)) == "ff590b63aff0e61e0779fd5d5a3ba291744b1bfe193db6d0caeafd40badaea6d"


def test_times_modes_and_empty_directories_do_not_count(tmp_path: Path) -> None:
    one, two = tree(tmp_path / "one", FILES), tree(tmp_path / "two", dict(reversed(FILES.items())))
    os.utime(two / "model.txt", (1, 1))
    (two / "model.txt").chmod(0o600)
    (two / "nothing").mkdir()
    assert digest_folder(one) == digest_folder(two)


@pytest.mark.parametrize(
    "changed",
    [
        {**FILES, "model.txt": b"Weights"},
        {**FILES, "more": b""},
        {"model.txt": b"weights", "meta/signature.json": b"{}"},
        {"model.txt": b"weights", "meta/signature.JSON": b"{}", "meta/empty": b""},
        {"model.txt": b"weights", "signature.json": b"{}", "meta/empty": b""},
        {"model.txt": b"{}", "meta/signature.json": b"weights", "meta/empty": b""},
    ],
)
def test_a_changed_name_or_content_changes_it(tmp_path: Path, changed: dict[str, bytes]) -> None:
    assert digest_folder(tree(tmp_path / "one", FILES)) != digest_folder(tree(tmp_path / "two", changed))


def test_only_what_the_identity_names_counts(tmp_path: Path) -> None:
    one = tree(tmp_path / "one", {**FILES, "card.html": b"today"})
    two = tree(tmp_path / "two", {**FILES, "card.html": b"tomorrow"})
    assert digest_folder(one) != digest_folder(two)
    assert digest_folder(one, ["model.txt", "meta/*"]) == digest_folder(two, ["meta/*", "model.txt"])
    assert digest_folder(one, ["model.txt"]) != digest_folder(one, ["meta/*"])
    assert digest_folder(one, ["*"]) == digest_folder(one)


def test_an_identity_that_matches_nothing_is_an_error_that_lists_the_files(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=r"No file matches \['model.bin'\].*'model.txt'"):
        digest_folder(tree(tmp_path, FILES), ["model.bin"])


def test_an_empty_folder_has_a_version_and_a_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert digest_folder(tmp_path / "empty") == merkle({})
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(NotADirectoryError, match="not a directory"):
        digest_folder(tmp_path / "file")


def test_names_and_digests_cannot_run_into_each_other() -> None:
    assert merkle({"a": "b", "c": "d"}) == merkle({"c": "d", "a": "b"})
    assert len({merkle({"a": "b"}), merkle({"ab": ""}), merkle({"": "ab"}), merkle({'a","b': ""})}) == 4


def test_the_selection_is_sorted_and_case_counts() -> None:
    assert select_identity(["b", "a/x", "B"], None) == ("B", "a/x", "b")
    assert select_identity(["b", "a/x", "B"], ["B", "*/x"]) == ("B", "a/x")
