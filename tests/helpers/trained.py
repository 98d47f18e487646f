"""The folder of a trial that trained a network, made without training one."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from bnas_bench.core.budget import Scale
from bnas_bench.core.files import canonical, sha256
from bnas_bench.nn.network import Network
from bnas_bench.plugins.registry import find
from bnas_bench.runs.record import encode
from tests.helpers.records import done, trials

OPTIONS = {"without": ["sep_conv_5x5"], "binarise": ["depthwise"], "zeroise": False}
SHAPE = (3, 16, 16)


def finished(folder: Path, **fields: Any) -> Network:
    """Write the files of a finished trial as a run does; its network, with weights of its own."""
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in OPTIONS.items()}
    space = find("space", "darts-binary").make(options)
    arch = space.sample(np.random.default_rng(1))
    spec = replace(space.spec(Scale(3, 8), SHAPE, 10, final=True), auxiliary=True)
    network = space.network(arch, spec, np.random.default_rng(2))
    network(torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(3)))
    built = {"architecture": arch.to_json(), "spec": asdict(spec)}
    weights = safetensors.torch.save(network.state_dict(), {"bnas_bench": canonical(built)})
    record = done(trials("random")[0], 91.5) | {
        "id": folder.name,
        "space_options": OPTIONS,
        "weights_sha256": sha256(weights),
    }
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "arch.json").write_text(json.dumps(arch.to_json()))
    (folder / "record.json").write_bytes(encode(record | fields))
    return network.eval()
