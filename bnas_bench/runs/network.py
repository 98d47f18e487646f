"""The network of a finished trial, with its trained weights, out of the files that the run left.

A folder that `runs.exported` wrote is read alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from safetensors import SafetensorError

from bnas_bench import __version__
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.core.files import canonical, sha256
from bnas_bench.cost.capacity import check_fits
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network
from bnas_bench.plugins import recorded
from bnas_bench.plugins.registry import Plugin
from bnas_bench.plugins.spec import label
from bnas_bench.runs.exported import Saved, is_exported, read_folder
from bnas_bench.runs.size import Shape, Size
from bnas_bench.runs.store import Record, read_record, read_whole
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import options_of

WEIGHTS = "weights.safetensors"


def rebuilt(
    folder: Path | str, plugin: Plugin | None = None
) -> tuple[Network, Shape, dict[str, str]]:
    """A trained network in evaluation mode, the shape (C, H, W) of its images, and what it is.

    Args:
        folder: a finished trial's, or one that was exported.
        plugin: its space, where that is a file of one's own, which no record gets to run.

    Raises:
        BadValue: if the folder is none of a trial that was finished, with weights.
        Damaged: if its files are truncated or altered, or do not fit the space as it is now.
    """
    folder = Path(folder)
    found = saved(folder)
    try:
        weights = safetensors.torch.load(found.data)
        space = recorded.space(found.space, found.space_options, plugin)
        built = found.built
        arch = Architecture.from_json(built["architecture"])
        spec = NetworkSpec(**built["spec"] | {"shape": tuple(built["spec"]["shape"])})
        space.check(arch)

        def make() -> Network:
            return space.network(arch, spec, np.random.default_rng(0))

        check_fits(f"the network in '{folder}'", make, spec.shape)
        network = make()
        network.load_state_dict(weights)
        network.precision = Precision(found.precision)
    except (
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
    ) as error:
        raise Damaged(
            f"the weights in '{folder}' do not fit the network that they are said to be of "
            f"({type(error).__name__}: {error}); was the space changed since? Run the trial again"
        ) from error
    facts = about(label(found.space, found.space_options), arch, spec) | dict(found.facts)
    return network.eval(), spec.shape, facts


def saved(folder: Path) -> Saved:
    """What is known of a trained network, out of a finished trial's folder, or an exported one.

    Raises:
        BadValue, Damaged: as `rebuilt`.
    """
    if is_exported(folder):
        return read_folder(folder)
    record = _finished(folder)
    built, data = _weights(folder, record)
    try:
        return Saved(
            space=record["space"],
            space_options=record["space_options"],
            built={name: built[name] for name in ("architecture", "spec")},
            data=data,
            precision=_precision(record),
            facts=of_trial(record),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _nameless(folder, error) from error


@dataclass(frozen=True)
class Described:
    """What is known of a trained network without its weights' file, but for the file's digest."""

    space: str
    space_options: Mapping[str, Any]
    arch: Architecture
    precision: str
    digest: str


def described(folder: Path) -> Described:
    """What a finished trial's record, or an exported folder, says of its network; no weights need be there.

    Raises:
        BadValue, Damaged: as `rebuilt`.
    """
    if is_exported(folder):
        found = read_folder(folder)
        arch = Architecture.from_json(found.built["architecture"])
        digest = sha256(found.data)
        return Described(found.space, found.space_options, arch, found.precision, digest)
    record = _finished(folder)
    try:
        return Described(
            record["space"],
            record["space_options"],
            Architecture.from_json(record["architecture"]),
            _precision(record),
            str(record["weights_sha256"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _nameless(folder, error) from error


def untrained(
    space: SearchSpace, arch: Architecture, size: Size
) -> tuple[Network, Shape, dict[str, str]]:
    """The same of an architecture whose weights are drawn, from the same seed each time.

    Raises:
        BadValue: if the space has no such network, or this machine no room for it.
    """
    spec = size.spec(space, arch)
    network = space.network(arch, spec, np.random.default_rng(0))
    network.precision = Precision.W1A1
    options = {name: getattr(space, name) for name in options_of(type(space))}
    facts = about(label(space.name, options), arch, spec)
    return network.eval(), size.shape, facts | {"weights": "untrained"}


def about(space: str, arch: Architecture, spec: NetworkSpec) -> dict[str, str]:
    """What a packed file says of its network."""
    return {
        "bnas_bench": __version__,
        "space": space,
        "architecture": canonical(arch.to_json()),
        "spec": canonical(asdict(spec)),
    }


def of_trial(record: Record) -> dict[str, str]:
    """What it says beside that of a network that a trial has trained and tested: of several, the first."""
    facts = {"weights": "trained", "trial": str(record.get("id"))}
    known = dict(record)
    if several := record.get("test_accuracies"):
        known["test_accuracy"] = several[0]
    return facts | {n: str(known[n]) for n in ("dataset", "test_accuracy") if n in known}


def float_bytes(network: Network) -> int:
    """Bytes of all weights and statistics as 32-bit floats, but for those of training alone."""
    return 4 * sum(
        tensor.numel()
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point() and not name.startswith("auxiliary.")
    )


def _precision(record: Record) -> str:
    """That it was trained at, which older records do not say."""
    return str(record.get("recipe", {}).get("precision", "W1A1"))


def _nameless(folder: Path, error: Exception) -> Damaged:
    return Damaged(
        f"'{folder}' has a record that names no network ({type(error).__name__}: {error}): "
        "run the trial again"
    )


def _finished(folder: Path) -> Record:
    """The record of a trial that ended well."""
    record = _record(folder)
    if record.get("status") != "ok":
        raise BadValue(
            f"the trial in '{folder}' has no trained network: it {record.get('status')}, "
            f"{record.get('reason')}; name one that ended well"
        )
    return record


def _record(folder: Path) -> Record:
    try:
        record = read_record(folder)
    except Damaged as error:
        raise Damaged(f"{error}; run the trial again") from error
    if record is None:
        what = "is no finished trial's: it has no record" if folder.is_dir() else "is not there"
        raise BadValue(f"the folder '{folder}' {what}; name one of results/NAME/trials/")
    return record


def _weights(folder: Path, record: Record) -> tuple[Mapping[str, Any], bytes]:
    """What the weights' file says of its network, and the file."""
    file = folder / WEIGHTS
    try:
        data = read_whole(folder, record, WEIGHTS)
    except Damaged as error:
        raise Damaged(f"{error}; run the trial again, with --rerun") from error
    if data is None:
        raise BadValue(
            f"there are no weights in '{folder}'; `bnas-bench run` with the trial's options and "
            "--rerun trains them again, and keeps this record aside"
        )
    try:
        size = int.from_bytes(data[:8], "little")
        built = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["bnas_bench"])
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"{file} is foreign: it holds no weights of ours; run the trial again"
        ) from error
    return built, data
