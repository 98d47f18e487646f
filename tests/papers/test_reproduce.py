"""A paper's table with our numbers beside it: which trials it takes, and what its values say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnas_bench.analysis.measures import field
from bnas_bench.core.budget import Budget
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.core.files import sha256
from bnas_bench.papers import artefact as schema
from bnas_bench.papers import listing
from bnas_bench.papers.artefact import (
    Artefact,
    Column,
    Count,
    FigureSpec,
    Row,
    Run,
    decimals,
    ids,
    load,
    number,
)
from bnas_bench.papers.counted import counted
from bnas_bench.papers.figures import _looks, _points, _series_name, means
from bnas_bench.papers.plan import Plan, plan
from bnas_bench.papers.tables import table
from bnas_bench.papers.values import Reader
from bnas_bench.report.style import LOOKS
from bnas_bench.runs.store import Record, Store
from tests.helpers.cli import invoke, succeed

ROOT = Path(__file__).parents[2]


def artefact(*rows: Row, columns: Sequence[Column] = ()) -> Artefact:
    accuracy = Column(key="top1", title="Top-1", unit="%", better="higher", record="test_accuracy")
    return Artefact(
        id="dcp-nas/table-4",
        title="a title",
        place="section 4, table 4",
        caption="as printed",
        dataset="ImageNet",
        state="regenerated",
        columns=(accuracy, *columns),
        rows=rows,
    )


def record(seed: int, **fields: Any) -> Record:
    known = {"id": f"trial-{seed}", "status": "ok", "seed": seed, "reason": None}
    return known | {"cpu": "a CPU", "threads": 1, "budget": "quick"} | fields


def planned(subject: Artefact, seeds: int = 3) -> Plan:
    return plan(subject, "quick", seeds=seeds)


# What is printed


@pytest.mark.parametrize(
    ("text", "value", "digits"),
    [
        ("72.4", 72.4, 1),
        ("≈5.12", 5.12, 2),
        ("~4000M", 4000.0, 0),
        ("24.19×", 24.19, 2),
        ("≤2.16×", 2.16, 2),
        ("+1.21", 1.21, 2),
        ("−3.7", -3.7, 1),
        ("91.70%", 91.7, 2),
        ("1,819", 1819.0, 0),
        ("-", None, 0),
        ("Failed", None, 0),
        ("32/32", None, 0),
        ("0.01/5.4", None, 2),
    ],
)
def test_numbers_of_printed_texts(text: str, value: float | None, digits: int) -> None:
    assert number(text) == value
    assert decimals(text) == digits


def test_an_unknown_artefact_lists_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown artefact 'dcp-nas/table-41'; did you mean"):
        load("dcp-nas/table-41")
    found = invoke("reproduce", "dcpnas/table-4")
    assert found.exit_code == 2
    assert "did you mean dcp-nas/table-4" in found.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("state = 'quoted'\nwhy = 'x'\n[[rows]]\nname = 'a'", "row 'a' has neither a run nor"),
        ("state = 'quoted'\nrows = []", "`why` stands exactly where"),
        ("state = 'half'\nwhy = 'x'\nrows = []", "state 'half' is none of"),
        ("state = 'regenerated'\nrows = []", "its rows say otherwise"),
        ("state = 'quoted'\nwhy = 'x'\nrow = []", "unknown key of cp-nas/bad 'row'"),
        (
            "state = 'quoted'\nwhy = 'x'\n[[rows]]\nname='a'\nquoted='q'\npaper={k='1'}",
            "column 'k'",
        ),
        ("state = ", "is no TOML"),
    ],
)
def test_a_file_that_does_not_fit_says_where(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cp-nas").mkdir()
    head = "title = 't'\nplace = 'p'\ncaption = 'c'\n"
    (tmp_path / "cp-nas" / "bad.toml").write_text(head + text)
    monkeypatch.setattr(schema, "FOLDER", tmp_path)
    load.cache_clear()
    with pytest.raises((BadValue, UnknownName)) as error:
        load("cp-nas/bad")
    assert message in str(error.value)
    load.cache_clear()


def test_the_list_of_artefacts_is_in_the_docs() -> None:
    written = (ROOT / "docs" / "papers.md").read_text("utf-8")
    assert written == listing.markdown(), "bnas-bench papers --markdown > docs/papers.md"


# The trials


def test_widths_precisions_and_recipes_become_budgets() -> None:
    rows = (
        Row(name="S", runs={"run": Run(method="dcpnas")}),
        Row(name="M", runs={"run": Run(method="dcpnas", width=4 / 3)}),
        Row(name="real", runs={"run": Run(method="darts[precision=W32A32]", precision="W32A32")}),
        Row(name="plain", runs={"run": Run(method="dcpnas", recipe={"cutout": 0.0})}),
        Row(name="wide search", runs={"run": Run(method="dcpnas", search_width=2)}),
        Row(name="small", runs={"run": Run(method="cpnas", width=9, small={"width": 2.0})}),
    )
    found = planned(artefact(*rows), seeds=2)
    budgets = [row["run"][0].budget.name for row in found.rows]
    assert budgets == [
        "quick",
        "quick[final.channels=16]",
        "quick[recipe.precision=W32A32]",
        "quick[recipe.cutout=0.0]",
        "quick[search.channels=8]",
        "quick[final.channels=24]",
    ]
    assert [trial.repetition for trial in found.trials] == [0] * 6 + [1] * 6
    assert found.datasets == "digits"

    # The paper's own scale has DCP-NAS' 54 channels, and 72 for M; `small` is not for it.
    paper = plan(artefact(*rows), "paper", seeds=1)
    assert (paper.dataset, paper.datasets) == ("", "imagenet")
    assert paper.rows[1]["run"][0].budget.final.channels == 72
    assert paper.rows[5]["run"][0].budget.final.channels == 9 * 54


def test_cp_nas_trains_as_it_says() -> None:
    """Section 3.1: SGD at 0.025 with a decay of 3e-4; on ImageNet 250 epochs of 256 images at 0.05."""

    def budgets(name: str, budget: str) -> list[Budget]:
        found = plan(load(name), budget, seeds=1)
        return [trial.budget for trial in found.trials]

    for budget in budgets("cp-nas/table-1", "paper"):
        training = {key: budget.recipe[key] for key in ("optimiser", "lr", "weight_decay")}
        assert training == {"optimiser": "sgd", "lr": 0.025, "weight_decay": 3e-4}
        assert (budget.epochs, budget.train_batch) == (None, None)  # 600 of 96, as in DCP-NAS
    for budget in budgets("cp-nas/table-2", "paper"):
        assert (budget.recipe["optimiser"], budget.recipe["lr"]) == ("sgd", 0.05)
        assert (budget.epochs, budget.train_batch) == (250, 256)
    short = budgets("cp-nas/table-1", "paper[recipe.lr=0.1]")
    assert {budget.recipe["lr"] for budget in short} == {0.1}
    for name, budget in (("cp-nas/table-1", "standard"), ("dcp-nas/table-10", "paper")):
        assert not any("optimiser" in found.recipe for found in budgets(name, budget))


def test_rows_that_are_one_run_share_its_trials() -> None:
    rows = [Row(name=name, runs={"run": Run(method="dcpnas")}) for name in ("one", "two")]
    found = planned(artefact(*rows))
    assert len(found.trials) == 3
    assert found.rows[0]["run"] == found.rows[1]["run"]


def test_widths_that_are_one_network_are_one_run_that_says_so() -> None:
    """Of 4 channels in steps of 4 both 1.5 and 2 times as many are 8; of 12 they are 20 and 24."""
    rows = [
        Row(name=f"x{width}", runs={"run": Run(method="bars", space="bars", width=width)})
        for width in (1.0, 1.5, 2.0)
    ]
    small = plan(artefact(*rows), "smoke", seeds=1)
    assert small.rows[1] == small.rows[2] != small.rows[0]
    assert small.twins == {2: "x1.5"}
    lines = table(small, [{"run": []}] * 3, []).rows
    notes = [line["row"].note for line in lines]
    assert notes == ["", "", "under this budget the same runs as x1.5"]
    quick = plan(artefact(*rows), "quick", seeds=1)
    assert [row["run"][0].budget.final.channels for row in quick.rows] == [12, 20, 24]
    assert not quick.twins


def test_a_dataset_without_a_name_here_must_be_given() -> None:
    with pytest.raises(BadValue, match="ImageNet-100, which has no name here; give --dataset"):
        plan(load("nas-bnn/table-4"), "paper")
    assert plan(load("nas-bnn/table-4"), "paper", "imagenet:/x").datasets == "imagenet:/x"


def test_each_row_runs_on_its_own_images_at_the_papers_budget() -> None:
    def datasets(budget: str, dataset: str | None = None) -> dict[str, set[str]]:
        found = plan(load("dcp-nas/table-9"), budget, dataset, seeds=1)
        halves: dict[str, set[str]] = {}
        for row, runs in zip(found.artefact.rows, found.rows, strict=True):
            halves.setdefault(row.dataset, set()).update(t.dataset for [t] in runs.values())
        return halves

    own = {"CIFAR-10": {"cifar10"}, "ImageNet": {"imagenet"}}
    assert datasets("paper") == own
    assert datasets("paper", "imagenet:/x") == own | {"ImageNet": {"imagenet:/x"}}
    assert datasets("paper", "cifar10") == own
    assert datasets("paper", "cifar100") == {key: {"cifar100"} for key in own}
    assert datasets("quick") == {key: {"digits"} for key in own}
    assert datasets("standard", "imagenet:/x") == {key: {"imagenet:/x"} for key in own}


@pytest.mark.parametrize(
    ("budget", "dataset", "departures"),
    [
        ("paper", None, ()),
        ("paper", "imagenet:/x", ()),
        ("paper", "cifar10", ("cifar10 for ImageNet",)),
        ("paper[passes=100]", "imagenet:/x", ("searches of another length, batch or split",)),
        ("paper[final.channels=54]", "imagenet:/x", ()),  # which DCP-NAS-S has
        ("paper[final.channels=60]", "imagenet:/x", ("networks of another size",)),
        ("paper[final.image=64]", "imagenet:/x", ("networks of another size",)),
        ("paper[recipe.cutout=0.5]", "imagenet:/x", ("another final training",)),
        ("common", "imagenet:/x", ()),  # whose batch and split are DCP-NAS'
        ("standard[passes=none,batch_size=512]", "imagenet:/x", ("another final training",)),
        (
            "quick",
            None,
            (
                "digits for ImageNet",
                "networks of another size",
                "searches of another length, batch or split",
                "another final training",
            ),
        ),
    ],
)
def test_what_a_reproduction_departs_from(
    budget: str, dataset: str | None, departures: tuple[str, ...]
) -> None:
    """By images, scale and length, whatever the budget is called."""
    row = Row(name="S", runs={"run": Run(method="dcpnas", width=4 / 3)})
    found = plan(artefact(row), budget, dataset, seeds=1)
    assert found.departures == departures
    runs = [{"run": []}]
    assert ("not a reproduction" in table(found, runs, []).caption) == bool(departures)


def test_a_number_of_other_images_says_so() -> None:
    rows = (
        Row(name="C", dataset="CIFAR-10", runs={"run": Run(method="dcpnas")}),
        Row(name="I", dataset="ImageNet", runs={"run": Run(method="dcpnas")}),
    )
    subject = replace(artefact(*rows), dataset="")
    runs = [{"run": [record(0, test_accuracy=50.0, dataset="cifar10")]} for _ in rows]
    own, other = (Reader(subject, runs).value(row, subject.columns[0]) for row in rows)
    assert (own.note, other.note) == ("", "on cifar10, not ImageNet")
    assert subject.datasets == "CIFAR-10 and ImageNet"


@pytest.mark.parametrize("name", [name for name in ids() if load(name).state == "regenerated"])
@pytest.mark.parametrize("budget", ["quick", "standard", "paper"])
def test_every_regenerable_artefact_has_a_plan(name: str, budget: str) -> None:
    found = plan(load(name), budget, "imagenet:/x" if budget == "paper" else None, seeds=1)
    assert found.trials
    assert len(found.rows) == len(found.artefact.rows)


# The values


def test_fields_of_a_record() -> None:
    found = {"ops": {"dcp-nas": 3e6}, "macs": {"W1A1": 7}, "finetuned": {"100": 4.0, "25": 3.0}}
    assert field(found, "ops.dcp-nas") == 3e6
    assert field(found, "finetuned.@1") == 3.0  # of 25 epochs: by number, not by text
    assert field(found, "finetuned.@2") == 4.0
    assert field(found, "finetuned.@3") is None
    assert field(found, "macs.W1A32") == 0.0
    assert field(found, "latency") is None
    assert field({}, "macs.W1A32") is None


def test_a_mean_has_students_interval() -> None:
    row = Row(name="a", runs={"run": Run(method="dcpnas")}, paper={"top1": "72.4"})
    subject = artefact(row)
    records = [record(seed, test_accuracy=value) for seed, value in enumerate((60.0, 63.0, 69.0))]
    value = Reader(subject, [{"run": records}]).value(row, subject.columns[0])
    # By hand: mean 64, sd sqrt(21), t(0.975, 2) = 4.30265.
    half = 4.30265 * np.sqrt(21) / np.sqrt(3)
    assert (value.text, value.n, value.kind) == ("64.00", 3, "measured")
    assert (value.lower, value.upper) == pytest.approx((64 - half, 64 + half), abs=1e-3)
    assert list(value.runs) == ["trial-0", "trial-1", "trial-2"]


def test_trials_that_lack_are_said_in_the_table() -> None:
    names = zip("abc", ("dcpnas", "cpnas", "bnas"), strict=True)
    rows = [Row(name=name, runs={"run": Run(method=method)}) for name, method in names]
    subject = artefact(*rows)
    good = [record(seed, test_accuracy=50.0 + seed) for seed in range(3)]
    bad = record(1, status="failed", reason="Diverged: the loss is nan")
    never = {"id": "trial-2", "seed": 2, "reason": None}
    made = table(
        planned(subject),
        [{"run": good}, {"run": [good[0], bad, never]}, {"run": [bad | {"seed": 0}]}],
        ["a command"],
    )
    first, second, third = made.rows
    assert first["n"].text == "3"
    assert second["n"].text == "1/3"
    assert (
        second["top1_here"].note == "seed 1 failed: Diverged: the loss is nan; seed 2 has not run"
    )
    assert (second["top1_here"].text, second["top1_here"].lower) == ("50.00", None)
    assert third["top1_here"].kind == "missing"
    assert third["top1_here"].note == "seed 0 failed: Diverged: the loss is nan"
    assert (
        "No row is named best in Top-1: that needs all trials, and b has 1 of 3, c has 0 of 3."
        in made.notes
    )
    for words in ("ImageNet", "digits", "budget quick", "3 seeds", "not a reproduction", "a CPU"):
        assert words in made.caption


def test_of_many_rows_that_lack_trials_some_are_named() -> None:
    methods = ("dcpnas", "cpnas", "bnas", "bats", "bars")
    rows = [Row(name=name, runs={"run": Run(method=name)}) for name in methods]
    notes = table(planned(artefact(*rows)), [{"run": []}] * 5, []).notes
    assert notes == [
        "No row is named best in Top-1: that needs all trials, and dcpnas has 0 of 3, cpnas has 0 of 3, "
        "bnas has 0 of 3, 2 more rows have not all."
    ]


def test_a_row_is_named_best_only_if_the_others_are_shown_worse() -> None:
    names = zip("ab", ("dcpnas", "cpnas"), strict=True)
    rows = [Row(name=name, runs={"run": Run(method=method)}) for name, method in names]
    subject = artefact(*rows)

    def notes(shift: float) -> Sequence[str]:
        runs = [
            [record(seed, test_accuracy=base + seed) for seed in range(3)]
            for base in (50.0, 50.0 + shift)
        ]
        return table(planned(subject), [{"run": each} for each in runs], []).notes

    assert notes(20.0) == [
        "Best in Top-1 here: b; shown worse, at a level of 5 % for all together: a (p = 0.001)."
    ]
    assert notes(1.0) == ["No row is shown to be best in Top-1. Not excluded as best: b, a."]


def test_rows_of_other_images_are_not_held_against_each_other() -> None:
    """Under `paper` those of the two halves of a table; and two names of one run are one contender."""
    halves = {"C": "CIFAR-10", "c": "CIFAR-10", "I": "ImageNet", "i": "ImageNet"}
    rows = [
        Row(name=name, dataset=dataset, runs={"run": Run(method=method)})
        for (name, dataset), method in zip(
            halves.items(), ("dcpnas", "dcpnas", "dcpnas", "cpnas"), strict=True
        )
    ]
    subject = replace(artefact(*rows), dataset="")
    found = plan(subject, "paper", seeds=3)
    runs = [
        {"run": [record(seed, test_accuracy=base + seed) for seed in range(3)]}
        for base in (90.0, 90.0, 50.0, 70.0)
    ]
    notes = table(found, runs, []).notes
    assert notes == [
        "No row is named best in Top-1 on cifar10: nothing to compare with.",
        "Best in Top-1 on imagenet here: i; shown worse, at a level of 5 % for all together: "
        "I (p = 0.001).",
    ]


def test_differences_are_taken_seed_by_seed() -> None:
    columns = (
        Column(key="real", title="32-bit", record="test_accuracy", run="real"),
        Column(key="one", title="1-bit", record="test_accuracy", run="one"),
        Column(key="gap", title="Gap", difference=("one", "real")),
    )
    runs = {"real": Run(method="dcpnas", precision="W32A32"), "one": Run(method="dcpnas")}
    row = Row(name="a", runs=runs, paper={"gap": "-3.7"})
    subject = artefact(row, columns=columns)
    found = {
        "real": [
            record(s, id=f"real-{s}", test_accuracy=v) for s, v in enumerate((90.0, 80.0, 70.0))
        ],
        "one": [record(s, id=f"one-{s}", test_accuracy=v) for s, v in enumerate((88.0, 79.0))],
    }
    value = Reader(subject, [found]).value(row, columns[2])
    assert (value.number, value.n) == (-1.5, 2)  # of -2 and -1; seed 2 has one side only
    assert {"real-0", "one-0"} <= set(value.runs)


def test_a_fall_is_from_the_row_that_is_named_seed_by_seed() -> None:
    columns = (
        Column(key="mean", title="Mean", unit="%", record="log_mean.subnet_valid", scale=0.01),
        Column(key="fall", title="Fall", unit="%", fall=("mean", "with")),
    )
    rows = [Row(name=name, runs={"run": Run(method="nasbnn")}) for name in ("with", "without")]
    rows[1] = replace(rows[1], paper={"fall": "~1.5%"})
    subject = artefact(*rows, columns=columns)
    runs = [
        {"run": [record(s, id=f"{name}-{s}", log_mean={"subnet_valid": v}) for s, v in seeds]}
        for name, seeds in (("with", [(0, 0.5), (1, 0.6)]), ("without", [(0, 0.45), (1, 0.52)]))
    ]
    reader = Reader(subject, runs)
    assert reader.value(rows[0], columns[0]).text == "55.00"
    fall = reader.value(rows[1], columns[1])
    assert fall.number == pytest.approx(6.5)  # of 5 and 8
    assert (fall.kind, fall.n) == ("measured", 2)
    assert {*fall.runs} == {"with-0", "with-1", "without-0", "without-1"}
    assert fall.note == ""
    lost = [runs[0], {"run": [runs[1]["run"][0], record(1, id="x", status="failed", reason="why")]}]
    fall = Reader(subject, lost).value(rows[1], columns[1])
    assert (fall.number, fall.n, fall.note) == (pytest.approx(5), 1, "seed 1 failed: why")
    assert reader.value(rows[0], columns[1]).text == ""


def test_the_means_of_a_log_are_of_its_search(tmp_path: Path) -> None:
    log = [
        {"phase": "search", "passes": 1, "subnet_valid": 0.25},
        {"phase": "search", "passes": 2, "subnet_valid": 0.75},
        {"phase": "train", "passes": 3, "subnet_valid": 9.0},
    ]
    store = Store(tmp_path)
    folder = store.folder("a-trial")
    folder.mkdir(parents=True)
    data = "".join(f"{json.dumps(entry)}\n" for entry in log).encode()
    (folder / "log.jsonl").write_bytes(data)
    found = record(0, id="a-trial", log_sha256=sha256(data))
    assert means(found, store)["subnet_valid"] == 0.5


def test_ratios_are_to_the_row_that_is_named() -> None:
    columns = (
        Column(key="ms", title="Latency", record="packed_latency_ms"),
        Column(key="speed", title="Acceleration", ratio=("ms", "real")),
    )
    rows = [Row(name=name, runs={"run": Run(method="dcpnas")}) for name in ("real", "one")]
    subject = artefact(*rows, columns=columns)
    runs = [{"run": [record(0, packed_latency_ms=ms)]} for ms in (6.0, 1.5)]
    value = Reader(subject, runs).value(rows[1], columns[1])
    assert (value.text, value.number, value.kind) == ("4.00×", 4.0, "measured")
    lost = [{"run": [record(0, packed_latency_ms=None, packed_reason="no popcount")]}, runs[1]]
    assert Reader(subject, lost).value(rows[1], columns[1]).kind == "missing"
    latency = Reader(subject, lost).value(rows[0], columns[0])
    assert latency.note == "seed 0 has no packed_latency_ms: no popcount"


def test_costs_are_counted_at_the_papers_size() -> None:
    """The published DCP-NAS-S: 4,190,185 parameters and 99.51 M OPs."""
    count = Count(space="darts-binary", arch="ddpnas-mcn-2", channels=54, cells=10)
    assert counted(count)["parameters"] == 4_190_185
    columns = (
        Column(key="ops", title="OPs", unit="M", record="ops.dcp-nas", scale=1e6),
        Column(key="accuracy", title="Top-1", record="test_accuracy"),
    )
    row = Row(name="S", count=count, paper={"ops": "100"})
    value = Reader(artefact(row, columns=columns), [{}]).value(row, columns[0])
    assert (value.text, value.kind) == ("99.51", "counted")
    assert "3x224x224" in value.note
    assert Reader(artefact(row, columns=columns), [{}]).value(row, columns[1]).text == ""


def test_a_published_network_has_a_line_of_its_own_beside_the_run() -> None:
    """What is counted at 224 never stands in one line, or one point, with what a run reached."""
    count = Count(space="darts-binary", arch="ddpnas-mcn-2", channels=54, cells=10)
    columns = (Column(key="ops", title="OPs", unit="M", record="ops.dcp-nas", scale=1e6),)
    row = Row(
        name="S",
        runs={"run": Run(method="dcpnas")},
        count=count,
        paper={"ops": "100", "top1": "63.0"},
    )
    subject = artefact(row, columns=columns)
    runs = [{"run": [record(0, test_accuracy=50.0, ops={"dcp-nas": 3e6}, dataset="digits")]}]
    ours, published = table(planned(subject), runs, []).rows
    assert (ours["row"].text, ours["ops_here"].text, ours["top1_here"].text) == (
        "S",
        "3.00",
        "50.00",
    )
    assert ours["ops_here"].note == "on digits, not ImageNet; at the budget's scale"
    assert published["row"].text == "S (published, counted)"
    assert (published["ops"].text, published["ops_here"].text) == ("100", "99.51")
    assert published["ops_here"].note == "ddpnas-mcn-2 at 3x224x224, 1000 classes"
    assert not {"top1", "top1_here", "n"} & {*published}
    spec = FigureSpec(form="scatter", x="ops", y=("top1",))
    here, paper = _points(subject, spec, Reader(subject, runs))
    assert [(p.x, p.y) for p in here["S"]] == [(3.0, 50.0)]
    assert [(p.x, p.y) for p in paper["S"]] == [(100.0, 63.0)]


# The figures


def test_a_series_of_a_figure_looks_like_its_method() -> None:
    rows = [
        Row(name="ours", runs={"run": Run(method="dcpnas")}),
        Row(name="a", series="swept", runs={"run": Run(method="cpnas[beta_p=0]")}),
        Row(name="b", series="swept", runs={"run": Run(method="cpnas")}),
        Row(name="S", runs={"run": Run(method="bars")}),
        Row(name="M", runs={"run": Run(method="bars", width=2)}),
        Row(name="theirs", quoted="it is not regenerated"),
    ]
    found = _looks(artefact(*rows), _series_name)
    assert (found["ours"], found["swept"]) == (LOOKS["dcpnas"], LOOKS["cpnas"])
    assert found["S"].colour == found["M"].colour == LOOKS["bars"].colour
    assert len({(look.marker, str(look.line)) for look in found.values()}) == len(found) == 5


# The commands


def test_papers_lists_and_prints() -> None:
    found = invoke("papers")
    assert found.exit_code == 0
    assert all(name in found.output for name in ids())
    printed = invoke("papers", "dcp-nas/table-4")
    assert printed.exit_code == 0
    assert "27.9" in printed.output
    assert "Quoted from" in printed.output
    of_one = invoke("papers", "dcp-nas")
    assert of_one.exit_code == 0
    listed = {line.split()[0] for line in of_one.output.splitlines()} & set(ids())
    assert listed == {name for name in ids() if name.startswith("dcp-nas/")}
    assert "DDPNAS_MCN_2" not in invoke("papers", "dcp-nas/table-11").output  # a row of ours
    assert "channels × 1.5" in invoke("papers", "bars/figure-3").output  # which prints no value


def test_a_dry_run_lists_every_trial_once(tmp_path: Path) -> None:
    args = ("--results", str(tmp_path), "--dry-run", "--seeds", "1")
    left, right = "cp-nas/figure-6-left", "cp-nas/figure-6-right"
    *both, _ = invoke("reproduce", left, right, *args).output.splitlines()
    *one, unknown = invoke("reproduce", left, *args).output.splitlines()
    assert unknown.startswith("how long is not known")
    assert len(one) == 5  # values of beta_P
    assert len(set(both)) == len(both)
    assert set(one) < set(both)


@pytest.mark.slow
def test_nothing_to_show_is_an_error_and_quotations_are_not(tmp_path: Path) -> None:
    places = ("--results", str(tmp_path / "results"), "--reports", str(tmp_path / "reports"))
    found = invoke("reproduce", "dcp-nas/table-5", "--no-run", "--budget", "smoke", *places)
    assert found.exit_code == 1
    assert "seeds 0, 1, 2 have not run" in found.output
    assert "nothing measured yet" in found.output
    found = invoke("reproduce", "nas-bnn/table-6", "--no-run", *places)
    assert found.exit_code == 0
    assert "86.97" in found.output
    assert (tmp_path / "reports" / "nas-bnn" / "table-6" / "quoted" / "index.html").exists()


@pytest.mark.slow
def test_an_artefact_is_run_and_written(tmp_path: Path) -> None:
    places = ("--results", tmp_path / "results", "--reports", tmp_path / "reports")
    succeed("reproduce", "cp-nas/figure-5", "--budget", "smoke", "--seeds", "1", *places)
    written = tmp_path / "reports" / "cp-nas" / "figure-5" / "smoke-digits"
    names = {file.relative_to(written).as_posix() for file in written.rglob("*") if file.is_file()}
    assert {"index.html", "report.md", "report.tex", "tables/cp-nas-figure-5.csv"} <= names
    assert {f"figures/cells-0.{ending}" for ending in ("svg", "pdf", "png")} <= names
    text = (written / "report.md").read_text("utf-8")
    assert "budget smoke" in text
    assert "not a reproduction" in text
    assert "bnas-bench reproduce cp-nas/figure-5 --budget smoke --dataset digits --seeds 1" in text
    trials = [
        json.loads(f.read_text()) for f in tmp_path.glob("results/papers/trials/*/record.json")
    ]
    assert {trial["status"] for trial in trials} == {"ok"}
    page = (written / "index.html").read_text("utf-8")
    assert all(trial["id"] in page for trial in trials)
