"""What a lake promises about folders."""

from pathlib import Path

import pytest

from headwater.lake import Kind, Lake
from headwater.lake.errors import FolderWriteError
from headwater.names import MAIN
from headwater.testing._lake_suite._common import FOLDER, SuiteBase, files_below, make_folder, publish_folder

FILES = {"model.txt": b"weights", "sub/deep/data.bin": bytes(range(256)), "empty": b"", "naïve ☃ name": b"x"}


class FoldersSuite(SuiteBase):
    """Files in, files out."""

    def test_every_file_comes_back(self, lake: Lake, tmp_path: Path) -> None:
        publish_folder(lake, FOLDER, make_folder(tmp_path / "source", FILES))
        assert files_below(lake.at(MAIN).folder(FOLDER)) == FILES
        entry = lake.at(MAIN).entry(FOLDER)
        assert (entry.kind, entry.files, entry.rows) == (Kind.FOLDER, 4, None)
        assert entry.bytes == sum(map(len, FILES.values()))

    def test_the_same_files_publish_nothing(self, lake: Lake, tmp_path: Path) -> None:
        publish_folder(lake, FOLDER, make_folder(tmp_path / "source", FILES))
        assert not publish_folder(lake, FOLDER, make_folder(tmp_path / "again", FILES)).changed

    def test_a_new_content_or_name_makes_a_new_version(self, lake: Lake, tmp_path: Path) -> None:
        versions = set()
        for number, files in enumerate(({"a": b"1"}, {"a": b"2"}, {"b": b"2"}, {"b": b"2", "c": b""}, {})):
            publish_folder(lake, FOLDER, make_folder(tmp_path / str(number), files))
            versions.add(lake.at(MAIN).entry(FOLDER).data_version)
            assert files_below(lake.at(MAIN).folder(FOLDER)) == files
        assert len(versions) == 5

    def test_changing_the_source_afterwards_changes_nothing(self, lake: Lake, tmp_path: Path) -> None:
        source = make_folder(tmp_path / "source", FILES)
        with lake.transaction() as tx:
            tx.write_folder(FOLDER, source)
            (source / "model.txt").write_bytes(b"CHANGED")
            tx.publish(message="Write", provenance=None)
        (source / "model.txt").write_bytes(b"AGAIN")
        assert files_below(lake.at(MAIN).folder(FOLDER)) == FILES

    def test_identity_chooses_what_makes_the_version(self, lake: Lake, tmp_path: Path) -> None:
        def write(name: str, weights: bytes, rendering: bytes) -> bool:
            source = make_folder(tmp_path / name, {"weights.txt": weights, "card.html": rendering})
            with lake.transaction() as tx:
                tx.write_folder(FOLDER, source, identity=["*.txt"])
                return tx.publish(message="Write", provenance=None).changed

        assert write("1", b"w", b"monday")
        assert not write("2", b"w", b"tuesday")
        assert (lake.at(MAIN).folder(FOLDER) / "card.html").read_bytes() == b"monday"
        assert write("3", b"v", b"wednesday")
        assert (lake.at(MAIN).folder(FOLDER) / "card.html").read_bytes() == b"wednesday"

    def test_links_and_absent_directories_are_refused(self, lake: Lake, tmp_path: Path) -> None:
        source = make_folder(tmp_path / "source", {"a": b"1"})
        (source / "link").symlink_to(source / "a")
        with pytest.raises(FolderWriteError, match="'link' is a symbolic link"):
            publish_folder(lake, FOLDER, source)
        with pytest.raises(FolderWriteError, match="not a directory"):
            publish_folder(lake, FOLDER, tmp_path / "absent")
        with pytest.raises(FolderWriteError, match="not a directory"):
            publish_folder(lake, FOLDER, source / "a")
        assert not lake.at(MAIN).has(FOLDER)
