"""The committed runs and reports: whole, of committed code, and what docs/results.md shows of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bnas_bench as bb
from bnas_bench.analysis import rankings
from bnas_bench.analysis.stats import Interval, NotEnough, rank_correlation, summary
from bnas_bench.analysis.stats.contrasts import Contrast, contrast, holm
from bnas_bench.cli import main
from bnas_bench.report.values import p_text
from bnas_bench.runs.store import Store
from bnas_bench.transfer import record as transfers

ROOT = Path(__file__).parent.parent
GRIDS = {
    "digits-quick": (10, 5, 1),
    "cifar10-jpeg": (9, 3, 1),
    "which-search": (19, 30, 2),
    "which-ingredient": (12, 30, 1),
    "which-ingredient-dcpnas": (8, 30, 1),
}
"""By the results' name the rows, seeds and budgets of their grid."""

PASSES = {"7,500 passes": "quick-passes-7500", "30,000 passes": "quick"}
"""By the heading of a budget of which-search how its tables end."""


def table(name: str, kind: str, budget: str = "*") -> dict[str, dict[str, str]]:
    """The rows of a table of a committed report, by method."""
    (file,) = (ROOT / "reports" / name / "tables").glob(f"{kind}-bnas-201-digits-{budget}.csv")
    with file.open(encoding="utf-8") as text:
        return {row["method"]: row for row in csv.DictReader(text)}


def section(page: str, heading: str) -> list[str]:
    """The lines of a page from a heading to the next one."""
    text = (ROOT / page).read_text("utf-8")
    return text.partition(f"\n{heading}\n")[2].partition("\n#")[0].splitlines()


def records(name: str) -> list[dict[str, Any]]:
    store = Store(ROOT / "results" / name)
    return [store.read(trial) or {} for trial in store.ids()]


@pytest.mark.parametrize("name", GRIDS)
def test_every_trial_of_the_grid_is_there_and_of_committed_code(name: str) -> None:
    rows, seeds, budgets = GRIDS[name]
    found = records(name)
    trials = {
        (trial["method"], json.dumps(trial["method_options"]), str(trial["budget"]), trial["seed"])
        for trial in found
    }
    assert len(found) == len(trials) == rows * seeds * budgets
    assert len({str(trial["budget"]) for trial in found}) == budgets
    for trial in found:
        assert (trial["status"], trial["dirty"]) == ("ok", False)
        Store(ROOT / "results" / name).verify(trial)
    for field in ("commit", "harness_source", "dataset_fingerprint", "space_source"):
        assert len({trial[field] for trial in found}) == 1, field


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", GRIDS)
def test_the_report_is_that_of_the_records(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text, to the letter: means, intervals, tests, notes and commands (figures are not compared)."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("bnas_bench.report.build.DRAWN", 0)
    found = CliRunner().invoke(main, ["report", name, "--reports", str(tmp_path)])
    assert found.exit_code == 0, found.output
    written = (tmp_path / name / "report.md").read_text("utf-8").splitlines()
    committed = (ROOT / "reports" / name / "report.md").read_text("utf-8").splitlines()
    # The one line that counts the drawings, which this test leaves out.
    assert [line for line in written if "are drawn of" not in line] == [
        line for line in committed if "are drawn of" not in line
    ]


@pytest.mark.parametrize("name", GRIDS)
def test_the_results_page_shows_the_reports_numbers(name: str) -> None:
    page = (ROOT / "docs" / "results.md").read_text("utf-8").splitlines()
    rows: list[dict[str, str]] = []
    for file in (ROOT / "reports" / name / "tables").glob("main-*.csv"):
        rows += csv.DictReader(file.read_text("utf-8").splitlines())
    assert rows
    for row in rows:
        lower, upper = (float(row[f"test_accuracy_{end}"]) for end in ("lower", "upper"))
        accuracy = f"{row['test_accuracy_text']} [{lower:.2f}, {upper:.2f}]"
        trials = (f"`{row['method']}`", row["n"], accuracy, row["ops_text"], row["passes_text"])
        assert f"| {' | '.join(trials)} |" in page


def test_the_ranking_in_the_docs_is_the_file_s() -> None:
    told = json.loads((ROOT / "docs/ranking/bnas-201-digits.json").read_text())
    page = (ROOT / "docs/tables.md").read_text()
    rows = rankings.over_seeds([row for rows in told["scores"].values() for row in rows])
    assert (len(rows), {row["seeds"] for row in rows}) == (52, {5})
    at: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in rows:
        key = (row["method"], row["of"], row["precision"] or "either")
        tau = f"{row['tau']:.2f} [{row['lower']:.2f}, {row['upper']:.2f}]"
        at.setdefault(key, {})[row["truth"]] = tau
    for (method, of, precision), taus in at.items():
        line = f"| `{method}` | {of} | {precision} | {taus['W1A1']} | {taus['W32A32']} |"
        assert line in page.splitlines()
    child = [
        row["tau"]
        for rows in told["scores"].values()
        for row in rows
        if (row["method"], row["of"], row["truth"]) == ("cpnas", "child", "W1A1")
    ]
    assert f"CP-NAS' Child has taus from {min(child):.2f} to {max(child):.2f} at" in page


def test_the_datasheet_says_what_the_latencies_are() -> None:
    table = bb.table("bnas-201-digits")
    assert table.latencies is not None
    times = table.latencies.times["latency_ms"]
    ops = pd.Series({arch: table.query(arch).ops for arch in table.latencies.times["arch"]})
    page = " ".join((ROOT / "docs/tables.md").read_text().split())
    low, first, median, third, high = times.quantile([0, 0.25, 0.5, 0.75, 1])
    assert (
        f"has {len(times):,} networks, {low:.3f} to {high:.3f} ms (median {median:.3f}, quartiles "
        f"{first:.3f} and {third:.3f}; an {table.latencies.machine['cpu']}"
    ) in page
    assert f"Pearson's r {np.corrcoef(times, ops)[0, 1]:.2f}" in page


def test_parents_rank_better_than_children_as_the_page_says() -> None:
    page = " ".join((ROOT / "docs/tables.md").read_text().split())
    for method, said in (("cpnas", "more than its Child by {}"), ("dcpnas", "DCP-NAS' by {}")):
        leads = []
        for file in (ROOT / "results/which-search/trials").glob(f"{method}-*/record.json"):
            record = json.loads(file.read_text())
            if record["budget"] == "quick":
                learned = record["learned"]
                taus: dict[str, float] = {}
                for name, one in learned["supernets"].items():
                    pair = one["drawn_valid_accuracies"], learned["drawn_test_accuracies"]
                    tau = rank_correlation(*pair)
                    assert not isinstance(tau, NotEnough)
                    taus[name.partition(".")[0]] = tau
                leads.append(taus["parent"] - taus["child"])
        found = summary(leads)
        assert len(leads) == 30
        assert not isinstance(found, NotEnough)
        assert isinstance(found.interval, Interval)
        interval = f"[{found.interval.lower:.2f}, {found.interval.upper:.2f}]"
        assert said.format(f"{found.mean:.2f} {interval}") in page


@pytest.mark.parametrize("heading", PASSES)
def test_the_page_on_searches_shows_the_reports_numbers(heading: str) -> None:
    lines = section("docs/which-search.md", f"### {heading}")
    means, contrasts = (table("which-search", kind, PASSES[heading]) for kind in ("main", "random"))
    assert (len(means), len(contrasts)) == (19, 18)
    tables = ROOT / "reports/which-search/tables"
    learned_file = tables / f"learned-bnas-201-digits-{PASSES[heading]}.csv"
    for method, row in means.items():
        (line,) = [line for line in lines if line.startswith(f"| `{method}` |")]
        cells = [cell.strip() for cell in line.split("|")]
        assert cells[2] == row["test_accuracy_text"]
        found = [r for r in records("which-search") if r["id"] in row["runs"].split()]
        assert len(found) == 30
        assert cells[3] == f"{np.mean([r['regret'] for r in found]):.2f}"
        assert cells[4] == f"{np.mean([r['percentile'] for r in found]):.0f}"
        edges = [o for r in found for o in r["architecture"]["choices"].values()]
        assert cells[8] == f"{100 * edges.count('avg_pool_3x3') / len(edges):.0f} %"
        if method in contrasts:
            assert cells[5:7] == [interval(contrasts[method]), contrasts[method]["holm_text"]]
        learned = csv.DictReader(learned_file.read_text("utf-8").splitlines())
        taus = [f"{float(r['tau']):.2f}" for r in learned if r["method"] == method and r["tau"]]
        assert [text.split(" ")[0] for text in cells[7].split(", ") if text] == taus


def test_the_page_on_searches_says_what_the_larger_budget_gains() -> None:
    lines = section("docs/which-search.md", "### 30,000 passes")
    frame = bb.load_results(str(ROOT / "results/which-search"))
    accuracies = {
        key: dict(zip(runs["seed"], runs["test_accuracy"].astype(float), strict=True))
        for key, runs in frame.groupby(["method_label", "budget"])
    }
    gains: dict[str, Contrast] = {}
    for (method, budget), found in accuracies.items():
        if budget == "quick":
            gain = contrast(found, accuracies[method, "quick[passes=7500]"], pair=False)
            assert isinstance(gain, Contrast)
            gains[method] = gain
    assert len(gains) == 19
    corrected = holm({method: gain.p for method, gain in gains.items()})
    for method, gain in gains.items():
        (line,) = [line for line in lines if line.startswith(f"| `{method}` |")]
        within, p = gain.interval, corrected[method]
        assert isinstance(within, Interval)
        assert not isinstance(p, NotEnough)
        told = f"{gain.difference:+.2f} [{within.lower:.2f}, {within.upper:.2f}]"
        assert line.endswith(f"| {told} | {p_text(p)} |")


def interval(row: dict[str, str]) -> str:
    """A difference with its interval, as pages have it."""
    lower, upper = (float(row[f"difference_{end}"]) for end in ("lower", "upper"))
    return f"{float(row['difference']):+.2f} [{lower:.2f}, {upper:.2f}]"


@pytest.mark.parametrize(
    ("name", "size"), [("which-ingredient", (12, 8)), ("which-ingredient-dcpnas", (8, 7))]
)
def test_the_page_on_ingredients_shows_the_reports_numbers(
    name: str, size: tuple[int, int]
) -> None:
    page = (ROOT / "docs/which-ingredient.md").read_text("utf-8").splitlines()
    means, contrasts = (table(name, kind) for kind in ("main", "ingredients"))
    assert (len(means), len(contrasts)) == size
    for method, row in means.items():
        cells = [f"`{method}`", row["test_accuracy_text"], *[""] * 4]
        if method in contrasts:
            d = contrasts[method]
            cells[2] = interval(d)
            cells[3:] = [d["holm_text"], d["equal_text"], d["seconds_text"]]
        assert f"| {' | '.join(cells)} |" in page


def test_the_readme_shows_the_page_on_searches() -> None:
    lines = section("docs/which-search.md", "### 30,000 passes")
    page = section("README.md", "## Which search is better?")
    rows = [line for line in page if line.startswith("| ")]
    assert len(rows) == 11
    for row in rows[2:]:
        _, accuracy, *contrast = (cell.strip() for cell in row.strip("|").split("|"))
        (line,) = [line for line in lines if f"| {accuracy} |" in line]
        assert f"| {' | '.join(contrast)} |" in line or not any(contrast)


def test_the_diagnostics_of_searches_are_of_their_records() -> None:
    names = {"pool": "avg_pool_3x3", "3x3": "nor_conv_3x3", "1x1": "nor_conv_1x1"}
    names |= {"skip connection": "skip_connect", "none": "none"}
    page = section("docs/which-search.md", "### They pool")
    rows = [line for line in page if line.startswith("| `")]
    larger = {
        line.split("|")[1]: line
        for line in section("docs/which-search.md", "### 30,000 passes")
        if "|" in line
    }
    runs = bb.load_results(str(ROOT / "results/which-search"))
    runs = runs[runs["budget"] == "quick"]
    assert len(rows) == 8
    for row in rows:
        method, taken, undecided, pathless, tau = (
            cell.strip() for cell in row.strip("|").split("|")
        )
        assert f"| {tau} |" in larger[f" {method} "]
        found = runs[runs["method_label"] == method.strip("`")]
        assert len(found) == 30
        told = {r["id"]: r for r in records("which-search") if r["id"] in {*found["id"]}}
        edges = [o for r in told.values() for o in r["architecture"]["choices"].values()]
        for part in taken.split(", "):
            name, _, share = part.rpartition(" ")
            assert share == f"{100 * edges.count(names[name]) / len(edges):.0f}"
        last = [curve(trial)[-1].get("undecided", np.nan) for trial in told]
        assert (undecided or "nan") == f"{np.mean(last):.2f}"
        assert pathless == str((found["test_accuracy"] < 20).sum())


def test_what_the_page_says_of_pools_is_of_the_records() -> None:
    """How much less a real-valued supernet pools, in percentage points, and what it takes instead."""
    page = " ".join(section("docs/which-search.md", "### They pool"))
    edges: dict[tuple[str, str], dict[Any, list[str]]] = {}
    pathless: dict[tuple[str, str], int] = {}
    runs = bb.load_results(str(ROOT / "results/which-search"))
    labels = dict(zip(runs["id"], runs["method_label"], strict=True))
    for record in records("which-search"):
        key = labels[record["id"]], "smaller" if "[" in str(record["budget"]) else "larger"
        edges.setdefault(key, {})[record["seed"]] = [*record["architecture"]["choices"].values()]
        pathless[key] = pathless.get(key, 0) + (record["test_accuracy"] < 20)

    def pools(method: str, budget: str) -> dict[Any, float]:
        found = edges[method, budget]
        return {seed: 100 * taken.count("avg_pool_3x3") / 6 for seed, taken in found.items()}

    def less(method: str, other: str, budget: str) -> str:
        found = contrast(pools(other, budget), pools(method, budget), pair=False)
        assert isinstance(found, Contrast)
        assert isinstance(found.interval, Interval)
        ends = found.interval
        return f"{found.difference:.0f} [{ends.lower:.0f}, {ends.upper:.0f}]"

    real = "darts[precision=W32A32]"
    assert f"pools {less(real, 'darts', 'smaller')} percentage points less at the smaller" in page
    assert f"and {less(real, 'darts', 'larger')} less at the larger one" in page
    assert f"than a random draw ({less('random[form=draw]', real, 'larger')})" in page
    none = [
        100 * sum(taken.count("none") for taken in edges[real, budget].values()) / 180
        for budget in ("smaller", "larger")
    ]
    assert f"of its edges {none[0]:.0f} and {none[1]:.0f} % are `none`" in page
    assert [pathless[real, budget] for budget in ("smaller", "larger")] == [4, 5]
    assert "four and five of thirty cells have no path" in page
    share = {
        (method, budget): 100 * sum(t.count("avg_pool_3x3") for t in found.values()) / 180
        for (method, budget), found in edges.items()
    }
    small = [share[m, "smaller"] for m in ("bars", "bats", "bnas", "darts", "dcpnas")]
    large = [share[m, "larger"] for m in ("bats", "bnas", "darts", "dcpnas")]
    assert f"At the smaller budget {min(small):.0f} to {max(small):.0f} % of the edges" in page
    assert f"are still {min(large):.0f} to {max(large):.0f} %" in page
    with_path = runs[(runs["method_label"] == "pcdarts") & (runs["budget"] == "quick")]
    with_path = with_path[with_path["test_accuracy"] > 20]["test_accuracy"]
    assert f"cells that have a path have {with_path.mean():.1f} %" in page


def test_what_the_page_says_of_dcpnas_ingredients_is_of_the_records() -> None:
    page = " ".join((ROOT / "docs/which-ingredient.md").read_text("utf-8").split())
    runs = bb.load_results(str(ROOT / "results/which-ingredient-dcpnas"))
    cells = runs.pivot(index="seed", columns="method_label", values="architecture_id")
    assert (cells["dcpnas[lam=0.0]"] == cells["dcpnas[tangent=false]"]).all()
    same = (cells["dcpnas[hessian=ggn]"] == cells["dcpnas"]).sum()
    assert f"the same cell at {same} of 30 seeds" in page
    labels = dict(zip(runs["id"], runs["method_label"], strict=True))
    pools: dict[str, int] = {}
    for record in records("which-ingredient-dcpnas"):
        taken = [*record["architecture"]["choices"].values()].count("avg_pool_3x3")
        label = labels[record["id"]]
        pools[label] = pools.get(label, 0) + taken
    shares = {label: 100 * taken / 180 for label, taken in pools.items()}
    assert f"With its defaults {shares.pop('dcpnas'):.0f} % of its edges" in page
    assert f"changed {min(shares.values()):.0f} to {max(shares.values()):.0f} %" in page


def curve(trial: str) -> list[dict[str, Any]]:
    """The lines of a search's log, of which the last is that of its last epoch."""
    log = (ROOT / "results/which-search/trials" / trial / "log.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in log.splitlines()]
    return [line for line in lines if line["phase"] == "search"]


@pytest.mark.parametrize("method", ["random", "dcpnas"])
def test_the_readmes_demo_is_of_its_records(method: str) -> None:
    page = (ROOT / "README.md").read_text("utf-8").splitlines()
    row = next(line.split() for line in page if line.startswith(f" {method} "))
    runs = [record for record in records("demo") if record["method"] == method]
    assert {run["dirty"] for run in runs} == {False}
    accuracies = [run["test_accuracy"] for run in runs]
    searched, trained = (
        np.mean([run[f"{phase}_seconds"] for run in runs]) for phase in ("search", "train")
    )
    ops = np.mean([run["ops"]["nas-bnn"] for run in runs]) / 1e6
    assert row[1:6] == [
        *(str(len(runs)), f"{np.mean(accuracies):.2f}", "±", f"{np.std(accuracies, ddof=1):.2f}"),
        f"{ops:.3f}",
    ]
    assert row[-2:] == [f"{searched:.1f}", f"{trained:.1f}"]


@pytest.mark.parametrize(
    ("name", "keys", "times"),
    [("backbones", ("mean_ap", "rank_1"), 10), ("detectors", ("map_area", "ap"), 8)],
)
def test_the_comparison_of_backbones_is_of_its_records(
    name: str, keys: Sequence[str], times: float
) -> None:
    """The page's means and intervals; and each record is whole, of committed code and far above chance."""
    page = (ROOT / "docs/transfer.md").read_text("utf-8").splitlines()
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for _, record in transfers.read_all(ROOT / "results" / name):
        assert isinstance(record, dict)
        assert record["dirty"] is False
        assert record["test"][keys[0]] > times * record["test"]["chance_bound"]
        found.setdefault((record["backbone"], *record["precisions"]), []).append(record)
    assert len(found) == 7 + 2
    for (backbone, precision), records in found.items():
        ops = f"{records[0]['ops']['nas-bnn'] / 1e6:.3f}"
        cells = (f"`{backbone}`", precision, *(over_seeds(records, key) for key in keys), ops)
        assert f"| {' | '.join(cells)} |" in page


def over_seeds(records: Sequence[dict[str, Any]], key: str) -> str:
    """The mean of a value of three transfers' tests with its t interval, as the page has it."""
    assert {record["seed"] for record in records} == {0, 1, 2}
    known = summary([record["test"][key] for record in records])
    assert not isinstance(known, NotEnough)
    assert isinstance(known.interval, Interval)
    lower, upper = max(known.interval.lower, 0), min(known.interval.upper, 100)
    return f"{known.mean:.1f} [{lower:.1f}, {upper:.1f}]"


def test_the_papers_tables_are_of_their_transfers() -> None:
    page = (ROOT / "docs/transfer.md").read_text("utf-8").splitlines()
    found: dict[str, dict[str, Any]] = {}
    for _, record in transfers.read_all(ROOT / "results/transfer-tables"):
        assert isinstance(record, dict)
        assert record["dirty"] is False
        first = "mean_ap" if record["task"] == "identities" else "map_area"
        assert record["test"][first] > 8 * record["test"]["chance_bound"]
        found.setdefault(record["trial"][-8:], {})[record["task"]] = record["test"]
    assert len(found) == 15
    for trial, tests in found.items():
        cells = [
            f"{tests[task][key]:.1f}" if task in tests else ""
            for task, key in (("identities", "mean_ap"), ("scenes", "map_area"), ("scenes", "ap"))
        ]
        (file,) = (ROOT / "results/transfer-tables/trials").glob(f"*-{trial}/record.json")
        ops = f"{json.loads(file.read_text())['ops']['nas-bnn'] / 1e6:.3f}"
        assert any(f"| `{trial}` | {ops} | {' | '.join(cells)} |" in line for line in page)


def test_what_a_schedule_of_precisions_gains_is_of_its_records() -> None:
    page = " ".join((ROOT / "docs/transfer.md").read_text("utf-8").split())
    found: dict[str, list[dict[str, Any]]] = {}
    for _, record in transfers.read_all(ROOT / "results" / "schedule"):
        assert isinstance(record, dict)
        assert record["dirty"] is False
        found.setdefault(",".join(record["precisions"]), []).append(record)
    assert {*found} == {"W32A1,W1A1", "W1A1,W1A1"}
    for precisions, records in found.items():
        assert f"`{precisions}` {over_seeds(records, 'mean_ap')}" in page
