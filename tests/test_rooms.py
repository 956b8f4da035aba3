"""The border between the library and Dagster, also for imports inside functions."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_library_serving_and_governance_name_no_dagster() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for room in ("headwater", "serving", "governance")
        for file in sorted((ROOT / room).rglob("*.py"))
        if file != ROOT / "headwater" / "definitions.py"
        for line in file.read_text().splitlines()
        if line.lstrip().startswith(("import dagster", "from dagster"))
    ]
    assert found == []
