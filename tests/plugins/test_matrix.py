"""The page of methods and spaces is the one that the code writes."""

from pathlib import Path

from bnas_bench.plugins.matrix import matrix

PAGE = Path(__file__).parents[2] / "docs" / "matrix.md"


def test_the_page_is_up_to_date() -> None:
    """A method of the reader's own may be missing there."""
    lines = PAGE.read_text("utf-8").splitlines()
    assert set(lines) <= set(matrix().splitlines()), "make docs"
    golden = {file.stem for file in (PAGE.parent.parent / "tests" / "golden").glob("*.json")}
    assert golden <= {line.split("`")[1] for line in lines if line.startswith("| `")}


def test_gaps_have_a_reason() -> None:
    page = matrix()
    row = next(line for line in page.splitlines() if line.startswith("| `pcdarts` |"))
    assert "no (1)" in row
    assert "yes" in row
    assert "\n1. partial channels" in page
