"""Folders in a view are real directories beside their link, so that tools that refuse links out of a directory open them."""

import shutil
from pathlib import Path

import pytest

from headwater.lake import EmbeddedLake
from headwater.names import MAIN

PATH = "shop/model"


@pytest.fixture
def lake(tmp_path: Path) -> EmbeddedLake:
    return EmbeddedLake.open(tmp_path / "lake")


def publish(lake: EmbeddedLake, folder: Path, text: str) -> None:
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    (folder / "sub" / "weights").write_text(text)
    (folder / "MLmodel").write_text("flavors: {}\n")
    with lake.transaction() as tx:
        tx.write_folder(PATH, folder)
        tx.publish(message=text, provenance=None)


def test_a_folder_resolves_inside_the_directory_of_its_name(lake: EmbeddedLake, tmp_path: Path) -> None:
    publish(lake, tmp_path / "bundle", "one")
    place = lake.location / MAIN / PATH
    assert place.resolve().is_relative_to(place.parent.resolve())
    assert (place / "sub" / "weights").read_text() == "one"
    assert lake.verify().clean


def test_it_follows_publications_keeps_the_last_one_for_readers_and_goes_with_the_asset(
    lake: EmbeddedLake, tmp_path: Path
) -> None:
    place = lake.location / MAIN / PATH
    for text in ("one", "two", "three"):
        publish(lake, tmp_path / "bundle", text)
        assert (place / "sub" / "weights").read_text() == text
    assert len(list((place.parent / ".model").iterdir())) == 2
    lake.revert(MAIN)
    assert (place / "sub" / "weights").read_text() == "two"
    assert lake.verify().clean
    with lake.transaction() as tx:
        tx.remove(PATH)
        tx.publish(message="Remove", provenance=None)
    assert list((lake.location / MAIN).iterdir()) == []


@pytest.mark.parametrize("harm", ["unlink", "stray", "replace", "all"])
def test_harm_to_it_is_found_and_repaired(lake: EmbeddedLake, tmp_path: Path, harm: str) -> None:
    publish(lake, tmp_path / "bundle", "one")
    place = (lake.location / MAIN / PATH).resolve()
    if harm == "stray":
        (place / "stray").write_text("x")
    elif harm == "replace":
        (place / "MLmodel").unlink()
        (place / "MLmodel").write_text("other")
    elif harm == "unlink":
        (place / "sub" / "weights").unlink()
    else:
        shutil.rmtree(place)
    assert {finding.what for finding in lake.verify().findings} == {"view"}
    lake.repair()
    assert lake.verify().clean
    assert (lake.location / MAIN / PATH / "sub" / "weights").read_text() == "one"
    assert not (lake.location / MAIN / PATH / "stray").exists()
