"""`bnas-bench export-network` writes the trained network, and a stranger's folder runs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bnas_bench as bb
from bnas_bench.core.errors import BenchError, Damaged
from bnas_bench.nn.binary import Precision
from bnas_bench.runs import exported
from bnas_bench.runs.network import rebuilt
from tests.helpers.cli import fail, succeed
from tests.helpers.trained import SHAPE, finished


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    return tmp_path / "results" / "trials" / "the-trial"


@pytest.fixture
def folder(trial: Path, tmp_path: Path) -> Path:
    finished(trial)
    out = tmp_path / "hub"
    succeed("export-network", str(trial), "-o", str(out))
    return out


def images(batch: int) -> torch.Tensor:
    return torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_the_folder_holds_the_trials_network(folder: Path, trial: Path) -> None:
    again, shape, about = rebuilt(folder)
    network, _, of_trial = rebuilt(trial)
    with torch.no_grad():
        assert torch.equal(again(images(3)), network(images(3)))
    assert (shape, about) == (SHAPE, of_trial)
    assert (folder / exported.MODEL).read_bytes() == (trial / "weights.safetensors").read_bytes()


def test_the_hub_can_read_the_card(folder: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(folder / exported.CARD)
    assert card.data.library_name == "bnas-bench"
    assert "darts-binary" in card.data.tags
    assert "91.50 % of the test images of `digits`" in card.text


def test_packing_and_timing_take_the_folder_as_they_take_a_trial(
    folder: Path, trial: Path, tmp_path: Path
) -> None:
    for source in (folder, trial):
        succeed("pack", str(source), "-o", str(tmp_path / f"{source.name}.bnn"))
    assert (tmp_path / "hub.bnn").read_bytes() == (tmp_path / "the-trial.bnn").read_bytes()


def test_a_folder_of_ours_is_replaced_and_no_other(folder: Path, trial: Path) -> None:
    succeed("export-network", str(trial), "-o", str(folder))
    (folder / exported.CONFIG).write_text("{}")
    assert "is there and no exported network" in fail(
        "export-network", str(trial), "-o", str(folder)
    )
    assert "is there and no exported network" in fail(
        "export-network", str(trial), "-o", str(trial.parent)
    )


def no_other_library(config: dict[str, Any]) -> None:
    config["library_name"] = "transformers"


def a_file_as_space(config: dict[str, Any]) -> None:
    config["space"] = "evil.py:Space"


def other_weights(config: dict[str, Any]) -> None:
    config["weights_sha256"] = "0" * 64


def more_fields(config: dict[str, Any]) -> None:
    config["auto_map"] = {"AutoModel": "evil.Model"}


def another_architecture(config: dict[str, Any]) -> None:
    config["spec"]["cells"] = 4


def a_precision_that_is_none(config: dict[str, Any]) -> None:
    config["precision"] = "W2A2"


def facts_that_are_no_texts(config: dict[str, Any]) -> None:
    config["facts"] = {"weights": 3}


@pytest.mark.parametrize(
    "alter",
    [
        *(no_other_library, a_file_as_space, other_weights, more_fields),
        *(another_architecture, a_precision_that_is_none, facts_that_are_no_texts),
    ],
)
def test_an_altered_folder_is_refused(
    folder: Path, alter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the code that one of them names lies
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    config = json.loads((folder / exported.CONFIG).read_text())
    alter(config)
    (folder / exported.CONFIG).write_text(json.dumps(config))
    with pytest.raises(BenchError):
        bb.load_network(folder)


def test_a_truncated_or_linked_file_is_refused(folder: Path) -> None:
    model = folder / exported.MODEL
    data = model.read_bytes()
    model.write_bytes(data[:-1])
    with pytest.raises(Damaged, match="fetch it again"):
        bb.load_network(folder)
    model.rename(elsewhere := folder / "elsewhere")
    elsewhere.write_bytes(data)
    model.symlink_to(elsewhere)
    with pytest.raises(Damaged, match="fetch it again"):
        bb.load_network(folder)


def test_a_missing_package_is_one_sentence(
    trial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(trial)

    def missing(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(exported, "import_module", missing)
    assert "pip install 'bnas-bench[onnx]'" in fail(
        "export-network", str(trial), "-o", str(tmp_path / "net.onnx")
    )
    assert "pip install 'bnas-bench[hub]'" in fail(
        "export-network", str(trial), "-o", str(tmp_path / "net")
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["W32A32", "W1A1"])
def test_onnx_computes_the_same_for_batches_of_any_size(
    precision: str, trial: Path, tmp_path: Path
) -> None:
    """Another order of sums may turn a sign of a value near zero, and so an image's logits."""
    onnxruntime = pytest.importorskip("onnxruntime")
    finished(trial)
    network = bb.load_network(trial)
    network.precision = Precision(precision)
    exported.write_onnx(network, SHAPE, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for batch in (1, 16):
        with torch.no_grad():
            expected = network(images(batch)).numpy()
        (found,) = session.run(None, {"images": images(batch).numpy()})
        same = np.abs(found - expected).max(1) < 1e-4
        assert same.mean() > (0.5 if precision == "W1A1" else 0.99)


@pytest.mark.slow
def test_the_command_writes_onnx_and_says_that_it_is_float(trial: Path, tmp_path: Path) -> None:
    finished(trial)
    out = tmp_path / "net.onnx"
    assert "all of it float32, as ONNX has no signs" in succeed(
        "export-network", str(trial), "-o", str(out)
    )
    assert out.stat().st_size > 10_000
