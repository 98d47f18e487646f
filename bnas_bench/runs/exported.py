"""A trained network to be taken elsewhere: as ONNX, or as a folder that the Hugging Face Hub takes.

The folder has `model.safetensors`, the weights as the trial left them; `config.json`, what builds the
network; and `README.md`, its card. `runs.network.rebuilt` reads it as it reads a trial's own folder.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.core.files import read_regular, sha256, write_atomically

if TYPE_CHECKING:
    from bnas_bench.nn.network import Network
    from bnas_bench.runs.size import Shape

CONFIG, MODEL, CARD = "config.json", "model.safetensors", "README.md"

KIND = "bnas-bench"
"""What `config.json` calls itself: `library_name`, as the Hub has it."""

LARGEST = 2**20
"""Bytes of a `config.json`; those that are written have a few thousand."""


@dataclass(frozen=True)
class Saved:
    """What a network is built from: all but its weights is in `config.json`.

    Attributes:
        space_options: as JSON gives them back.
        built: `architecture` and `spec`, as the weights' file has them.
        data: the weights' file.
        precision: that it was trained at.
        facts: texts on its training, as `runs.network.of_trial` gives them.
    """

    space: str
    space_options: Mapping[str, Any]
    built: Mapping[str, Any]
    data: bytes
    precision: str
    facts: Mapping[str, str]


def is_exported(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def write_folder(saved: Saved, out: Path) -> None:
    """Write a folder for the Hub, the configuration last.

    Raises:
        BadValue: if something else stands there, or `huggingface-hub` is not installed.
        Unwritable: if it cannot be written.
    """
    if (out.exists() or out.is_symlink()) and not _is_ours(out):
        raise BadValue(f"'{out}' is there and no exported network; choose another name with -o")
    card = _card(saved)
    config = {
        "library_name": KIND,
        "space": saved.space,
        "space_options": dict(saved.space_options),
        **saved.built,
        "precision": saved.precision,
        "facts": dict(saved.facts),
        "weights_sha256": sha256(saved.data),
    }
    write_atomically(out / MODEL, saved.data)
    write_atomically(out / CARD, card.encode())
    write_atomically(out / CONFIG, f"{json.dumps(config, indent=2)}\n".encode())


def read_folder(folder: Path) -> Saved:
    """What `write_folder` wrote, from a folder that may come from anybody.

    Raises:
        Damaged: if it is no such folder, or truncated or altered.
    """
    try:
        config = json.loads(read_regular(folder / CONFIG, LARGEST))
        data = read_regular(folder / MODEL)
        if config.pop("library_name") != KIND:
            raise ValueError(f"its {CONFIG} is of another library")
        if config.pop("weights_sha256") != sha256(data):
            raise ValueError(f"{MODEL} is not the file that {CONFIG} tells of")
        if not all(isinstance(text, str) for text in config["facts"].values()):
            raise ValueError("its facts are no texts")
        built = {name: config.pop(name) for name in ("architecture", "spec")}
        return Saved(**config, built=built, data=data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(
            f"'{folder}' is no network that `bnas-bench export-network` wrote "
            f"({type(error).__name__}: {error}): fetch it again"
        ) from error


def _is_ours(out: Path) -> bool:
    """Whether a folder is empty or holds a network that was exported before."""
    if out.is_symlink() or not out.is_dir():
        return False
    if not any(out.iterdir()):
        return True
    try:
        read_folder(out)
    except Damaged:
        return False
    return True


def _card(saved: Saved) -> str:
    """The model card: YAML that the Hub reads, then what a person reads."""
    hub = needed("huggingface_hub", "hub")
    facts = saved.facts
    data = hub.ModelCardData(
        library_name=KIND,
        pipeline_tag="image-classification",
        tags=["1-bit", "binary-neural-network", "neural-architecture-search", saved.space],
    )
    tested = (
        f"It classifies {float(facts['test_accuracy']):.2f} % of the test images of `{facts['dataset']}` "
        "rightly (measured by the trial, at one seed)."
        if {"test_accuracy", "dataset"} <= facts.keys()
        else "It was not tested."
    )
    shape = "x".join(map(str, saved.built["spec"]["shape"]))
    return f"""---
{data.to_yaml()}
---

# A 1-bit network of `{saved.space}`

Found, trained and tested by `bnas-bench`, trial `{facts.get("trial", "unknown")}`. {tested} It reads
images of {shape}, scaled to [-1, 1], and computes at {saved.precision}.

    pip install bnas-bench

    import bnas_bench as bb
    network = bb.load_network("FOLDER")

Nothing that is in this folder is executed: `config.json` names a space of the package, and the weights are
safetensors.
"""


def write_onnx(network: Network, shape: Shape, out: Path) -> None:
    """Write a network in evaluation mode as ONNX, for batches of any size: `images` in, `logits` out.

    ONNX has no 1-bit products: signs are float32 numbers there, and so are weights.

    Args:
        shape: (C, H, W) of the images.

    Raises:
        BadValue: if the exporter's packages are not installed.
        Unwritable: if it cannot be written.
    """
    import torch

    for package in ("onnx", "onnxscript"):
        needed(package, "onnx")
    images = torch.zeros(2, *shape)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            network,
            (images,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"args": ({0: torch.export.Dim("batch")},)},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    write_atomically(out, program.model_proto.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter's packages say of their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def needed(package: str, extra: str) -> ModuleType:
    """A package that an extra of ours brings.

    Raises:
        BadValue: if it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise BadValue(
            f"{package} is not installed ({error}): `pip install 'bnas-bench[{extra}]'` brings it"
        ) from error
