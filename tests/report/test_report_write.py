"""A table in its forms: nothing is lost, nothing is executed, and LaTeX compiles."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.core.files import Unwritable
from bnas_bench.report.folder import replaced
from bnas_bench.report.latex import LONG, document, escape, latex
from bnas_bench.report.model import Report
from bnas_bench.report.write import csv_text, markdown, shown

ODD = r"a_b[c=1%,d=#2]&{e}~f^g\h<i>|j$k`l\"m*n --o α Λ ± × − 中 é"


def table(rows: list[dict[str, Value]], **fields: object) -> Table:
    known = {
        "name": "main",
        "title": "Some title",
        "caption": "Digits, n 3.",
        "columns": [
            Column(key="method", title="method", numeric=False),
            Column(key="x", title="accuracy (%)"),
            Column(key="y", title="OPs (M)"),
        ],
        "rows": rows,
    }
    return Table(**known | fields)


MEASURED = Value(
    text="94.63 ± 1.81",
    kind="measured",
    number=94.6296,
    lower=90.1234,
    upper=99.1358,
    n=3,
    runs=["a", "b"],
)
COUNTED = Value(text="0.451", kind="counted", number=0.4511, n=3, runs=["a", "b"])


@pytest.mark.parametrize(
    ("text", "lower", "upper", "whole"),
    [
        ("94.63 ± 1.81", 90.1234, 99.1358, "94.63 ± 1.81 [90.12, 99.14]"),
        ("-1.5", -2.04, 0.0, "-1.5 [-2.0, 0.0]"),
        ("20,000", 19_000.4, 21_000.6, "20,000 [19,000, 21,001]"),
        ("3.37", None, None, "3.37"),
    ],
)
def test_intervals_have_the_decimals_of_their_value(
    text: str, lower: float | None, upper: float | None, whole: str
) -> None:
    assert shown(Value(text=text, lower=lower, upper=upper)) == whole


def test_markdown() -> None:
    rows = [
        {"method": Value(text="dcpnas[lam=0]"), "x": MEASURED, "y": COUNTED},
        {"method": Value(text="a_b|c"), "x": missing("no seed has finished")},
    ]
    found = markdown(table(rows, notes=["Nobody wins."], commands=["bnas-bench run --method x"]))
    assert found == "\n".join(
        [
            "### Some title",
            "",
            "Digits, n 3.",
            "",
            "| method | accuracy (%) | OPs (M) |",
            "| :--- | ---: | ---: |",
            "| dcpnas[lam=0] | 94.63 ± 1.81 [90.12, 99.14] | 0.451 |",
            r"| a\_b\|c | -<sup>1</sup> |  |",
            "",
            "1. no seed has finished",
            "",
            "- Nobody wins.",
            "- Measured: accuracy (%); counted: OPs (M).",
            "",
            "```",
            "bnas-bench run --method x",
            "```",
            "",
        ]
    )


def test_a_column_of_several_kinds_names_each() -> None:
    quoted = Value(text="95.1", kind="quoted", number=95.1)
    found = markdown(table([{"x": MEASURED}, {"x": quoted}, {"x": missing("gone")}]))
    assert "|  | 94.63 ± 1.81 [90.12, 99.14] (measured) |  |" in found
    assert "|  | 95.1 (quoted) |  |" in found
    assert "|  | -<sup>1</sup> |  |" in found


def test_csv_holds_everything() -> None:
    rows = [
        {"method": Value(text='say "a", b'), "x": MEASURED, "y": COUNTED},
        {"method": Value(text="other"), "x": missing("no seed")},
    ]
    first, second = csv.DictReader(io.StringIO(csv_text(table(rows))))
    assert first == {
        "method": 'say "a", b',
        "x": "94.6296",
        "x_text": "94.63 ± 1.81",
        "x_lower": "90.1234",
        "x_upper": "99.1358",
        "x_n": "3",
        "x_kind": "measured",
        "x_note": "",
        "y": "0.4511",
        "y_text": "0.451",
        "y_n": "3",
        "y_kind": "counted",
        "runs": "a b",
    }
    assert second["x"] == ""
    assert second["x_kind"] == "missing"
    assert second["x_note"] == "no seed"


def test_csv_names_the_runs_of_each_value_where_they_differ() -> None:
    other = Value(text="1", kind="measured", number=1, runs=["c"])
    (line,) = csv.DictReader(io.StringIO(csv_text(table([{"x": MEASURED, "y": other}]))))
    assert (line["x_runs"], line["y_runs"]) == ("a b", "c")
    assert "runs" not in line


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-2+3", "\t=1", "\r=1"])
def test_csv_has_no_formulas(text: str) -> None:
    (line,) = csv.DictReader(
        io.StringIO(csv_text(table([{"method": Value(text=text)}])), newline="")
    )
    assert line["method"] == f"'{text.strip()}"


def test_csv_leaves_negative_numbers_alone() -> None:
    value = Value(text="-0.50", kind="measured", number=-0.5)
    (line,) = csv.DictReader(io.StringIO(csv_text(table([{"x": value}]))))
    assert line["x"] == "-0.5"


def test_an_empty_table_has_a_header() -> None:
    assert csv_text(table([])) == "method,x,y\n"
    assert "| method | accuracy (%) | OPs (M) |" in markdown(table([]))


def test_latex_escapes() -> None:
    assert escape("50 % & a_b #1 $x {y}") == (r"50 \% \& a\_b \#1 \ensuremath{\mathdollar}x \{y\}")
    assert escape("[x]") == "{[}x{]}"
    assert escape("--method ---") == "-{}-method -{}-{}-"
    assert escape("α Λ ± × −") == (
        r"\ensuremath{\alpha} \ensuremath{\Lambda} \ensuremath{\pm} \ensuremath{\times} "
        r"\ensuremath{-}"
    )
    assert escape("é 中\x1b\n\nz") == r"é \texttt{U+4E2D} z"


def test_latex_of_a_short_table() -> None:
    rows = [{"method": Value(text="dcpnas[lam=0]"), "x": MEASURED, "y": missing("gone")}]
    found = latex(table(rows, commands=["bnas-bench run\n--x"])).splitlines()
    assert found[0] == "% bnas-bench run --x"
    assert r"\begin{tabular}{lrr}" in found
    assert r"method & \shortstack{accuracy\\(\%)} & \shortstack{OPs\\(M)} \\" in found
    line = r"dcpnas{[}lam=0{]} & 94.63 \ensuremath{\pm} 1.81 {[}90.12, 99.14{]} & -\textsuperscript{1} \\"
    assert line in found
    assert r"\caption{Some title. Digits, n 3.}\label{tab:main}" in found


def compiled(folder: Path, name: str) -> str:
    """The text of the PDF that pdflatex makes."""
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / name).with_suffix(".log").read_text(errors="replace")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("length", [2, LONG + 30])
def test_latex_compiles_whatever_the_texts_are(tmp_path: Path, length: int) -> None:
    letters = "".join(map(chr, [*range(0x20, 0x180), *range(0x370, 0x400)]))
    noted = Value(text=ODD, note=ODD, kind="measured", number=1.0, lower=0.5, upper=2.0)
    rows = [{"method": Value(text=ODD), "x": noted, "y": MEASURED}] * length
    tables = [
        table(
            rows,
            title=ODD,
            caption=letters,
            notes=[ODD],
            commands=[f"run --x {ODD}"],
            columns=[
                Column(key="method", title=f"{ODD} (%)", numeric=False),
                Column(key="x", title=ODD),
                Column(key="y", title="y"),
            ],
        )
    ]
    report = Report(name="n", title=ODD, facts=[ODD, letters], tables=tables)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "main.tex").write_text(latex(tables[0]), "utf-8")
    (tmp_path / "report.tex").write_text(document(report, tmp_path), "utf-8")
    log = compiled(tmp_path, "report.tex")
    assert not re.search(r"^!|Missing character|LaTeX Warning: Command", log, re.MULTILINE)


def entries(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()}


def test_an_earlier_report_survives_a_death_between_the_two_renames(tmp_path: Path) -> None:
    """Then it lies beside its place, and the next command puts it back, even one that fails."""
    (tmp_path / ".r.old").mkdir()
    (tmp_path / ".r.old" / "report.md").write_text("earlier")
    (tmp_path / ".r.new").mkdir()
    (tmp_path / ".r.new" / "report.md").write_text("half")

    def fails() -> None:
        with replaced(tmp_path / "r") as new:
            assert entries(new) == {}
            assert entries(tmp_path / "r") == {"report.md": "earlier"}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert entries(tmp_path) == {"r/report.md": "earlier"}


def test_an_earlier_report_stays_where_the_new_one_cannot_be_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "report.md").write_text("earlier")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == ".r.new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(Unwritable, match="No space left"), replaced(tmp_path / "r") as new:
        (new / "report.md").write_text("later")
    assert entries(tmp_path) == {"r/report.md": "earlier"}


def test_a_new_report_leaves_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "r" / "tables").mkdir(parents=True)
    (tmp_path / "r" / "tables" / "gone.csv").write_text("earlier")
    (tmp_path / ".r.old").mkdir()
    (tmp_path / ".r.old" / "report.md").write_text("of a process that died after both renames")
    with replaced(tmp_path / "r") as new:
        (new / "report.md").write_text("later")
        assert entries(tmp_path / "r") == {"tables/gone.csv": "earlier"}
    assert entries(tmp_path) == {"r/report.md": "later"}
