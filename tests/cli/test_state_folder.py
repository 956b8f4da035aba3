"""A state folder that can't be used: one line says why, nothing is changed. Reading goes on where it can."""

import ctypes
import os
import subprocess
from pathlib import Path

from tests.scenarios.workshop import LAST, PRODUCT, Workshop

_DROP_FROM_BOUNDS = 24
_OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: with them, root writes where nobody may.


def _obey_permissions() -> None:
    if os.geteuid() == 0:
        for capability in _OVERRIDES:
            assert ctypes.CDLL(None).prctl(_DROP_FROM_BOUNDS, capability, 0, 0, 0) == 0


def as_plain_user(workshop: Workshop, *words: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        workshop.command(*words),
        cwd=workshop.checkout,
        env=workshop.variables(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_obey_permissions,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_read_only_state_folder_can_be_read_and_refuses_all_else(workshop: Workshop) -> None:
    before = workshop.data()
    file = workshop.state.parent / "rows.csv"
    file.write_bytes(workshop.landed().read_bytes())
    subprocess.run(["chmod", "-R", "a-w", str(workshop.state)], check=True)
    try:
        for words in (("status",), ("lake", "log"), ("lake", "verify"), ("model", "list")):
            assert as_plain_user(workshop, *words).returncode == 0
        for words in (
            ("build",),
            ("lake", "revert", "main"),
            ("lake", "tag", "v1"),
            ("land", PRODUCT, "customers", str(file), "--partition", LAST),
            ("up",),
        ):
            done = as_plain_user(workshop, *words)
            assert (done.returncode, str(workshop.state) in done.stderr) == (2, True), (words, done.stderr)
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(workshop.state)], check=True)
    assert workshop.data() == before


def test_a_lake_of_a_newer_format_is_left_alone(workshop: Workshop) -> None:
    mark = workshop.state / "lake" / "format"
    mark.write_text("headwater-lake 99\n")
    for words in (("build",), ("status",), ("lake", "log"), ("model", "list")):
        assert "headwater-lake 99" in workshop.run(*words, code=2).stderr
    assert mark.read_text() == "headwater-lake 99\n"


def test_a_state_folder_that_is_a_file_is_named(built: Workshop, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.touch()
    assert str(place) in built.run("build", code=2, HEADWATER_STATE=str(place)).stderr


def test_a_lake_that_is_away_is_said_and_none_is_begun_in_its_place(workshop: Workshop, tmp_path: Path) -> None:
    """`headwater status` made an empty lake there, and the service took its products out because of it."""
    lake, away, head = workshop.state / "lake", tmp_path / "away", workshop.head()
    lake.rename(away)
    looking = (("status",), ("log", "status"), ("lake", "verify"), ("model", "list"))
    for words in (*looking, ("log", "compact"), ("build",), ("build", "--landed-only")):
        told = workshop.run(*words, code=2).stderr
        assert ("is not where it was" in told, str(lake) in told, told.count("\n")) == (True, True, 1), told
    assert not lake.exists()
    away.rename(lake)
    assert workshop.head() == head
