"""docs/faults.md says what the tests do."""

from __future__ import annotations

from table import FILES, HERE, PAGE, page, rows


def test_the_page_is_what_the_rows_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "python3 tests/faults/table.py"


def test_every_test_is_a_row_named_by_its_number() -> None:
    files = {path.name for path in HERE.glob("test_*.py")} - {"test_table.py"}
    assert files == set(FILES)
    for name in files:
        tests = [
            line.split("(")[0][4:] for line in (HERE / name).read_text().splitlines() if line.startswith("def test_")
        ]
        found = rows(HERE / name)
        assert sorted(tests) == sorted(row.test for row in found)
        assert all(row.test.startswith(f"test_{row.number.lower()}_") for row in found)
