"""The tables of CP-NAS and DCP-NAS as data: against the papers' text, the ledger and the registry."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bnas_bench.methods.dcpnas import DCPNAS

from bnas_bench.analysis.measures import field
from bnas_bench.core.budget import Recipe
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BudgetExceeded
from bnas_bench.papers.artefact import FOLDER, Column, Row, ids, load, number
from bnas_bench.papers.counted import architecture, counted
from bnas_bench.plugins.making import method, space

SPANNED = ("dcp-nas/table-12", "dcp-nas/table-13", "dcp-nas/table-14")

GARBLED: Mapping[str, str] = {
    "BNAS | 64 3 | 86.1 | 64 | - | $\\frac{1}{1}$": "BNAS_1 | 64.3 | 86.1 | 6.4 | - | 1/1",
    "BesNet-18 | 04.0 | 00.1 | 0.4 | | 1/1 | 0.2 | 0.01/0.4 | i enormance-based\n": "",
    "(ReActNet) | 65.9": "ResNet-18 (ReActNet) | 65.9",
    "BATS | CC 1 | 07.0 | | 155 | 1 / 1 | | | Cardinat hand\n": "",
    "$(2 \\times - wider)$ | 00.1 | 87.0 | - | 100": "BATS (2×-wider) | 66.1 | 87.0 | - | 155",
    "| CP-NAS | | | | 66 5 | 20\n": "",
    "| (Baseline) | - | - | - | 00.5 | 2.0": "| CP-NAS (Baseline) | - | - | - | 66.5 | 2.8",
    "32'/32": "32/32",
    "3.8  imes": "3.8",
}
"""What is read for what our copy of the papers has; it sets some cells twice, in two rows."""

# Our copy's text of the tables, its cells set apart by bars.
RAW: Mapping[str, str] = {
    "cp-nas/table-1": r"""
WRN-22 [Zagoruyko et al., 2016] | 5.04 | 4.33 | 32 | 32 | - | Manual
DARTS [Liu et al., 2018b] | 2.83 | 3.4 | 32 | 32 | 4 | Gradient-based
PC-DARTS [Xu et al., 2019] | 2.78 | 3.5 | 32 | 32 | 0.15 | Gradient-based
WRN-22 (PCNN) [Gu et al., 2019] | 5.69 | 4.33 | 1 | 32 | - | Manual
BNAS (PCNN) [Chen et al., 2019a] | 3.94 | 2.6 | 1 | 32 | 0.09 | Performance-based
BNAS (PCNN, larger) [Chen et al., 2019a] | 3.47 | 4.6 | 1 | 32 | 0.09 | Performance-based
WRN-22 (BONN) [Zhao et al., 2019] | 8.07 | 4.33 | 1 | 1 | - | Manual
$BNAS^\dagger$ | 8.29 | 4.5 | 1 | 1 | 0.09 | Performance-based
CP-NAS (Small) | 6.5 | 2.9 | 1 | 1 | 0.1 | Child-Parent model
CP-NAS (Medium) | 5.72 | 4.4 | 1 | 1 | 0.1 | Child-Parent model
<b>CP-NAS</b> (large) | 4.73 | 10.6 | 1 | 1 | 0.1 | Child-Parent model
""",
    "cp-nas/table-2": r"""
ResNet-18 [Gu et al., 2019] | 69.3 | 89.2 | 11.17 | 32 | 32 | - | Manual
PNAS [Liu et al., 2018a] | 74.2 | 91.9 | 5.1 | 32 | 32 | 225 | SMBO
DARTS [Liu et al., 2018b] | 73.1 | 91.0 | 4.9 | 32 | 32 | 4 | Gradient-based
PC-DARTS [Xu et al., 2019] | 75.8 | 92.7 | 5.3 | 32 | 32 | 3.8 | Gradient-based
ResNet-18 (PCNN) [Gu et al., 2019] | 63.5 | 85.1 | 11.17 | 1 | 32 | - | Manual
BNAS (PCNN) [Chen et al., 2019a] | 71.3 | 90.3 | 6.2 | 1 | 32 | 2.6 | Performance-based
ResNet-18 (Bi-real Net) [Liu et al., 2018c] | 56.4 | 79.3 | 11.17 | 1 | 1 | - | Manual
ResNet-18 (PCNN) [Gu et al., 2019] | 57.5 | 80.0 | 11.17 | 1 | 1 | - | Manual
ResNet-18 (BONN) [Zhao et al., 2019] | 59.3 | 81.5 | 11.17 | 1 | 1 | - | Manual
CP-NAS* | 64.3 | 85.6 | 12.5 | 1 | 1 | 2.8 | Child-Parent model
CP-NAS** | 66.5 | 86.8 | 12.5 | 1 | 1 | 2.8 | Child-Parent model
""",
    "cp-nas/table-3": r"""
WRN-22 | 138.27 | $1 \times$ | 647.70 | $1 \times$
BNAS (PCNN, larger) | ≈5.12 | $\approx 27 \times$ | $\geq$ 300 | $\leq 2.16 \times$
WRN-22 (BONN) | 5.71 | 24.19× | 17.03 | $28.03 \times$
CP-NAS (Small) | 3.32 | $41.56 \times$ | 12.89 | $50.24 \times$
CP-NAS (Medium) | 4.85 | $27.93 \times$ | 18.30 | $35.39 \times$
CP-NAS (large) | 11.51 | $12.01 \times$ | 38.67 | $16.75 \times$
""",
    "dcp-nas/table-1": r"""
| ResNet-18 | 69.6 | 65.9 | -3.7
Hand-crafted | ResNet-34 | 73.3 | 69.0 | -4.3
| $\operatorname{ReActNet-A}$ | 72.4 | 69.4 | -3.0
| $BNAS_1$ | 67.1 | 64.3 | -2.9
Direct BNAS | $BNAS_2$ | 64.2 | 59.8 | -4.4
| $BNAS_2 v2$ | 69.5 | 66.0 | -3.5
A DNAC | CP-NAS | 68.0 | 66.5 | -1.5
Auxiliary DNAS | DCP-NAS | 68.5 | 72.4 | +4.0
""",
    "dcp-nas/table-4": r"""
Deal valued | PNAS | - | - | - | 74.2 | 225
NAC | DARTS | - | - | - | 73.1 | 4
NAS | PC-DARTS | - | - | - | 75.8 | 3.8
Direct | BNAS <sub>1</sub> | - | - | - | 64.3 | 2.6
DIJECT | BNAS <sub>2</sub> -H | - | - | - | 63.5 | -
DNAS | Random Search | | | | 51.3 | 4.4
| CP-NAS | | | | 66 5 | 20
| (Baseline) | - | - | - | 00.5 | 2.0
Auxiliary | DCP-NAS-L | 1 | X | X | 71.4 | 27.9
BNAS | DCP-NAS-L | ~ | <ul> <li>✓</li> </ul> | × | 71.2 | 2.9
| DCP-NAS-L | 1 | × | ~ | 72.6 | 27.9
| DCP-NAS-L | ~ | 1 | ~ | 72.4 | 2.9
""",
    "dcp-nas/table-5": r"""
Cosine similarity | 62.5 | 83.9 | 4.2 | 2.9
L1-norm | 62.7 | 84.3 | 4.3 | 2.9
F-norm | 63.0 | 84.5 | 4.2 | 2.9
""",
    "dcp-nas/table-6": r"""
DARTS | 73.1 | 91.0 | 156.8 | 4
DARTS + D.O. | 73.8 | 92.1 | 157.2 | 4
PC-DARTS | 75.8 | 92.7 | 169.6 | 3.8
PC-DARTS + D.O. | <b>76.6</b> | 93.9 | 170.3 | 3.8
""",
    "dcp-nas/table-8": r"""
DCP-NAS-S <sup>♯</sup> | 3.5 | 91 | 60.7 | 82.9
$DCP-NAS-S^{\S}$ | 3.9 | 98 | 61.2 | 83.2
DCP-NAS-S | 4.2 | 100 | 63.0 | 84.5
DCP-NAS-M <sup>♯</sup> | 5.8 | 152 | 66.9 | 86.1
DCP-NAS-M <sup>§</sup> | 6.2 | 159 | 67.2 | 86.7
DCP-NAS-M | 6.9 | 163 | 69.0 | 88.4
CP-NAS-L <sup>♯</sup> | 11.8 | 307 | 63.1 | 83.0
CP-NAS-L <sup>§</sup> | 11.8 | 316 | 64.3 | 84.2
CP-NAS-L | 12.5 | 323 | 66.5 | 86.8
DCP-NAS-L <sup>♯</sup> | 13.5 | 319 | 69.5 | 88.7
DCP-NAS-L <sup>§</sup> | 13.8 | 326 | 70.1 | 89.1
DCP-NAS-L | 14.4 | 334 | 72.4 | 90.6
""",
    "dcp-nas/table-10": r"""
WRN-22 | 5.04 | 138.6 | 32/32 | _ | Manual
DARTS | 2.83 | 108.8 | 32'/32 | 4 | Gradient-based
PC-DARTS | 2.78 | 112.0 | 32/32 | 0.15 | Gradient-based
WRN-22 | 5.69 | 4.3 | 1/32 | - | Manual
$BNAS_1$ | 3.94 | 2.6 | 1/32 | 0.09 | Performance-based
CP-NAS-S | 6.50 | 2.9 | 1/1 | 0.1 | Child-Parent model
BATS (Small) | 6.30 | 2.8 | 1/1 | 0.25 | Gradient-based
DCP-NAS-S | 6.13 | 2.9 | 1/1 | 0.1 | Gradient-based <sup>↓</sup>
WRN-22 (BONN) | 8.07 | 4.3 | 1/1 | - | Manual
$BNAS_1$ (Large) | 8.29 | 4.5 | 1/1 | 0.09 | Performance-based
$BNAS_2 v2-B$ | 6.24 | 4.5 | 1/1 | 0.09 | Gradient-based
CP-NAS-M | 5.72 | 4.4 | 1/1 | 0.1 | Child-Parent model
BATS (Medium) | 5.60 | 5.4 | 1/1 | 0.25 | Gradient-based
DCP-NAS-M | 5.34 | 4.9 | 1/1 | 0.1 | Gradient-based <sup>♯</sup>
CP-NAS-L | 4.73 | 10.6 | 1/1 | 0.1 | Child-Parent model
BATS (Large) | 4.50 | 10.0 | 1/1 | 0.25 | Gradient-based
DCP-NAS-L | 4.22 | 11.2 | 1/1 | 0.1 | Gradient-based
""",
    "dcp-nas/table-11": r"""
ResNet-18 | 69.3 | 89.2 | 357.4 | 1819 | 32/32 | - | - | Manual
PNAS | 74.2 | 91.9 | 163.2 | 588 | 32/32 | 225 | - | SMBO
DARTS | 73.1 | 91.0 | 156.8 | 574 | 32/32 | 4 | 0.01/5.4 | Gradient-based
PC-DARTS | 75.8 | 92.7 | 169.6 | 597 | 32/32 | 3.8 | - | Gradient-based
ResNet-18 (PCNN) | 63.5 | 85.1 | 11.2 | 1819 | 1/32 | - | - | Manual
$BNAS_1$ | 71.3 | 90.3 | 6.2 | 778 | 1/32 | 2.6 | 0.01/5.4 | Performance-based
BNAS <sub>2</sub> -D | 57.7 | 79.9 | - | 148 | 1/1 | _ | - | Gradient-based
$BNAS_2$ v2-D | 64.6 | 84.9 | - | 148 | 1/1 | - | - | Gradient-based
BATS | 60.4 | 83.0 | - | 98 | 1/1 | - | - | Gradient-based
DCP-NAS-S | 63.0 | 84.5 | 4.2 | 100 | 1/1 | 2.9 | 0.025/13.1 | Gradient-based <sup>‡</sup>
$DCP-NAS-S^{\flat}$ | 66.9 | 87.8 | 4.2 | 100 | 1/1 | 2.9 | 0.025/13.1 | Gradient-based <sup>‡</sup>
DCP-NAS-S <sup>‡</sup> | 67.2 | 88.1 | 4.2 | 100 | 1/1 | 2.9 | 0.025/13.1 | Gradient-based <sup>\$</sup>
BNAS <sub>2-</sub> C | 59.8 | 81.6 | | 103 | 1/1 | | | Gradient-based
BNAS | 64 3 | 86.1 | 64 | - | $\frac{1}{1}$ | 3.2 | 0.01/5.4 | Performance-based
BesNet-18 | 04.0 | 00.1 | 0.4 | | 1/1 | 0.2 | 0.01/0.4 | i enormance-based
(ReActNet) | 65.9 | 86.2 | 11.2 | 165 | 1/1 | - | - | Manual
BATS | CC 1 | 07.0 | | 155 | 1 / 1 | | | Cardinat hand
$(2 \times - wider)$ | 00.1 | 87.0 | - | 100 | 1/1 | - | - | Gradient-based
BARS-D | 54.6 | 79.2 | - | 129 | 1/1 | - | - | Gradient-based
BARS-E | 56.2 | 80.6 | - | 183 | 1/1 | - | - | Gradient-based
NASB | 60.5 | 82.2 | - | 171 | 1/1 | - | - | Gradient-based
NASBV4 | 65.3 | 85.9 | - | 281 | 1/1 | - | - | Gradient-based
EBN | 67.5 | 87.5 | - | 131 | 1/1 | - | - | Gradient-based
$\mathrm{EBN}^\ddagger$ | 71.2 | 90.1 | - | 131 | 1/1 | - | - | Gradient-based
EBNAS-L | 67.8 | 87.4 | - | 162 | 1/1 | - | - | Gradient-based
DCP-NAS-M | 69.0 | 88.4 | 6.9 | 163 | 1/1 | 2.9 | 0.025/13.1 | Gradient-based <sup>♯</sup>
$DCP-NAS-M^{\flat}$ | 72.3 | 91.1 | 6.9 | 163 | 1/1 | 2.9 | 0.025/13.1 | Gradient-based <sup>‡</sup>
$DCP-NAS-M^{\ddagger}$ | 72.7 | 91.3 | 6.9 | 163 | 1/1 | 2.9 | 0.025/13.1 | Gradient-based
BNAS2-H | 63.5 | 83.9 | _ | 656 | 1/1 | _ | - | Gradient-based
BARS-F | 60.3 | 81.9 | - | 293 | 1/1 | - | - | Gradient-based
NASBV5 | 66.6 | 87.0 | - | 352 | 1/1 | - | - | Gradient-based
CP-NAS-L | 66.5 | 86.8 | 12.5 | 323 | 1/1 | 2.8 | 0.01/5.4 | Child-Parent model
DCP-NAS-L | 72.4 | 90.6 | 14.4 | 334 | 1/1 | 2.9 | 0.025/13.1 | Gradient-based <sup>‡</sup>
DCP-NAS-L <sup>b</sup> | 75.0 | 92.9 | 14.4 | 334 | 1/1 | 2.9 | 0.025/13.1 | Gradient-based <sup>‡</sup>
$DCP-NAS-L^{\ddagger}$ | 75.2 | 93.3 | 14.4 | 334 | 1/1 | 2.9 | 0.025/13.1 | Gradient-based
""",
    "dcp-nas/table-12": r"""
| Real-valued | 32/32 | 64.3 | 85.1 | 48.1 | 72.9 | 33.0 | 42.7
ResNet-18 | XNOR-Net | | 40.1 | 63.8 | 24.9 | 52.1 | 14.0 | 26.1 | Manual
10051000-10 | Bi-Real Net | 1/1 | 52.7 | 73.1 | 36.3 | 64.9 | 25.6 | 36.0 | Wanuar
| BiRe-ID | | 64.0 | 84.1 | 47.1 | 70.7 | 31.8 | 40.9
DCP | -NAS-S | 1/1 | 68.0 | 84.9 | 60.2 | 76.4 | <b>48.8</b> | <b>50.0</b> | Gradient-based
| Real-valued | 32/32 | 68.0 | 86.7 | 52.2 | 73.9 | 39.2 | 47.9
DN.+ 94 | XNOR-Net | | 45.9 | 67.1 | 27.7 | 55.7 | 18.4 | 29.6 | Manual
11051101-04 | Bi-Real Net | 1/1 | 54.1 | 77.6 | 40.8 | 69.1 | 29.3 | 38.2 | Wanuar
| BiRe-ID | | 67.1 | 85.3 | 51.0 | 72.4 | 37.1 | 46.4
DCP- | NAS-M | 1/1 | 70.6 | 86.2 | 61.9 | 77.9 | <b>51.4</b> | 53.6 | Gradient-based
| Real-valued | 32/32 | 71.6 | 88.8 | 56.9 | 75.4 | 43.8 | 50.6
ReeNet 50 | XNOR-Net | | 49.1 | 68.3 | 31.1 | 59.4 | 20.3 | 31.5 | Manual
Itesivet-50 | Bi-Real Net | 1/1 | 58.9 | 78.5 | 45.1 | 71.0 | 34.7 | 42.6 | Wanuar
| BiRe-ID | | 69.2 | 86.9 | 55.0 | 74.1 | 41.1 | 49.0
DCP | -NAS-L | 1/1 | 71.9 | 87.3 | 62.4 | 78.7 | 54.4 | 57.6 | Gradient-based
""",
    "dcp-nas/table-13": r"""
ResNet-18 | Real-valued | 32/32 | 76.4 | 112.88 | 96.40
| DoReFa-Net | 4/4 | 73.3 | 21.59 | 27.15 | Manual
| ReActNet | 1/1 | 69.6 | 16.61 | 18.49 | - Manuar
| LWS-Det | 1/1 | 73.2
DCP-NAS-S | | 1/1 | 72.8 | 13.42 | 15.01 | Gradient-based
DCP-NAS-M | | 1/1 | 74.2 | 13.56 | 15.10 | Gradient-based
ResNet-34 | Real-valued | 32/32 | 77.8 | 145.12 | 118.80 | Monual
| DoReFa-Net | 4/4 | 75.6 | 29.65 | 32.31
| ReActNet | 1/1 | 72.3 | 24.68 | 21.49 | Manual
| LWS-Det | 1/1 | 75.8
DCP-NAS-L | | 1/1 | 76.7 | 13.79 | 15.29 | Gradient-based
""",
    "dcp-nas/table-14": r"""
ResNet-18 | Real-valued | 32/32 | 32.2 | 53.8 | 34.0 | 18.0 | 34.7 | 41.9 | Manual
| FQN | 4/4 | 28.1 | 48.4 | 29.3 | 14.5 | 30.4 | 38.1
| ReActNet | 1/1 | 21.1 | 38.5 | 20.5 | 9.7 | 23.5 | 32.1
| LWS-Det | | 26.9 | 44.9 | 27.7 | 12.9 | 28.7 | 38.3
DCP | -NAS-S | 1/1 | 25.4 | 42.9 | 24.6 | 14.6 | 26.3 | 33.8 | Gradient-based <sup>♯</sup>
DCP- | NAS-M | 1/1 | 27.3 | 45.2 | 27.4 | 17.4 | 28.5 | 35.6 | Gradient-based
DCP-NAS-L | | 1/1 | 29.7 | 47.8 | 29.9 | 19.5 | 30.7 | 37.5 | Gradient-based <sup>♯</sup>
""",
    "dcp-nas/table-15": r"""
ResNet-18 | 32/32 | 357.4 | - | 255.7 | -
ResNet-18 (ReActNet) | 1/1 | 11.2 | $31.9 \times$ | 67.1 | 3.8  imes
DCP-NAS-M | 1/1 | 6.9 | $51.8 \times$ | 101.3 | $2.5 \times$
""",
}

LATEX = {r"\S}": "§", r"\flat": "♭", r"\ddagger": "‡", r"\dagger": "†", "<sup>b</sup>": "♭"}


def cells_of(artefact: str) -> list[list[str]]:
    """The raw rows of a table, cell by cell."""
    text = RAW[artefact].lstrip("\n")
    for garbled, read in GARBLED.items():
        text = text.replace(garbled, read)
    return [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]


def numbers_of(cell: str) -> list[str]:
    """The numbers of a cell that holds nothing else, as printed: `≤2.16×` is 2.16, `1/32` are two."""
    plain = re.sub(r"<[^>]*>|\\(times|approx|geq|leq)|[$≈≥≤×\s]", "", cell)
    parts = plain.split("/")
    return parts if all(re.fullmatch(r"[+-]?\d+(\.\d+)?", part) for part in parts) else []


def name_of(text: str) -> str:
    """A row's name without spaces, dashes, brackets, references and LaTeX, but with its mark."""
    for latex, mark in LATEX.items():
        text = text.replace(latex, mark)
    text = re.sub(r"<[^>]*>|\\[a-zA-Z]+|\[[^\]]*\]", "", text)
    return "".join(re.findall(r"[A-Za-z0-9♯§♭‡†*]", text))


def printed_rows(artefact: str) -> list[Row]:
    """Without the rows that are ours."""
    return [row for row in load(artefact).rows if row.paper]


@pytest.mark.parametrize("artefact", RAW)
def test_printed_numbers_are_those_of_the_text(artefact: str) -> None:
    """Row by row, in the columns' order; of tables 12 to 14 without W/A, whose cells span rows."""
    spans = artefact in SPANNED
    columns = [column.key for column in load(artefact).columns]

    def numbers(cells: Iterable[str]) -> list[str]:
        kept = [cell for cell in cells if not (spans and re.fullmatch(r"\d+/\d+", cell))]
        return [number for cell in kept for number in numbers_of(cell)]

    first = 5 if artefact == "dcp-nas/table-4" else 0  # it has `1` for a tick
    raw = [numbers(cells[first:]) for cells in cells_of(artefact)]
    ours = [numbers(row.paper.get(key, "-") for key in columns) for row in printed_rows(artefact)]
    assert ours == raw
    assert all(raw)


@pytest.mark.parametrize("artefact", sorted({*RAW} - {*SPANNED}))
def test_rows_have_the_names_of_the_text(artefact: str) -> None:
    place = 1 if artefact in ("dcp-nas/table-1", "dcp-nas/table-4") else 0
    raw = [name_of(cells[place]) for cells in cells_of(artefact)]
    ours = [name_of(row.name) for row in printed_rows(artefact)]
    if artefact == "dcp-nas/table-4":  # its four DCP-NAS-L have their marks added
        ours = [re.sub("^DCPNASL.*", "DCPNASL", name) for name in ours]
    assert ours == raw
    if "method" in (column.key for column in load(artefact).columns):
        last = [re.sub(" <.*", "", cells[-1]) for cells in cells_of(artefact)]
        assert [row.paper["method"].rstrip("♮") for row in printed_rows(artefact)] == last


@pytest.mark.parametrize("garbled", GARBLED)
def test_garbled_cells_are_in_the_text(garbled: str) -> None:
    assert sum(garbled in text for text in RAW.values()) == 1


@pytest.mark.parametrize("artefact", SPANNED)
def test_cells_that_span_rows(artefact: str) -> None:
    """W/A and the method: what is printed, and in every row of a span what its name says."""
    wide = {"Real-valued": "32/32", "DoReFa-Net": "4/4", "FQN": "4/4"}
    for cells, row in zip(cells_of(artefact), load(artefact).rows, strict=True):
        bits = [cell for cell in cells if re.fullmatch(r"\d+/\d+", cell)]
        assert bits in ([], [row.paper["wa"]])
        assert row.paper["wa"] == wide.get(row.name, "1/1")
        assert row.paper["method"] == ("Manual" if row.group else "Gradient-based♮")


def test_marks_of_table_4() -> None:
    """The extraction has `1`, `~` and a list for a tick, `X` for a cross, and blanks."""
    marks = {
        "1": "✓",
        "~": "✓",
        "<ul> <li>✓</li> </ul>": "✓",
        "X": "×",
        "×": "×",
        "-": "-",
        "": None,
    }
    raw = [[marks[cell] for cell in cells[2:5]] for cells in cells_of("dcp-nas/table-4")]
    rows = printed_rows("dcp-nas/table-4")
    assert [[row.paper.get(key) for key in ("tp", "ggn", "do")] for row in rows] == raw


def test_table_3() -> None:
    """Turned: the text has its settings as columns, with `1` and `~` for ticks."""
    text = """× 1 × ~
        × × 1 1
        66.7 68.3 68.2 72.4
        83.3 85.0 85.1 89.2"""
    read = str.maketrans({"1": "✓", "~": "✓"})
    marks, values = text.splitlines()[:2], text.splitlines()[2:]
    columns = [line.translate(read).split() for line in marks] + [line.split() for line in values]
    rows = [tuple(row.paper.values()) for row in load("dcp-nas/table-3").rows]
    assert rows == list(zip(*columns, strict=True))


def test_table_7() -> None:
    """The text runs its columns together, one decimal each; the normal rows stand in table 8 too."""
    text = """Small 63.084.54.2Normal search space Medium 69.088.4 6.972.490.6 6.9Large Small 59.180.2
        5.1Medium 85.3 7.2w/o pooling layer 64.3 7.268.9 87.3 Large Small 60.0 81.3 5.07.1w/o skip
        connection Medium 65.185.9 Large 69.588.67.1Small 58.980.1 5.3w/o pooling layer 7.4Medium
        64.085.1+ w/o skip connection 68.2 88.9 7.4"""
    table = load("dcp-nas/table-7")
    ours = Counter(value for row in table.rows for value in row.paper.values())
    assert ours == Counter(re.findall(r"\d+\.\d", text))
    for size, key in (("Small", "S"), ("Medium", "M"), ("Large", "L")):
        here, there = (
            table.row(size, "Normal search space"),
            load("dcp-nas/table-8").row(f"DCP-NAS-{key}"),
        )
        assert [here.paper[k] for k in ("top1", "top5")] == [
            there.paper[k] for k in ("top1", "top5")
        ]
    for group in {row.group for row in table.rows}:
        top1 = [float(row.paper["top1"]) for row in table.rows if row.group == group]
        assert top1 == sorted(top1), "larger networks are better in every space"


def test_table_9() -> None:
    """The text splits the errors between two cells, and has three of the rows on ImageNet."""
    cifar, imagenet = "6. | 13\n6. | 42\n6. | 49\n6. | 87", "63.0 62.9 62.6 84.5 84.3 84.2"
    rows = load("dcp-nas/table-9").rows
    errors = [row.paper["error"] for row in rows[:4]]
    assert errors == cifar.replace(" | ", "").splitlines()
    top = [row.paper[key] for key in ("top1", "top5") for row in rows[4:7]]
    assert top == imagenet.split()
    marks = [[row.paper[key] for key in ("cutout", "clip")] for row in rows[:4]]
    assert marks == [[row.paper[key] for key in ("smoothing", "auxiliary")] for row in rows[4:]]


def test_table_9_trains_as_it_prints() -> None:
    """A cross is a field of the recipe at zero; where nothing is set it is the recipe's default."""
    on = {"cutout": 0.5, "clip": 5.0, "smoothing": 0.1, "auxiliary": 0.4}
    names = {"smoothing": "label_smoothing"}
    for row in load("dcp-nas/table-9").rows:
        (run,) = row.runs.values()
        for key, value in on.items():
            field = names.get(key, key)
            wanted = value if row.paper.get(key) == "✓" else 0.0
            assert run.recipe.get(field, getattr(Recipe(), field)) == wanted, (row.name, key)


def test_figure_1_has_the_1_bit_rows_of_table_11() -> None:
    table, figure = load("dcp-nas/table-11"), load("dcp-nas/figure-1")
    rows = [r for r in printed_rows(table.id) if r.paper["wa"] == "1/1" and r.paper["ops"] != "-"]
    for ours, there in zip(figure.rows, rows, strict=True):
        assert (ours.name, ours.group, ours.runs, ours.count, ours.quoted) == (
            (there.name, there.group, there.runs, there.count, there.quoted)
        )
        assert ours.paper == {key: there.paper[key] for key in ("ops", "top1")}


@pytest.mark.parametrize(
    ("artefact", "swept", "lines"),
    [
        ("cp-nas/figure-6-left", {"β_P": "beta_p"}, 1),
        ("dcp-nas/figure-7", {"λ": "lam", "μ": "mu"}, 3),
    ],
)
def test_sweeps_run_what_they_plot(artefact: str, swept: Mapping[str, str], lines: int) -> None:
    figure = load(artefact)
    assert len({row.series for row in figure.rows}) == lines
    for row in figure.rows:
        named = dict(part.split(" = ") for part in row.name.split(", "))
        run = row.runs["run"]
        for text in (run.method, run.small.get("method", run.method)):
            options = {key: getattr(method(text), option) for key, option in swept.items()}
            assert options == {key: float(value) for key, value in named.items()}
        assert row.x == options[next(iter(swept))]
        assert row.series in ("CP-NAS", f"μ = {named.get('μ')}")


def widths(artefact: str, start: str) -> list[int]:
    """Channels of an artefact's rows at the 54 of the paper's scale."""
    rows = [row for row in load(artefact).rows if row.name.startswith(start)]
    return [round(54 * row.runs["run"].width) for row in rows if row.runs]


def test_channels_are_the_papers() -> None:
    """CP-NAS section 3.1: 56, 72, 112 on CIFAR-10, 102 on ImageNet; DCP-NAS 4.1.3: 54, 72, 108."""
    assert (
        widths("cp-nas/table-1", "CP-NAS") == widths("dcp-nas/table-10", "CP-NAS") == [56, 72, 112]
    )
    assert widths("cp-nas/table-3", "CP-NAS") == [56, 72, 112]
    assert widths("cp-nas/table-2", "CP-NAS") == [102, 102]
    assert widths("dcp-nas/table-11", "CP-NAS") == [102]
    for table in ("dcp-nas/table-10", "dcp-nas/table-11"):
        assert widths(table, "DCP-NAS") == [54, 72, 108]


COST = ("parameters", "memory.", "ops.")
COUNTED = [
    (artefact, row, column)
    for artefact in ids()
    if artefact.startswith(("cp-nas/", "dcp-nas/"))
    for row in load(artefact).rows
    for column in load(artefact).columns
    if row.count and column.record.startswith(COST) and number(row.paper.get(column.key, "-"))
]


@pytest.mark.sample(12)
@pytest.mark.parametrize(
    ("row", "column"),
    [
        pytest.param(row, column, id=f"{artefact}, {row.name}, {column.title}")
        for artefact, row, column in COUNTED
        if row.name[-1] not in "♯§"
    ],
)
def test_counts_agree_with_what_is_printed(row: Row, column: Column) -> None:
    """To 1.2 %; the papers leave the 513,000 parameters of its classifier out of ResNet-18."""
    assert row.count
    cost = counted(row.count)
    value = (field(cost, column.record) or 0) / column.scale
    if row.count.arch.endswith("net18") and not column.record.startswith("ops"):
        value *= 1 - 513_000 / cost["parameters"]
    assert value == pytest.approx(number(row.paper[column.key]), rel=0.012)


def test_how_many_printed_costs_are_counted() -> None:
    """Of CP-NAS 1 to 3: 3, 4, 4; of DCP-NAS 8, 10, 11, 15 and figure 1: 18, 3, 16, 3, 7."""
    found = Counter(artefact for artefact, _, _ in COUNTED)
    assert found == {
        "cp-nas/table-1": 3,
        "cp-nas/table-2": 4,
        "cp-nas/table-3": 4,
        "dcp-nas/table-8": 18,
        "dcp-nas/table-10": 3,
        "dcp-nas/table-11": 16,
        "dcp-nas/table-15": 3,
        "dcp-nas/figure-1": 7,
    }


@pytest.mark.slow
def test_counts_of_table_8_that_do_not_agree() -> None:
    """docs/findings.md: binary preprocessing changes nothing, binary depthwise takes S to 78.0 M."""
    rows = [load("dcp-nas/table-8").row(f"DCP-NAS-S{mark}") for mark in ("", "♯", "§")]
    plain, sharp, section = (counted(row.count) for row in rows if row.count)
    assert sharp["macs"] != plain["macs"] != section["macs"]
    assert sharp["ops"]["dcp-nas"] == plain["ops"]["dcp-nas"]
    assert section["ops"]["dcp-nas"] == pytest.approx(77.985e6, rel=1e-4)


def test_the_published_genotype_is_run() -> None:
    """At the three sizes, as it is: what is given is what is counted."""
    table, where = load("dcp-nas/table-11"), space("darts-binary")
    for size in "SML":
        row, theirs = table.row(f"DDPNAS_MCN_2, {size}"), table.row(f"DCP-NAS-{size}")
        assert row.count == theirs.count
        assert row.runs["run"].width == theirs.runs["run"].width
        given: Any = method(row.runs["run"].method)
        assert row.count
        assert given.search(where, None, None, None).best == where.parse(architecture(row.count))


def test_the_published_genotype() -> None:
    """As its authors wrote it, node by node."""
    text = {
        "normal": "(sep_conv_5x5,1)(max_pool_3x3,0) (dil_conv_3x3,2)(skip_connect,0) "
        "(sep_conv_3x3,3)(avg_pool_3x3,1) (dil_conv_3x3,4)(avg_pool_3x3,3)",
        "reduce": "(max_pool_3x3,0)(sep_conv_3x3,1) (dil_conv_3x3,1)(sep_conv_3x3,0) "
        "(max_pool_3x3,1)(dil_conv_5x5,2) (dil_conv_5x5,2)(sep_conv_5x5,1)",
    }
    arch = space("darts-binary").parse((FOLDER / "architectures/ddpnas-mcn-2.txt").read_text())
    live = {name: option for name, option in arch.choices.items() if option != "none"}
    assert live == {
        f"{cell}.edge({source},{node})": operation
        for cell, nodes in text.items()
        for node, pairs in enumerate(nodes.split(), 2)
        for operation, source in re.findall(r"\((\w+),(\d)\)", pairs)
    }


@pytest.mark.parametrize(
    ("budget", "train", "valid", "passes"),
    [("quick", 718, 72, 108_885), ("standard", 25_000, 2_500, 3_860_480)],
)
def test_the_whole_hessian_is_beyond_small_budgets(
    budget: str, train: int, valid: int, passes: int
) -> None:
    """As the notes of table 4 say: of the digits, and of CIFAR-10."""
    preset = BUDGETS[budget]
    task: Any = SimpleNamespace(
        batch_size=preset.batch_size, train=range(train), valid=range(valid)
    )
    meter: Any = SimpleNamespace(passes=preset.passes)
    with pytest.raises(BudgetExceeded, match=f"takes {passes} passes"):
        DCPNAS(hessian="exact-matrix").rounds([8] * 28, task, meter)
    assert f"{passes:,} " in " ".join(load("dcp-nas/table-4").notes)


@pytest.mark.parametrize("half", "ab")
def test_figure_8_draws_fields_of_the_log(half: str) -> None:
    log = json.loads((Path(__file__).parents[1] / "golden").joinpath("dcpnas.json").read_text())[
        "log"
    ]
    figure = load(f"dcp-nas/figure-8-{half}").figure
    assert figure
    assert figure.y
    assert all(isinstance(entry[field], float) for entry in log for field in figure.y)
