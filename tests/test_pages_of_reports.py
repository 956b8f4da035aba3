"""Pages of reports: text is text, whatever it holds."""

from pathlib import Path

from headwater.pages import heading, paragraph, table, write_page


def test_nothing_that_is_written_becomes_markup(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    parts = [heading(evil), paragraph(evil), table([evil], [[evil]], marks=["worse"])]
    write_page(tmp_path / "page.html", evil, parts)
    page = (tmp_path / "page.html").read_text()
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 6
    assert "<td class='worse'>&lt;" in page


def test_a_table_without_rows_says_so() -> None:
    assert table(["a"], []) == "<p>None.</p>"


def test_only_the_last_cell_of_a_row_is_marked() -> None:
    found = table(["a", "b"], [["1", "2"], ["3", "4"]], numbers=True, marks=["", "better"])
    assert found.count("class='better'") == 1
    assert "<td>3</td><td class='better'>4</td>" in found
    assert "<table class='numbers worded'>" in found


def test_a_table_of_numbers_to_its_last_column_says_so() -> None:
    assert "<table class='numbers'>" in table(["a", "b"], [["1", "2"]], numbers=True, worded=False)
