"""The page's example runs as it stands."""

from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, fenced


def test_the_example_on_the_page_gives_the_events_of_its_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = fenced(ROOT / "docs" / "streams.md", "python")
    (tmp_path / ".headwater").mkdir()
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    exec(block, space)
    assert "taken=1" in capsys.readouterr().out
    snapshot, path, end = space["snapshot"], space["readings"].path, space["end"]
    span = space["events_between"](snapshot, path, end, end.replace(year=2014))
    assert span.collect()["number"].to_list() == [1]
