"""A report to look at: drawn numbers in the form of real ones, and all that a report can hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.report.embed import fields
from bnas_bench.report.model import Picture, Report, RunView

METHODS = {
    "random": 91.2,
    "cpnas": 93.4,
    "dcpnas": 94.6,
    "dcpnas[lam=0]": 93.9,
    "dcpnas[decoupled=false]": 94.1,
    "bats": 92.8,
    "bars": 90.4,
    "nasbnn": 86.2,
    "darts": 92.1,
    "pc-darts": 92.6,
    "evolution": 93.0,
}
FAILED = ("bars", 3)
OPERATIONS = (
    "none",
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "dil_conv_5x5",
)
EDGES = [
    f"{cell}.edge({i},{j})" for cell in ("normal", "reduce") for j in range(2, 6) for i in range(j)
]


def run_view(method: str, seed: int, rng: np.random.Generator, accuracy: float) -> RunView:
    """A run whose config, record and log have the fields of real ones."""
    name, _, options = method.partition("[")
    identity = f"{name}-darts-binary-digits-quick-s{seed}-{rng.integers(16**8):08x}"
    common: dict[str, Any] = {
        "command": f"bnas-bench run --method '{method}' --space darts-binary --dataset digits "
        f"--budget quick --only-seed {seed}",
        "config": fields(
            {
                "schema": 1,
                "method": {"name": name, "options": {"lr": 0.025, "epochs": 105, "set": options}},
                "space": {"name": "darts-binary", "options": {"without": [], "binarise": []}},
                "dataset": "digits",
                "budget": {"name": "quick", "passes": 20000, "final": {"cells": 4, "channels": 8}},
                "repetition": seed,
                "root_seed": 0,
            }
        ),
    }
    log = [
        {
            "phase": "search",
            "passes": 1000.0 * step,
            "valid": 1 - 0.9137**step,
            "loss": 2.3 * 0.9137**step,
        }
        for step in range(1, 21)
    ]
    if (method, seed) == FAILED:
        reason = "Diverged: the loss of epoch 3 is nan; lower the learning rate"
        record = {"reason": reason, "seconds": 41.2, "cpu": "AMD EPYC", "threads": 1}
        return RunView(id=identity, status="failed", record=fields(record), log=log[:7], **common)
    seconds = rng.normal(140, 6, 40).round(3).tolist()
    record = {
        "reason": None,
        "test_accuracy": round(accuracy, 6),
        "parameters": int(rng.integers(40_000, 80_000)),
        "macs": {"W32A32": 7232, "W1A32": int(rng.integers(40_000, 60_000)), "W1A1": 11264},
        "ops": {f"convention-{i}": float(rng.integers(40_000, 99_000)) for i in range(10)},
        "memory": {f"convention-{i}": int(rng.integers(5_000, 190_000)) for i in range(6)},
        "latency_kind": "simulated",
        **{f"seconds_{i}": value for i, value in enumerate(seconds)},
        **{f"{file}_sha256": rng.bytes(32).hex() for file in ("arch", "log", "weights")},
        "cpu": "AMD EPYC",
        "threads": 1,
        "commit": "d72a17eac5f6660719f786be8842a9e77d715a51",
    }
    log += [
        {"phase": "train", "epoch": epoch, "passes": 1408 * epoch, "loss": 2.3 / (epoch + 1)}
        for epoch in range(12)
    ]
    return RunView(
        id=identity,
        status="ok",
        record=fields(record),
        log=log,
        architecture=fields({edge: OPERATIONS[rng.integers(6)] for edge in EDGES}),
        files={
            name: f"trials/{identity}/{name}" for name in ("record.json", "log.jsonl", "arch.json")
        },
        **common,
    )


def mean(numbers: Sequence[float], runs: Sequence[str], form: str = ",.2f", **more: Any) -> Value:
    """Mean and standard deviation, with the interval of twice the standard error."""
    middle, spread = float(np.mean(numbers)), float(np.std(numbers, ddof=1))
    half = 2 * spread / len(numbers) ** 0.5
    return Value(
        text=f"{middle:{form}} ± {spread:{form}}",
        number=middle,
        lower=middle - half,
        upper=middle + half,
        n=len(runs),
        runs=runs,
        **({"kind": "measured"} | more),
    )


COLUMNS = [
    Column(key="method", title="method", numeric=False),
    Column(key="n", title="n"),
    Column(key="accuracy", title="test accuracy (%)", better="higher"),
    Column(key="parameters", title="parameters"),
    Column(key="ops", title="OPs, nas-bnn (M)", better="lower"),
    Column(key="latency", title="latency, packed, 1 thread (ms)", better="lower"),
    Column(key="simulated", title="latency, float simulation (ms)", better="lower"),
    Column(key="predicted", title="latency, predicted (ms)"),
    Column(key="passes", title="search passes"),
    Column(key="search", title="search (s)", better="lower"),
]


def sample_report(folder: Path, seeds: int = 5) -> Report:
    """All methods and as many seeds of each; a failed run, missing trials, a quoted row, two figures.

    Args:
        folder: where the figures are drawn to.
    """
    rng = np.random.default_rng(0)
    runs: list[RunView] = []
    rows: list[dict[str, Value]] = []
    for method, level in METHODS.items():
        accuracies = rng.normal(level, 1.2, seeds).round(6).tolist()
        views = [run_view(method, seed, rng, x) for seed, x in enumerate(accuracies)]
        runs += views
        done = [view.id for view in views if view.status == "ok"]
        accuracies = [x for x, view in zip(accuracies, views, strict=True) if view.status == "ok"]
        lost = "1 of 5 seeds failed: Diverged: the loss of epoch 3 is nan; lower the learning rate."
        parameters = int(rng.integers(40_000, 80_000))
        latency = rng.uniform(2, 5)
        row = {
            "method": Value(text=method),
            "n": Value(text=str(len(done)), number=len(done)),
            "accuracy": mean(accuracies, done, note="" if len(done) == seeds else lost),
            "parameters": Value(
                text=f"{parameters:,}", number=parameters, kind="counted", runs=done
            ),
            "ops": Value(text=f"{latency / 8:.3f}", number=latency / 8, kind="counted", runs=done),
            "latency": mean(rng.normal(latency, 0.1, seeds), done),
            "simulated": mean(rng.normal(2.2 * latency, 0.2, seeds), done, kind="simulated"),
            "predicted": Value(
                text=f"{latency * 1.07:.2f}", number=latency * 1.07, kind="predicted", runs=done
            ),
            "passes": Value(text="19,693", number=19_693, kind="counted", runs=done),
            "search": mean(rng.normal(140, 9, seeds), done, ",.1f"),
        }
        if method == "nasbnn":
            row["latency"] = missing("The packed engine refused the network: an even kernel, 4x4.")
            row["predicted"] = missing("No kernel of 4x4 is in the latency table.")
        rows.append(row)
    rows.append(
        {
            "method": Value(text="DCP-NAS, in its paper (table 4)"),
            "accuracy": Value(text="97.21", number=97.21, kind="quoted", note="On CIFAR-10."),
            "parameters": Value(text="4.2", number=4_200_000, kind="quoted", note="In MBits."),
            "search": Value(text="250,560", number=250_560, kind="quoted", note="2.9 GPU-days."),
        }
    )
    main = Table(
        name="main",
        title="All methods on darts-binary",
        caption="digits (1,797 images of 8x8), budget quick (20,000 passes), n = 5 seeds; mean ± sample "
        "standard deviation, below it the 95 % interval of the mean; AMD EPYC, 1 thread.",
        columns=COLUMNS,
        rows=rows,
        notes=[
            "No winner is named: the intervals of dcpnas, dcpnas[decoupled=false] and dcpnas[lam=0] overlap.",
            "A budget other than paper reproduces no paper's numbers.",
        ],
        commands=[
            "bnas-bench run --method all --space darts-binary --dataset digits --budget quick --seeds 5",
            "bnas-bench report results/digits-quick",
        ],
    )
    budgets = Table(
        name="budgets",
        title="Budgets",
        caption="What the runs were allowed.",
        columns=[
            Column(key="budget", title="budget", numeric=False),
            Column(key="n", title="passes"),
        ],
        rows=[{"budget": Value(text="quick"), "n": Value(text="20,000", number=20_000)}],
    )
    done = [run.id for run in runs if run.status == "ok"]
    return Report(
        name="digits-quick",
        title="Eleven searches for a 1-bit network, at a small budget",
        facts=[
            "11 methods, 5 seeds each, on darts-binary, dataset digits, budget quick.",
            "54 of 55 runs finished; 1 failed and is shown as such.",
            "It shows how the methods compare at this budget; it reproduces no paper's table.",
        ],
        tables=[main, budgets],
        pictures=_pictures(folder, rows, done),
        runs=runs,
    )


def _pictures(folder: Path, rows: Sequence[dict[str, Value]], runs: Sequence[str]) -> list[Picture]:
    from matplotlib.figure import Figure

    found = []
    for name, title, key in (
        ("accuracy", "Accuracy and its intervals", "accuracy"),
        ("front", "Accuracy against OPs", "ops"),
    ):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows[: len(METHODS)]):
            x, y = row[key].number, row["accuracy"].number
            axes.plot([x], [place if name == "accuracy" else y], "o", label=row["method"].text)
        axes.set_xlabel(title)
        axes.legend(fontsize=7, ncols=2)
        for ending in ("svg", "pdf", "png"):
            (folder / "figures").mkdir(parents=True, exist_ok=True)
            figure.savefig(folder / "figures" / f"{name}.{ending}")
        found.append(
            Picture(
                name=name,
                title=title,
                caption=f"{title}: each mark is the mean of 5 seeds. digits, budget quick, n = 5.",
                stem=folder / "figures" / name,
                runs=runs,
            )
        )
    return found
