"""The fault table says of each fault what happens, what is guaranteed, and by which test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1]


def rows() -> list[list[str]]:
    """Cells of each row of the table."""
    text = (HOUSE / "docs" / "running.md").read_text()
    table = text[text.index("\n## Failure\n") :].partition("\n## ")[2].partition("\n## ")[0].splitlines()
    lines = [line for line in table if line.startswith("| ") and not line.startswith(("| ---", "| fault "))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_there_is_a_table() -> None:
    assert len(rows()) > 25


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_fault_has_a_test_that_exists(row: list[str]) -> None:
    fault, happens, guaranteed, named = row
    assert fault
    assert happens
    assert guaranteed
    tests = re.findall(r"`(tests/[\w/.-]+\.py)(?:::(\w+))?`", named)
    assert tests, f"no test shows what happens when {fault}"
    for path, name in tests:
        assert not name or f"def {name}(" in (HOUSE / path).read_text(), f"{path} has no {name}"
