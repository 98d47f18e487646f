"""The figures of a page in a real browser: the mouse, the keyboard, and light and dark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.plugins.recorded import defaults
from bnas_bench.report import build as building
from bnas_bench.report.commands import Origin
from bnas_bench.runs.store import Store
from tests.helpers.browser import SIZES, Browser
from tests.helpers.records import done, put, trials
from tests.helpers.tables import DEFINITION, order, row, table_that_judges
from tests.report.test_report_figures import contrast_on

METHODS = {"random": 90.0, "bats": 94.0, "cpnas": 91.0, "dcpnas[lam=0.0]": 92.0}
SEEDS = 3
BUDGET = "smoke[passes=4000,batch_size=16,search_fraction=0.5,epochs=2,search.image=8]"
"""Whose name is too long for a phone."""
DARK_PAPER = "#15181c"


def blank(pictures: Any) -> None:
    """Instead of drawing: what these tests look at is not in files."""
    pictures.folder.mkdir(parents=True)
    for stem, _ in pictures.planned:
        stem.with_suffix(".svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")


def page_of(store: Store, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building.Pictures, "draw", blank)
        building.build(store, Origin("some", "results", defaults), folder)
    return folder / "index.html"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of four methods with three seeds each."""
    store = Store(tmp_path_factory.mktemp("results") / "some")
    for place, (method, level) in enumerate(METHODS.items()):
        for seed, trial in enumerate(trials(method, seeds=SEEDS, budget=BUDGET)):
            log = [
                {"phase": "search", "passes": 100.0 * k, "incumbent": "x", "valid": k / 20}
                for k in range(1, 15)
            ]
            ops = {"nas-bnn": 1e5 * (place + seed + 1), "honest": 6e4}
            put(store, done(trial, level + seed, ops=ops, latency_ms=None), log)
    return page_of(store, tmp_path_factory.mktemp("reports") / "some")


def drawn(browser: Browser, file: Path, size: str = "desktop") -> None:
    """Open the page and wait until its figures are there."""
    browser.open(file, size=size)
    browser.until("return document.querySelectorAll('.drawn > svg').length === 3")


@pytest.mark.parametrize("size", SIZES)
def test_the_answer_and_the_first_figure_stand_first_and_nothing_overflows(
    browser: Browser, built: Path, size: str
) -> None:
    drawn(browser, built, size)
    fits = "const e = document.documentElement; return e.scrollWidth <= e.clientWidth"
    assert browser.js(fits)
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    assert browser.js(top, ".answer h2") < SIZES[size][1] / 2
    assert (
        browser.js(top, "[data-plot=accuracy] svg")
        < (1.5 if size == "phone" else 1) * SIZES[size][1]
    )
    share = "const s = document.querySelector('[data-plot=anytime] svg').getBoundingClientRect();"
    assert browser.js(share + "return s.width / document.querySelector('main').clientWidth") > 0.97
    browser.js("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    assert browser.js(fits)


def test_a_run_far_below_all_others_stands_hollow_at_the_end_of_the_axis(
    browser: Browser, tmp_path: Path
) -> None:
    store = Store(tmp_path / "results" / "some")
    for method, last in (("random", 88.0), ("bats", 10.0), ("darts", 86.0)):
        for trial, accuracy in zip(
            trials(method, seeds=5), [86.0, 87.0, 88.0, 87.5, last], strict=True
        ):
            put(store, done(trial, accuracy))
    browser.open(page_of(store, tmp_path / "reports" / "some"))
    browser.until("return document.querySelectorAll('.drawn > svg').length === 2")
    for plot, axis in (("accuracy", "x"), ("cost", "y")):
        ticks = browser.texts(f"[data-plot={plot}] [aria-label='{axis}-axis tick label'] text")
        assert 70 <= min(map(float, ticks)) < 72
        hollow = browser.all(f"[data-plot={plot}] .drawn a [fill-opacity='0']")
        (far,) = hollow
        assert far.get_dom_attribute("aria-label").startswith("bats, seed 4: 10 %;")
        said = browser.one(f"[data-plot={plot}] .plotted").text
        assert said.endswith(
            "1 run of less than 71 % (from 10.0 %) stands at the axis' end, hollow."
        )


def test_every_run_has_a_mark_that_says_it_and_opens_it(browser: Browser, built: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    drawn(browser, built)
    for plot in ("accuracy", "cost"):
        assert len(browser.all(f"[data-plot={plot}] .drawn a")) == len(METHODS) * SEEDS
    mark = browser.one("[data-plot=cost] a[aria-label^='bats, seed 1:']")
    assert mark.get_dom_attribute("aria-label").startswith(
        "bats, seed 1: 95 %; OPs nas-bnn (M) 0.3, packed latency (ms) 0.25,"
    )
    browser.js("arguments[0].scrollIntoView({block: 'center'})", mark)
    ActionChains(browser.driver).move_to_element(mark).perform()
    browser.until("return document.querySelector('[data-plot=cost] [aria-label=tip] text')")
    tip = "".join(browser.texts("[data-plot=cost] [aria-label=tip] tspan"))
    assert "bats, seed 1" in tip
    assert "test accuracy (%): 95" in tip
    mark.click()
    browser.runs()
    assert browser.one("dialog h2").text == trials("bats", seeds=2, budget=BUDGET)[1].id


def test_the_keyboard_goes_from_mark_to_mark_and_opens_a_run(browser: Browser, built: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    drawn(browser, built)
    browser.js("document.querySelector('[data-plot=accuracy] .drawn a').focus()")
    labels = [
        mark.get_dom_attribute("aria-label")
        for mark in browser.all("[data-plot=accuracy] .drawn a")
    ]
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    focused = browser.driver.switch_to.active_element
    assert focused.get_dom_attribute("aria-label") == labels[1]
    assert browser.one("[data-plot=accuracy] .said").text == labels[1]
    stops = browser.js(
        "return document.querySelectorAll('[data-plot=accuracy] .drawn a[tabindex=\"0\"]').length"
    )
    assert stops == 1
    focused.send_keys(Keys.ENTER)
    browser.runs()


def test_methods_switch_off_in_all_figures(browser: Browser, built: Path) -> None:
    drawn(browser, built)
    button = browser.one(".legend-of-methods button:nth-child(2)")
    assert (button.text, button.get_dom_attribute("aria-pressed")) == ("bats", "true")
    button.click()
    assert button.get_dom_attribute("aria-pressed") == "false"
    for plot in ("accuracy", "cost"):
        assert len(browser.all(f"[data-plot={plot}] .drawn a")) == (len(METHODS) - 1) * SEEDS
    assert "bats" not in "".join(browser.texts("[data-plot=anytime] text"))
    button.click()
    assert len(browser.all("[data-plot=cost] .drawn a")) == len(METHODS) * SEEDS


def test_accuracy_stands_against_any_cost_that_is_there(browser: Browser, built: Path) -> None:
    drawn(browser, built)
    options = browser.texts("[data-plot=cost] option")
    assert options == [
        "OPs nas-bnn (M)", "packed latency (ms)", "memory (KiB)", "parameters", "search (s)",
    ]  # fmt: skip
    browser.one("[data-plot=cost] option:nth-child(3)").click()
    browser.until(
        "return [...document.querySelectorAll('[data-plot=cost] text')].some((t) => "
        "t.textContent.includes('memory (KiB)'))"
    )


def test_a_run_shows_its_seeds_its_search_what_it_found_and_in_what_it_differs(
    browser: Browser, built: Path
) -> None:
    own = [trial.id for trial in trials("dcpnas[lam=0.0]", seeds=SEEDS, budget=BUDGET)]
    browser.open(built, f"#run={own[1]}")
    browser.until("return document.querySelectorAll('dialog .drawn svg').length === 2")
    seeds = browser.all("dialog .strip a")
    links = [browser.js("return arguments[0].href.baseVal", seed) for seed in seeds]
    assert sorted(links) == [f"#run={run}" for run in own]
    label = "return document.querySelector(arguments[0]).getAttribute('aria-label')"
    assert browser.js(label, "dialog .strip svg") == (
        "Test accuracy of dcpnas[lam=0.0] in %: seed 0 92, seed 1 93, seed 2 94; 9 runs of other methods "
        "beside them"
    )
    assert browser.js(label, "dialog .drawn:not(.strip) svg") == (
        "The search's estimate goes from 5 to 70 %"
    )
    assert browser.js(label, "dialog .cell svg") == "normal: 0 to 2 max_pool_3x3"
    assert browser.texts("dialog .operations li") == ["max_pool_3x3"]
    stroke = "return getComputedStyle(document.querySelector('dialog .cell path')).stroke"
    assert browser.js(stroke) != browser.js("return getComputedStyle(document.body).color")
    names, texts = browser.texts("dialog .pairs th"), browser.texts("dialog .pairs th + td")
    costs = dict(zip(names[:4], texts[:4], strict=True))
    assert costs == {
        "test accuracy (%)": "93",
        "OPs nas-bnn (M)": "0.5",
        "packed latency (ms)": "0.25",
        "memory (KiB)": "10",
    }
    apart = browser.js(
        "const titles = [...document.querySelectorAll('dialog h3')];"
        "const h = titles.find((h) => h.textContent.startsWith('In what'));"
        "return [...h.nextElementSibling.rows].map((row) => row.textContent)"
    )
    assert "method.namedcpnas" in apart
    assert "repetition1" in apart
    assert not any(text.startswith(("dataset", "budget", "space")) for text in apart)


def test_a_gallery_has_what_each_method_found(browser: Browser, built: Path) -> None:
    drawn(browser, built)
    assert browser.texts(".found > li > a") == list(METHODS)
    assert len(browser.all(".found .cell svg")) == len(METHODS)
    assert browser.texts(".gallery > .operations li") == ["max_pool_3x3"]


def test_searches_that_a_table_judged_show_regret_ranks_and_both_precisions(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [row(arch, precision) for arch in order()[:30] for precision in ("W1A1", "W32A32")]
    table_that_judges(tmp_path, held, monkeypatch)
    store = Store(tmp_path / "results" / "some")
    for method, lag in (("random", 2.0), ("evolution", 1.0)):
        for seed, trial in enumerate(trials(method, space="bnas-201", seeds=5)):
            log = [
                {
                    "phase": "search",
                    "passes": 50.0 * k,
                    "incumbent": "x",
                    "valid": 0.5,
                    "regret": lag * 5 / k,
                }
                for k in range(1, 6)
            ]
            judged = {"regret": lag, "percentile": 75.0 + 5 * seed}
            judged["table"] = {"definition": DEFINITION.digest}
            found = order()[25 + seed + (seed == 4)].to_json()  # the last is not in the table
            put(store, done(trial, 85 - lag, architecture=found, **judged), log)
    browser.open(page_of(store, tmp_path / "reports" / "some"))
    browser.until("return document.querySelectorAll('.drawn > svg').length === 6")
    assert browser.one("[data-plot=regret] .drawn").get_dom_attribute("aria-label") == (
        "Mean regret in points at the end of the searches, the least first: evolution 1.00, random 2.00."
    )
    assert len(browser.all("[data-plot=regret] [aria-label=line] path")) == 2
    assert len(browser.all("[data-plot=regret] [aria-label=dot] path")) >= 2
    # 75 alone, 80 and 85, 90 and 95: three bars for each method.
    assert len(browser.all("[data-plot=ranks] [aria-label=rect] rect")) == 6
    both = browser.one("[data-plot=precisions] .drawn")
    assert both.get_dom_attribute("aria-label").startswith("30 architectures from ")
    cloud = browser.one("[data-plot=precisions] path.cloud").get_dom_attribute("d").split("M")[1:]
    said = browser.one("[data-plot=precisions] .plotted").text
    assert said.endswith("Of 2 of 10 runs the table has no real-valued accuracy.")
    left_out = int(re.search(r"(\d+) of less than", said)[1])
    assert len(cloud) == 30 - left_out
    marks = browser.all("[data-plot=precisions] .drawn a")
    assert len(marks) == 8
    assert re.match(
        r"random, seed 0: 83 %; real-valued \(%\) 8\d\.\d+, ",
        marks[0].get_dom_attribute("aria-label"),
    )
    browser.one(".legend-of-methods button:first-child").click()
    assert len(browser.all("[data-plot=precisions] .drawn a")) == 4
    assert len(browser.all("[data-plot=precisions] path.cloud")) == 1


def test_every_series_and_operation_is_seen_in_light_and_in_dark(
    browser: Browser, built: Path
) -> None:
    drawn(browser, built)
    pixels = """
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const style = getComputedStyle(document.documentElement);
    return arguments[0].map((name) => {
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = `var(${name})`;
        canvas.fillStyle = getComputedStyle(probe).color;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
        return "#" + (2 ** 24 + 65536 * red + 256 * green + blue).toString(16).slice(1);
    })
    """
    seen = {}
    for mode, paper in (("light", "#ffffff"), ("dark", DARK_PAPER)):
        browser.prefers(mode)
        names = [*(f"--series-{n}" for n in range(len(METHODS))), *(f"--op-{n}" for n in range(10))]
        colours = browser.js(pixels, names)
        for colour in colours:
            assert contrast_on(paper, colour) >= 3, (mode, colour)
        seen[mode] = colours
    browser.prefers("light")
    assert seen["light"] != seen["dark"]
