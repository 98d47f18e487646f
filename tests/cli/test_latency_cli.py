"""`bnas-bench latency` and what a run's record says of its packed network: what, not how fast."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bnas_bench.cli import main
from bnas_bench.core.budget import Scale
from bnas_bench.core.errors import BenchError
from bnas_bench.cost import prediction
from bnas_bench.cost.kernel_times import LatencyTable
from bnas_bench.cost.latency import machine
from bnas_bench.cost.prediction import Prediction
from bnas_bench.packed.format.file import save, write
from bnas_bench.packed.lowering.lower import lower
from bnas_bench.plugins.registry import find
from bnas_bench.runs.network import rebuilt
from bnas_bench.runs.packing import FIELDS
from bnas_bench.runs.run import TIMING_FIELDS, run_trial
from bnas_bench.runs.store import Store
from tests.cost.test_conventions import PUBLISHED
from tests.helpers.cli import fail, invoke, succeed
from tests.helpers.trials import toy_trial

SMALL = ("--space", "handcrafted", "--channels", 8, "--input", "3x32x32", "--classes", 5)


def test_the_command_times_all_three_kinds() -> None:
    found = json.loads(succeed("latency", "birealnet18", *SMALL, "--json", "--profile"))
    assert list(found["latency"]) == ["packed", "simulated", "real"]
    for kind, time_ in found["latency"].items():
        assert time_["kind"] == kind
        assert 0 < time_["lower_ms"] <= time_["median_ms"] <= time_["upper_ms"]
        assert 10 <= time_["repeats"] <= 50
        assert time_["threads"] == 1
    medians = {kind: time_["median_ms"] for kind, time_ in found["latency"].items()}
    assert found["ratios"] == {
        f"{kind}/packed": medians[kind] / medians["packed"] for kind in ("simulated", "real")
    }
    assert (found["input"], found["batch"], found["weights"]) == ([3, 32, 32], 1, "untrained")
    assert found["packed_reason"] is None
    assert found["machine"] == {**machine(1), "load": found["machine"]["load"]}
    assert found["machine"]["load"] >= 0
    assert {"conv", "conv_b", "linear"} <= {kernel["kind"] for kernel in found["profile"]}
    assert all(kernel["ms"] > 0 for kernel in found["profile"])


def test_the_command_prints_a_table_and_shares() -> None:
    lines = succeed("latency", "birealnet18", *SMALL, "--profile", "--threads", 2).splitlines()
    facts = machine(2)
    head, load, doubt, tail = re.split(r", load ([\d.]+)(, more than .* not reliable)?; ", lines[0])
    assert head == (
        f"{facts['cpu']}, governor {facts['governor'] or 'unknown'}, {facts['isa']}, "
        f"threads 2 of {facts['cores']}"
    )
    assert (float(load) > facts["cores"]) == (doubt is not None)
    assert tail == "input 3x32x32, batch 1; weights untrained"
    assert [line.split()[0] for line in lines[2:7]] == [
        *("packed", "simulated", "real", "simulated/packed", "real/packed")
    ]
    start = next(i for i, line in enumerate(lines) if line.startswith("kernel of layer"))
    shares = [line.split() for line in lines[start + 1 :]]
    parts = [float(words[-1].rstrip("%")) for words in shares if words[0] == "all"]
    assert sum(parts) == pytest.approx(100, abs=0.5)
    assert parts == sorted(parts, reverse=True)
    assert torch.get_num_threads() == 1


def test_a_packed_file_is_timed_as_it_is(tmp_path: Path) -> None:
    space = find("space", "handcrafted").make({})
    spec = space.spec(Scale(channels=8), (3, 32, 32), 5, final=True)
    network = space.network(space.parse("birealnet18"), spec, np.random.default_rng(0))
    for name in ("net.bnn", "net"):
        write(lower(network, spec.shape), tmp_path / name)
        found = json.loads(succeed("latency", tmp_path / name, "--json"))
        assert list(found["latency"]) == ["packed"]
        assert found["input"] == [3, 32, 32]
        assert found["weights"] == "as packed"
        assert found["ratios"] == {}
    assert "has its space and size" in fail("latency", tmp_path / "net.bnn", "--classes", 5)


def test_a_trials_folder_is_timed_as_it_was_trained(tmp_path: Path) -> None:
    trial, store = toy_trial(tries=1), Store(tmp_path)
    record = run_trial(trial, store)
    folder = store.folder(trial.id)
    found = json.loads(succeed("latency", folder, "--json"))
    assert (found["weights"], found["input"]) == ("trained", record["shape"])
    assert list(found["latency"]) == ["packed", "simulated", "real"]


def test_a_text_that_is_longer_than_a_name_may_be() -> None:
    arguments = ("--channels", 4, "--cells", 2, "--input", "1x16x16", "--classes", 3)
    out = succeed("latency", PUBLISHED, *arguments, "--json")
    assert json.loads(out)["input"] == [1, 16, 16]


def test_real_networks_are_not_simulated() -> None:
    arguments = ("latency", "torchvision:squeezenet1_1", "--input", "3x64x64", "--json")
    found = json.loads(succeed(*arguments))
    assert list(found["latency"]) == ["real"]
    assert found["packed_reason"] == "networks of torchvision are not packed"
    found = json.loads(succeed("latency", "resnet18", *SMALL, "--json"))
    assert list(found["latency"]) == ["packed", "real"]


def test_what_the_engine_cannot_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BenchError("layer 'stem' is odd;\n build another")

    monkeypatch.setattr("bnas_bench.packed.lowering.lower.lower", refuse)
    out = succeed("latency", "birealnet18", *SMALL)
    assert "not packed: layer 'stem' is odd; build another\n" in out
    found = json.loads(succeed("latency", "birealnet18", *SMALL, "--json"))
    assert list(found["latency"]) == ["simulated", "real"]
    line = fail("latency", "birealnet18", *SMALL, "--profile")
    assert "--profile is of the packed engine" in line
    assert line.endswith("layer 'stem' is odd; build another")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["gone.bnn"], "'gone.bnn' cannot be read: No such file or directory"),
        (["empty.bnn"], "'empty.bnn' is empty"),
        (["picture"], "picture: this is no text"),
        (["gone.json"], "cannot read an architecture from 'gone.json'"),
        (["folder"], "the folder 'folder' is no finished trial's: it has no record"),
        (["folder", "--channels", "8"], "the network in 'folder' has its size"),
        (["torchvision:resnt18"], "unknown file or torchvision network 'resnt18'"),
        (["birealnet18", "--space", "handcraft"], "unknown space 'handcraft'"),
        (["birealnet18", "--space", "handcrafted", "--input", "224"], "'224' is no shape"),
        (["a" * 300], "File name too long"),
        (["torchvision:alexnet", "--cells", "2"], "torchvision's 'alexnet' has no space, width"),
        (["torchvision:alexnet", "--channels", "2"], "leave out --space, --channels and --cells"),
        (["torchvision:alexnet", "--space", "bats"], "torchvision's 'alexnet' has no space"),
        (
            ["torchvision:squeezenet1_1", "--input", "3x64x64", "--profile"],
            "nothing to run here: networks of torchvision are not packed",
        ),
        (
            ["torchvision:squeezenet1_1", "--input", "3x8x8"],
            "'torchvision:squeezenet1_1' does not run on images of 3x8x8 (",
        ),
        (
            ["torchvision:vit_b_16", "--input", "3x64x64"],
            "does not run on images of 3x64x64 (Wrong image height! Expected 224 but got 64!)",
        ),
    ],
)
def test_what_cannot_be_timed_takes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.bnn").write_bytes(b"")
    Path("picture").write_bytes(b"\x89PNG\0\0\0\0" * 9)
    Path("folder").mkdir()
    assert line in fail("latency", *arguments)


@pytest.mark.parametrize("name", ["latency", "pack", "measure", "latency-table"])
def test_what_cannot_go_on_is_only_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.commands[name], "callback", interrupt)
    arguments = {"pack": ("{}", "-o", "net.bnn"), "latency-table": ()}.get(name, ("{}",))
    result = invoke(name, *arguments)
    assert (result.exit_code, result.stderr) == (130, "bnas-bench: stopped\n")


TABLE = ("latency-table", "--space", "bats", "--count", 2, "--channels", 12)
TABLE = (*TABLE, "--cells", 3, "--input", "3x16x16", "--classes", 5)


def test_a_stopped_table_shows_its_rows_and_keeps_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept: list[int] = []

    def once(table: LatencyTable, _: object) -> Iterator[Prediction]:
        kept.append(len(LatencyTable.cached(1).seconds))
        assert kept == [len(table.seconds)]
        yield Prediction(2.0, 1.0, 0.25)
        table.seconds["met since"] = 1.0
        raise KeyboardInterrupt

    monkeypatch.setattr(prediction, "predictions", once)
    result = invoke(*TABLE)
    assert (result.exit_code, result.stderr) == (130, "bnas-bench: stopped\n")
    assert result.stdout.splitlines()[2].split() == ["2.000", "1.000", "+100.0%", "25.0%"]
    assert len(result.stdout.splitlines()) == 3
    assert kept[0] > 0
    assert len(LatencyTable.cached(1).seconds) == kept[0] + 1


def test_the_last_lines_of_a_table_say_how_much_was_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = [Prediction(2.0, 1.0, 0.25), Prediction(3.0, 2.0, 0.75)]
    monkeypatch.setattr(prediction, "predictions", lambda *_: iter(found))
    lines = succeed(*TABLE).splitlines()
    assert len(lines) == 2 + 2 + 2
    assert lines[-2].endswith("median error 75.0 %, largest 100.0 %, median known 50.0 %")


def test_a_record_carries_both_latencies(tmp_path: Path) -> None:
    trial, store = toy_trial(tries=1), Store(tmp_path)
    record = run_trial(trial, store)
    assert record["status"] == "ok", record["reason"]
    assert record["latency_kind"] == "simulated"
    assert record["packed_reason"] is None
    lower_ms, median_ms, upper_ms = (
        record[f"packed_latency_{name}ms"] for name in ("lower_", "", "upper_")
    )
    assert 0 < lower_ms <= median_ms <= upper_ms
    assert 10 <= record["packed_latency_repeats"] <= 50
    assert (record["packed_threads"], record["packed_isa"]) == (1, machine(1)["isa"])
    network, shape, about = rebuilt(store.folder(trial.id))
    assert record["packed_bytes"] == len(save(lower(network, shape, about)))
    assert {
        f"packed_latency_{n}" for n in ("ms", "lower_ms", "upper_ms", "repeats")
    } < TIMING_FIELDS


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "error", [BenchError("no layer 'x';\n build y"), RuntimeError("LLVM\nfell")]
)
def test_a_network_that_the_engine_cannot_run_still_counts(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("bnas_bench.runs.packing.lower", refuse)
    record = run_trial(toy_trial(tries=1), Store(tmp_path))
    assert (record["status"], record["reason"]) == ("ok", None)
    assert record["latency_ms"] > 0
    assert {name: record[name] for name in FIELDS} == {
        **dict.fromkeys(FIELDS),
        "packed_reason": f"{type(error).__name__}: {' '.join(str(error).split())}",
    }
