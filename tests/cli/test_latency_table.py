"""The latency table: what is timed and kept, what is predicted, and files that cannot be trusted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bnas_bench.core.budget import Scale
from bnas_bench.cost import kernel_times as module
from bnas_bench.cost import prediction
from bnas_bench.cost.kernel_times import LatencyTable, predicted_latency
from bnas_bench.packed.engine import engine as packed_engine
from bnas_bench.packed.lowering.lower import lower
from bnas_bench.plugins.registry import find
from tests.helpers.cli import fail, succeed

SHAPE = (1, 2, 2)


class Engine:
    """Its kernels take the times, in seconds, that they are given; one list per profile.

    Args:
        keys: of the kernels, in order.
    """

    def __init__(self, *keys: str, profiles: list[list[float]] | None = None) -> None:
        self.kernels = [SimpleNamespace(key=key) for key in keys]
        self.profiles = profiles or [[1.0] * len(keys)]
        self.runs: list[str] = []
        self.threads = 1

    def run(self, images: np.ndarray) -> None:
        assert images.shape == (1, *SHAPE)
        self.runs.append("run")

    def close(self) -> None:
        pass

    def profile(self, images: np.ndarray) -> list[Any]:
        assert images.shape == (1, *SHAPE)
        seconds = self.profiles[self.runs.count("profile") % len(self.profiles)]
        self.runs.append("profile")
        return [SimpleNamespace(seconds=s) for s in seconds]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    module._kept.cache_clear()


def filled(path: Path | None = None, **options: Any) -> LatencyTable:
    table = LatencyTable(1, path, **options)
    table.add(Engine("a", "b", profiles=[[0.5, 0.25]]), SHAPE)
    return table


def test_a_kernels_time_is_the_median_over_all_its_places_and_profiles() -> None:
    profiles = [[1.0, 5.0, 2.0], [3.0, 6.0, 4.0], [9.0, 5.0, 10.0]]
    engine, table = Engine("a", "b", "a", profiles=profiles), LatencyTable(1)
    table.add(engine, SHAPE, repeats=3)
    assert table.seconds == {"a": 3.5, "b": 5.0}  # of 1, 2, 3, 4, 9, 10 and of 5, 5, 6
    assert engine.runs == ["run"] * 3 + ["profile"] * 3  # the warm-up is not counted


def test_the_prediction_is_the_sum_in_milliseconds() -> None:
    table = filled()
    assert table.predict(Engine("a", "b", "b", "a", "b")) == 1000 * (2 * 0.5 + 3 * 0.25)
    with pytest.raises(KeyError, match="c"):
        table.predict(Engine("a", "c"))


def test_what_is_known_is_not_timed_again() -> None:
    table = filled()
    same = Engine("b", "a", profiles=[[7.0, 7.0]])
    table.add(same, SHAPE)
    assert same.runs == []
    more = Engine("a", "c", profiles=[[7.0, 0.125]])
    assert table.unknown(more) == {"c"}
    table.add(more, SHAPE)
    assert table.seconds == {"a": 0.5, "b": 0.25, "c": 0.125}
    assert table.unknown(more) == set()


def test_the_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.json"
    filled(path)
    assert LatencyTable(1, path).seconds == {"a": 0.5, "b": 0.25}
    assert [file.name for file in path.parent.iterdir()] == ["table.json"]


def test_two_processes_keep_each_others_kernels(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    one, two = LatencyTable(1, path), LatencyTable(1, path)
    one.add(Engine("a", profiles=[[0.5]]), SHAPE)
    two.add(Engine("b", profiles=[[0.25]]), SHAPE)
    assert LatencyTable(1, path).seconds == two.seconds == {"a": 0.5, "b": 0.25}


def test_every_machine_has_its_own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "bnas-bench" / "latency"
    paths = {LatencyTable.cached(threads).path for threads in (1, 2)}
    identity = module._identity(1)
    assert identity.keys() >= {"cpu", "isa", "threads", "governor", "torch", "numba", "engine"}
    for name in identity:
        changed = {**identity, name: "another"}
        monkeypatch.setattr(module, "_identity", lambda _, changed=changed: changed)
        paths.add(LatencyTable.cached(1).path)
    assert len(paths) == 2 + len(identity)
    assert {path.parent for path in paths if path} == {folder}


def contents() -> dict[str, bytes]:
    good = {
        "format": module.FORMAT,
        "machine": module._identity(1),
        "seconds": {"a": 0.5, "b": 0.25},
    }
    text = json.dumps(good)
    return {
        "empty": b"",
        "truncated": text[:-9].encode(),
        "bytes": b"\x89PNG\r\n\xff\x00",
        "nested": b"[" * 100_000,
        "a list": b"[]",
        "a number": b"3",
        "no machine": json.dumps({"format": module.FORMAT, "seconds": {}}).encode(),
        "newer": json.dumps({**good, "format": module.FORMAT + 1}).encode(),
        "foreign": json.dumps({**good, "machine": module._identity(2)}).encode(),
        "text": json.dumps({**good, "seconds": {"a": "0.5"}}).encode(),
        "negative": json.dumps({**good, "seconds": {"a": -0.5}}).encode(),
        "nan": json.dumps({**good, "seconds": {"a": float("nan")}}).encode(),
        "infinite": json.dumps({**good, "seconds": {"a": float("inf")}}).encode(),
        "true": json.dumps({**good, "seconds": {"a": True}}).encode(),
    }


@pytest.mark.parametrize("kind", list(contents()))
def test_a_file_that_cannot_be_used_is_told_of_and_made_anew(
    kind: str, tmp_path: Path, said: list[str]
) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(contents()[kind])
    table = LatencyTable(1, path, say=said.append)
    assert table.seconds == {}
    (line,) = said
    assert line.startswith(f"the latency table {path} cannot be used and is made anew: ")
    table.add(Engine("a", profiles=[[0.5]]), SHAPE)
    assert LatencyTable(1, path, say=said.append).seconds == {"a": 0.5}


def test_a_warning_where_nobody_listens(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("{")
    with pytest.warns(UserWarning, match="cannot be used and is made anew"):
        LatencyTable(1, path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a path that takes no files")
def test_a_folder_that_takes_no_files_costs_the_table_only(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("")
    table = filled(tmp_path / "file" / "table.json", say=said.append)
    assert table.seconds == {"a": 0.5, "b": 0.25}
    assert all("latency table" in line for line in said)
    assert "is not kept" in said[-1]


def test_a_search_predicts_with_the_table_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    space = find("space", "handcrafted").make({})
    spec = space.spec(Scale(channels=8), (3, 16, 16), 5, final=True)
    network = space.network(space.parse("birealnet18"), spec, np.random.default_rng(0))
    program = lower(network, spec.shape)
    first = predicted_latency(program)
    table = LatencyTable.cached(1)
    assert table.path is not None
    assert table.path.is_file()
    assert first == table.predict(packed_engine.Engine(program)) > 0

    def never(*_: object) -> None:
        raise AssertionError("every kernel is known")

    monkeypatch.setattr(packed_engine.Engine, "profile", never)
    assert predicted_latency(program) == predicted_latency(program, table=table) == first


def test_held_out_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks of known kernels: 2 of 3 s and 1 of 5 s were known from others before."""
    table = filled()
    engines = {
        "one": Engine("a", "a", "c", "b", "b", profiles=[[9.0, 9.0, 1.0, 9.0, 9.0]]),
        "two": Engine("c", "d", profiles=[[9.0, 4.0]]),
    }
    measured = {"one": 2000.0, "two": 4000.0}
    programs = [SimpleNamespace(shape=SHAPE, name=name) for name in engines]
    monkeypatch.setattr(prediction, "Engine", lambda program, **_: engines[program.name])
    monkeypatch.setattr(prediction, "packed", lambda engine, _: engine)
    times = {id(engine): measured[name] for name, engine in engines.items()}
    monkeypatch.setattr(
        prediction,
        "latency",
        lambda engine, threads: SimpleNamespace(median_ms=times[id(engine)], threads=threads),
    )
    one, two = prediction.predictions(table, programs)  # type: ignore[arg-type]
    assert (one.predicted_ms, one.measured_ms, one.known) == (2500, 2000, 1.5 / 2.5)
    assert (two.predicted_ms, two.measured_ms, two.known) == (5000, 4000, 1 / 5)
    assert (one.error, two.error) == (0.25, 0.25)


def test_the_summary_is_of_ranks_and_sizes() -> None:
    pairs = ((1.0, 2.0, 1.0), (3.0, 4.0, 0.5), (2.0, 1.0, 0.0), (8.0, 8.0, 1.0))
    found = prediction.summary([prediction.Prediction(*pair) for pair in pairs])
    # Ranks 1 3 2 4 and 2 3 1 4: 1 - 6 * 2 / (4 * 15); errors 1/2, 1/4, 1, 0.
    assert found == {
        "networks": 4,
        "rank_correlation": pytest.approx(0.8),
        "median_error": 0.375,
        "largest_error": 1.0,
        "median_known": 0.75,
        "latency_ms": [1.0, 8.0],
    }
    alone = prediction.summary([prediction.Prediction(1.0, 2.0, 1.0)])
    assert alone["rank_correlation"] is None


@pytest.mark.slow
def test_the_command_reports_held_out_predictions() -> None:
    options = ("--space", "bats", "--count", 3, "--channels", 12, "--cells", 3)
    options = (*options, "--input", "3x16x16", "--classes", 5)
    found = json.loads(succeed("latency-table", *options, "--json"))
    assert (found["networks"], found["filled_by"]) == (3, 3)
    assert len(found["predictions"]) == 3
    assert -1 <= found["rank_correlation"] <= 1
    kept = LatencyTable.cached(1)
    assert len(kept.seconds) == found["kernels"] > 0
    text = succeed("latency-table", *options).splitlines()
    assert len(text) == 2 + 3 + 2
    assert "table filled by 3 others: rank correlation" in text[-2]
    assert LatencyTable.cached(1).seconds.items() >= kept.seconds.items()


def test_a_space_that_has_too_few_takes_one_line() -> None:
    line = fail("latency-table", "--space", "handcrafted", "--count", 5)
    assert "handcrafted has not the 10 architectures that --count 5 takes" in line
