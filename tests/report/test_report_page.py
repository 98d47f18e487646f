"""The page of a report: its text against what it was made from."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.core.errors import BadValue
from bnas_bench.report.embed import BLOCK, beside, blocks, fields
from bnas_bench.report.model import Picture, Report, RunView
from bnas_bench.report.page import VENDOR, Links, interval, page, sortable
from tests.helpers.sample_report import sample_report

HOSTILE = "<script>alert(1)</script>\u2028<!--&\"'"
VOID = {"meta", "link", "input", "br", "img"}


class Reading(HTMLParser):
    """A page, element by element.

    Attributes:
        opened: all elements, as (name, attributes).
        texts: of each element, by the same number, without what its children say.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.stack: list[int] = []
        self.feed(text)
        self.close()
        assert not self.stack, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append((tag, dict(attrs)))
        self.texts.append("")
        if tag not in VOID:
            self.stack.append(len(self.opened) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened[self.stack.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if self.stack:
            self.texts[self.stack[-1]] += data

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        pairs = zip(self.opened, self.texts, strict=True)
        return [(attributes, text) for (name, attributes), text in pairs if name == tag]


def report_of(
    *rows: dict[str, Value], numeric: bool = True, runs: int = 4, **more: object
) -> Report:
    """A report of one table with the columns `name` and `x`, and of runs r0, r1, ..."""
    columns = [
        Column(key="name", title="name", numeric=False),
        Column(key="x", title="x", numeric=numeric),
    ]
    table = Table(name="t", title="T", caption="", columns=columns, rows=rows)
    views = [
        RunView(id=f"r{i}", status="ok", command=f"run {i}", config={"seed": str(i)})
        for i in range(runs)
    ]
    return replace(Report(name="r", title="R", facts=[], tables=[table], runs=views), **more)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, str]:
    folder = tmp_path_factory.mktemp("report")
    report = sample_report(folder)
    return report, page(report, folder)


def test_elements_nest_and_ids_are_unique(sample: tuple[Report, str]) -> None:
    found = Reading(sample[1])
    ids = [attributes["id"] for _, attributes in found.opened if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"] for a, _ in found.all("a") if a["href"].startswith(("#table", "#figure"))}
    assert {target[1:] for target in targets} < set(ids)


def test_it_needs_no_network(sample: tuple[Report, str]) -> None:
    found = Reading(sample[1])
    addresses = [a[key] for _, a in found.opened for key in ("src", "href") if a.get(key)]
    assert len(addresses) > 100
    assert not [x for x in addresses if not x.startswith(("#", "data:", "figures/", "trials/"))]
    policy = found.all("meta")[1][0]["content"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("d3.min.js", "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1"),
        ("plot.umd.min.js", "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb"),
    ],
)
def test_the_libraries_are_as_npm_has_them(name: str, digest: str) -> None:
    """d3 7.9.2 and Observable Plot 0.6.17; another version is another digest here and in LICENSE.txt."""
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_the_same_report_makes_the_same_page(sample: tuple[Report, str]) -> None:
    report, text = sample
    assert page(report, report.pictures[0].stem.parent.parent) == text


def test_figures_lie_in_the_page_with_links_to_their_files(tmp_path: Path) -> None:
    for ending in ("svg", "pdf"):
        (tmp_path / f"an öffnung.1.{ending}").write_text("<svg id='a'/>")
    picture = Picture(name="f", title="F", caption="", stem=tmp_path / "an öffnung.1", runs=["r1"])
    found = Reading(
        page(report_of(pictures=[picture, replace(picture, name="g")]), tmp_path / "deep")
    )
    for image, _ in found.all("img"):
        assert base64.b64decode(image["src"].partition("base64,")[2]) == b"<svg id='a'/>"
    links = [unquote(a["href"]) for a, _ in found.all("a")]
    assert links.count("../an öffnung.1.svg") == links.count("../an öffnung.1.pdf") == 2
    assert "../an öffnung.1.png" not in links
    with pytest.raises(BadValue, match=r"figure 'f' is not at .*none\.svg"):
        page(report_of(pictures=[replace(picture, stem=tmp_path / "none")]), tmp_path)


def test_every_text_is_escaped(tmp_path: Path) -> None:
    """A script in any text of a report is text in the page."""
    (tmp_path / "f.svg").write_text("<svg/>")
    value = Value(text=HOSTILE, note=HOSTILE, kind="measured", runs=[HOSTILE])
    columns = [Column(key="name", title=HOSTILE, numeric=False)]
    table = Table(
        name=HOSTILE, title=HOSTILE, caption=HOSTILE, columns=columns, rows=[{"name": value}],
        notes=[HOSTILE], commands=[HOSTILE],
    )  # fmt: skip
    values = fields({HOSTILE: {HOSTILE: HOSTILE}})
    run = RunView(
        id=HOSTILE, status=HOSTILE, command=HOSTILE, config=values, architecture={HOSTILE: HOSTILE},
        record={"reason": HOSTILE}, log=[{"phase": HOSTILE, HOSTILE: 1.0}], files={HOSTILE: HOSTILE},
    )  # fmt: skip
    picture = Picture(
        name=HOSTILE, title=HOSTILE, caption=HOSTILE, stem=tmp_path / "f", runs=[HOSTILE]
    )
    report = Report(
        name=HOSTILE, title=HOSTILE, facts=[HOSTILE], tables=[table], pictures=[picture], runs=[run]
    )
    for many in (1, 300):
        runs = [run, *(replace(run, id=f"{HOSTILE}{i}") for i in range(1, many))]
        text = page(replace(report, runs=runs), tmp_path)
        found = Reading(text)
        assert len(found.all("script")) == 1 + math.ceil(many / BLOCK)
        assert "<script>alert" not in text
        assert "<!--" not in text
        assert [t for _, t in found.all("h1")] == [HOSTILE]
        assert HOSTILE in [t for _, t in found.all("code")]
        assert "\u2028" not in "".join(t for _, t in found.all("script"))


def unpacked(text: str) -> dict[str, Any]:
    """A block of runs."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def test_blocks_hold_every_run(sample: tuple[Report, str]) -> None:
    runs = [*sample[0].runs] * 10
    read = []
    for text in blocks(runs):
        block = unpacked(text)
        for view in block["runs"]:
            found = view.get("architecture")
            shared = {} if found is None else {"architecture": block["parts"][found]}
            read.append(view | shared)
    assert len(read) == 550
    for view, run in zip(read, runs, strict=True):
        assert (view["status"], view["command"]) == (run.status, run.command)
        assert view["config"] == run.config
        assert run.config["budget.final.cells"] == "4"
        assert view.get("architecture", {}) == run.architecture
        assert view["log"][0]["series"]["passes"] == [
            entry["passes"] for entry in run.log if entry["phase"] == "search"
        ]


def test_a_log_is_its_numbers_by_phase() -> None:
    log = [
        {"phase": "search", "loss": 1 / 3, "incumbent": "abc", "ok": True, "choices": {"a": 1}},
        {"phase": "search", "loss": math.nan, "passes": 12345678},
        {"phase": "train", "loss": 2.0},
    ]
    [text] = blocks([RunView(id="r", status="ok", command="", log=log)])
    assert unpacked(text)["runs"][0]["log"] == [
        {
            "phase": "search",
            "entries": 2,
            "series": {"loss": [0.333333, None], "passes": [None, 12345678]},
        },
        {"phase": "train", "entries": 1, "series": {"loss": [2.0]}},
    ]


def test_fields_are_flat_texts() -> None:
    values = {
        "a": {"b": {"c": 1e-05}, "d": []},
        "e": None,
        "f": True,
        "g": "é",
        "h": 2**63 + 1,
        "i": {},
    }
    assert list(fields(values).items()) == [
        ("a.b.c", "1e-05"),
        ("a.d", "[]"),
        ("e", "null"),
        ("f", "true"),
        ("g", "é"),
        ("h", "9223372036854775809"),
        ("i", "{}"),
    ]


def test_links_to_a_runs_files_stay_beside_the_page() -> None:
    assert beside("../trials/a%20b/record.json") == "../trials/a%20b/record.json"
    assert beside("javascript:alert(1)") == "javascript%3Aalert%281%29"
    assert beside("//example.org/x") == "example.org/x"


def test_addresses_of_runs() -> None:
    links = Links({name: number for number, name in enumerate("abcdefg")})
    assert links.to([], "x") == ""
    assert links.to(["c"], "x") == "#run=c"
    assert links.to(["g", "b", "a", "c", "e", "c"], "x") == "#runs=0-2,4,6"
    assert Links({"a b/ü": 0}).to(["a b/ü"], "x") == "#run=a%20b/%C3%BC"
    with pytest.raises(BadValue, match=r"^'94' of table 't' comes from the run 'gone', which"):
        page(report_of({"x": Value(text="94", runs=["gone"])}), Path())


@pytest.mark.parametrize(
    ("text", "lower", "upper", "shown"),
    [
        ("94.63 ± 1.81", 93.0149, 96.245, "93.01 to 96.25"),
        ("19,693", 19000.4, 20000.6, "19,000 to 20,001"),
        ("-0.5", -1, 0.04, "-1.0 to 0.0"),
        ("n = 3e17", 2.5e17, 3.123456e17, "2.5e+17 to 3.123e+17"),
        ("best", 1 / 3, 2 / 3, "0.3333 to 0.6667"),
        ("1.5", None, 2, ""),
        ("1.5", None, None, ""),
    ],
)
def test_an_interval_has_the_decimals_of_its_value(
    text: str, lower: float | None, upper: float | None, shown: str
) -> None:
    assert interval(Value(text=text, lower=lower, upper=upper)) == shown


def test_numbers_to_sort_by() -> None:
    numbers = [0, -1.5, 1e-7, math.inf, -math.inf, math.nan, None]
    texts = [sortable(Value(text="", number=number)) for number in numbers]
    assert texts == ["0.0", "-1.5", "1e-07", "Infinity", "-Infinity", "", ""]


def test_every_value_says_what_it_is(tmp_path: Path) -> None:
    """The column says it for most, the others for themselves; the legend explains the words that occur."""
    rows = [
        {"name": Value(text="a"), "x": Value(text="1", kind="measured")},
        {"name": Value(text="b"), "x": Value(text="2", kind="measured")},
        {"name": Value(text="c"), "x": Value(text="3", kind="quoted")},
        {"name": Value(text="d"), "x": missing("It failed.")},
        {"name": Value(text="e"), "x": missing("It failed.")},
    ]
    found = Reading(page(report_of(*rows), tmp_path))
    words = [text for _, text in found.all("b")]
    assert words == ["measured", "quoted", "missing", "missing", *("measured", "quoted", "missing")]
    assert "It failed." in [text for _, text in found.all("li")]
    assert [a["href"] for a, _ in found.all("a") if "note" in a["href"]] == ["#table-t-note-1"] * 2


def test_a_small_report_spells_its_runs_out_without_javascript(tmp_path: Path) -> None:
    report = sample_report(tmp_path, seeds=4)
    found = Reading(page(report, tmp_path))
    articles = [attributes["id"] for attributes, _ in found.all("article")]
    assert articles == [f"run={run.id}" for run in report.runs]
    commands = [text for _, text in found.all("code")]
    assert set(commands) == {run.command for run in report.runs} | set(report.tables[0].commands)
    links = {a["href"] for a, _ in found.all("a")}
    assert {f"#run={run.id}" for run in report.runs} <= links


def test_a_report_of_nothing_is_a_page(tmp_path: Path) -> None:
    found = Reading(page(Report(name="r", title="Nothing yet", facts=[], tables=[]), tmp_path))
    assert [text for _, text in found.all("h1")] == ["Nothing yet"]
    assert found.all("h2") == []
