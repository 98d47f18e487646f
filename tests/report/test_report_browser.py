"""The page of a report in a real browser: its tables, and the panel of runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bnas_bench.analysis.table import Column, Table, Value
from bnas_bench.report.model import Report, RunView
from bnas_bench.report.page import page
from tests.helpers.browser import SIZES, Browser
from tests.helpers.sample_report import sample_report

MAIN = "#table-main"
ACCURACY = 3
"""Place of the column `test accuracy (%)`, from 1."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("report")
    report = sample_report(folder)
    (folder / "index.html").write_text(page(report, folder), "utf-8")
    return report, folder / "index.html"


def numbers(report: Report, key: str) -> list[float | None]:
    return [row[key].number if key in row else None for row in report.tables[0].rows]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["latency", "accuracy"])
def test_a_header_sorts_the_best_first_and_what_is_missing_last(
    browser: Browser, sample: tuple[Report, Path], key: str
) -> None:
    report, file = sample
    browser.open(file)
    column = [column.key for column in report.tables[0].columns].index(key) + 1
    header = browser.one(f"{MAIN} thead th:nth-child({column})")
    trials = f"{MAIN} tbody tr > :nth-child({column})"

    def shown() -> list[float | None]:
        values = (trial.get_dom_attribute("data-number") for trial in browser.all(trials))
        return [float(value) if value else None for value in values]

    known = sorted(number for number in numbers(report, key) if number is not None)
    gaps = [None] * (len(report.tables[0].rows) - len(known))
    assert shown() == numbers(report, key)
    orders = [(known, "ascending"), (known[::-1], "descending")]
    for order, state in orders if key == "latency" else orders[::-1]:
        header.find_element("css selector", "button").click()
        assert shown() == order + gaps
        assert header.get_dom_attribute("aria-sort") == state
    header.find_element("css selector", "button").click()
    assert shown() == numbers(report, key)
    assert header.get_dom_attribute("aria-sort") is None


@pytest.mark.slow
def test_a_header_sorts_texts_by_keyboard(browser: Browser, sample: tuple[Report, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(sample[1])
    browser.js(f"document.querySelector('{MAIN} thead button').focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    names = browser.texts(f"{MAIN} tbody th .value")
    assert names == sorted((row["method"].text for row in sample[0].tables[0].rows), key=str.lower)


def test_a_filter_takes_words_and_counts_rows(
    browser: Browser, sample: tuple[Report, Path]
) -> None:
    browser.open(sample[1])
    box, output = browser.one(f"{MAIN} .tools input"), browser.one(f"{MAIN} .tools output")
    assert output.text == "12 rows"
    box.send_keys("LAM dcpnas")
    assert browser.texts(f"{MAIN} tbody th .value") == ["dcpnas[lam=0]"]
    assert output.text == "1 of 12 rows"
    browser.one(f"{MAIN} thead button").click()  # what is filtered away stays away
    assert output.text == "1 of 12 rows"
    box.clear()
    box.send_keys("quoted")
    assert browser.texts(f"{MAIN} tbody th .value") == ["DCP-NAS, in its paper (table 4)"]
    box.send_keys(" nothing of the kind")
    assert (browser.texts(f"{MAIN} tbody th"), output.text) == ([], "0 of 12 rows")


def test_a_number_opens_its_runs(browser: Browser, sample: tuple[Report, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    report, file = sample
    browser.open(file)
    value = report.tables[0].rows[2]["accuracy"]
    link = browser.one(f"{MAIN} tbody tr:nth-child(3) > :nth-child({ACCURACY}) a")
    link.click()
    browser.runs()
    assert browser.one("dialog h2").text == "5 runs"
    assert browser.one("dialog .context").text == f"dcpnas, test accuracy (%): {value.text}"
    assert browser.texts("dialog .run > summary") == value.runs
    run = next(run for run in report.runs if run.id == value.runs[0])
    assert browser.texts("dialog .commands code") == [run.command]
    pairs = zip(
        browser.texts("dialog .pairs th"), browser.texts("dialog .pairs th + td"), strict=True
    )
    shown = dict(pairs)
    assert (shown["method.name"], shown["budget.final.channels"]) == ("dcpnas", "8")
    assert shown["test_accuracy"] == run.record["test_accuracy"]
    assert run.architecture.items() <= shown.items()
    assert browser.texts("dialog .series caption") == [
        "search: 20 entries, 1,000 to 20,000 passes",
        "train: 12 entries, 0 to 15,488 passes",
    ]
    files = [a.get_dom_attribute("href") for a in browser.all("dialog .files a")][1:]
    assert files == list(run.files.values())
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.until("return !document.querySelector('dialog').open && location.hash === ''")
    assert browser.driver.switch_to.active_element == link


def test_a_command_is_copied(browser: Browser, sample: tuple[Report, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    report, file = sample
    failed = next(run for run in report.runs if run.status == "failed")
    browser.open(file, f"#run={failed.id}")
    browser.runs()
    assert browser.one("dialog h2").text == failed.id
    assert browser.one("dialog .status").text == f"failed: {failed.record['reason']}"
    browser.one("dialog .copy").click()
    browser.until("return document.querySelector('dialog .copy').textContent !== 'Copy'")
    assert browser.one("dialog .copy").text == "Copied"
    browser.one("dialog .close").click()
    box = browser.one(f"{MAIN} .tools input")
    box.send_keys(Keys.CONTROL, "v")
    assert box.get_property("value") == failed.command


def test_an_address_of_no_run_says_so(browser: Browser, sample: tuple[Report, Path]) -> None:
    for fragment in ("#run=gone", "#run=%E0", "#runs=900-999", "#runs=x"):
        browser.open(sample[1], fragment)
        browser.until("return document.querySelector('dialog[open]')")
        assert browser.one("dialog h2").text == "No such run"


TARGETS = """
return [...document.querySelectorAll("main button, main input, a.value, sup a, nav a")]
    .filter((e) => e.checkVisibility())
    .map((e) => e.getBoundingClientRect())
    .map((box) => Math.min(box.width, box.height))
"""
STICKY = f"""
const table = document.querySelector("{MAIN} .scroll"), trial = table.querySelector("tbody th");
const before = trial.getBoundingClientRect().left;
table.scrollLeft = 90;
const moved = [table.scrollLeft, trial.getBoundingClientRect().left - before];
table.scrollLeft = 0;
return moved
"""


@pytest.mark.parametrize("size", SIZES)
def test_it_fits(browser: Browser, sample: tuple[Report, Path], size: str) -> None:
    """The page never scrolls sideways; what is tapped on a phone is large enough (WCAG 2.2, 2.5.8)."""
    browser.open(sample[1], size=size)
    assert browser.js("return innerWidth") == SIZES[size][0]
    fits = "const e = document.documentElement; return e.scrollWidth <= e.clientWidth"
    assert browser.js(fits)
    if size == "phone":
        sizes = browser.js(TARGETS)
        assert len(sizes) > 100
        assert min(sizes) >= 24
        assert browser.js(STICKY) == [90, 0]
    browser.one(f"{MAIN} tbody a.value").click()
    browser.runs()
    assert browser.js(fits)
    assert browser.js(
        "const d = document.querySelector('dialog'); return d.scrollWidth <= d.clientWidth"
    )
    heights = [button.size["height"] for button in browser.all("dialog .close, dialog .copy")]
    assert min(heights) >= (44 if size == "phone" else 24)


def test_a_column_of_names_breaks_no_word_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    columns = [Column(key=key, title=key, numeric=False) for key in ("group", "row", "mark")]
    columns += [Column(key=f"x{k}", title="search cost (GPU days), paper") for k in range(5)]
    row = {column.key: Value(text="27.9") for column in columns}
    row |= {"group": Value(text="Auxiliary BNAS"), "row": Value(text="Random")}
    table = Table(name="main", title="T", caption="", columns=columns, rows=[row])
    report = Report(name="r", title="R", facts=[], tables=[table], runs=[])
    (tmp_path / "index.html").write_text(page(report, tmp_path), "utf-8")
    browser.open(tmp_path / "index.html", size="phone")
    name, number = (browser.one(f"{MAIN} tbody td:nth-child({k}) .value") for k in (2, 4))
    assert (name.text, name.size["height"]) == ("Random", number.size["height"])


def test_texts_of_records_run_nothing(browser: Browser, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    run = RunView(
        id=hostile,
        status="failed",
        command=hostile,
        config={"lr": hostile},
        record={"reason": hostile},
        architecture={hostile: hostile},
        files={"record.json": "javascript:alert(4)"},
    )
    columns = [Column(key="m", title="method", numeric=False)]
    rows = [{"m": Value(text=hostile, runs=[hostile], kind="measured")}]
    table = Table(name="main", title=hostile, caption=hostile, columns=columns, rows=rows)
    report = Report(name="r", title="R", facts=[hostile], tables=[table], runs=[run])
    (tmp_path / "index.html").write_text(page(report, tmp_path), "utf-8")
    browser.open(tmp_path / "index.html")
    browser.one(f"{MAIN} a.value").click()
    browser.runs()
    assert browser.one("dialog .status").text == f"failed: {hostile}"
    assert hostile in browser.texts("dialog .pairs td")
    assert len(browser.all("script:not([type])")) == 1
    assert (
        browser.js("return document.querySelector('dialog .files a:last-child').protocol")
        == "file:"
    )


@pytest.mark.slow
def test_ten_thousand_runs(browser: Browser, tmp_path: Path) -> None:
    runs = [
        RunView(id=f"run-{i}", status="ok", command=f"bnas-bench run {i}", config={"seed": str(i)})
        for i in range(10_000)
    ]
    columns = [Column(key="run", title="run", numeric=False), Column(key="x", title="x")]
    rows = [
        {
            "run": Value(text=run.id, runs=[run.id]),
            "x": Value(text=str(x), number=x, kind="measured", runs=[run.id]),
        }
        for run, x in ((run, 7919 * i % 10_007) for i, run in enumerate(runs))
    ]
    mean = Value(text="5,003", number=5003, kind="measured", runs=[run.id for run in runs])
    table = Table(name="main", title="Runs", caption="", columns=columns, rows=rows)
    short = replace(table, name="mean", rows=[{"run": Value(text="all"), "x": mean}])
    report = Report(name="r", title="R", facts=[], tables=[short, table], runs=runs)
    (tmp_path / "index.html").write_text(page(report, tmp_path), "utf-8")
    browser.open(tmp_path / "index.html")
    output = browser.one(f"{MAIN} .tools output")
    assert output.text == "10,000 rows; the first 200 are shown"
    browser.one(f"{MAIN} thead th:nth-child(2) button").click()
    shown = [int(text) for text in browser.texts(f"{MAIN} tbody td .value")]
    assert shown == sorted(row["x"].number for row in rows)[:200]
    browser.one(f"{MAIN} .tools button").click()
    assert output.text == "10,000 rows; the first 1,200 are shown"
    browser.one(f"{MAIN} thead th:nth-child(2) button").click()  # sorted anew: the first again
    shown = [int(text) for text in browser.texts(f"{MAIN} tbody td .value")]
    assert shown == sorted((row["x"].number for row in rows), reverse=True)[:200]
    browser.one(f"{MAIN} .tools input").send_keys("run-9999")
    assert output.text == "1 of 10,000 rows"
    browser.one(f"{MAIN} tbody th a").click()
    browser.runs()
    assert browser.texts("dialog .commands code") == ["bnas-bench run 9999"]
    browser.one("dialog .close").click()
    browser.one("#table-mean tbody a").click()
    browser.runs()
    assert browser.one("dialog h2").text == "10,000 runs"
    browser.js("document.querySelector('dialog .more').click()")
    assert len(browser.all("dialog .run")) == 100
