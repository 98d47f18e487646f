"""What a GPU makes of bnas-bench, in ten minutes at most, as one file with the hardware's name.

    make gpu                                    # writes docs/gpu/NVIDIA-....json
    python scripts/gpu.py --device cpu --quick  # rehearses the script itself; tells nothing of a GPU

1. The contract: every method searches on darts-binary, then on the other spaces while there is time.
2. A weight step of the relaxed supernet at the papers' search scale, as Python asks for it and as a CUDA
   graph repeats it; whether both come to the same weights; and what the policy for numbers costs.
3. Bi-Real ResNet-18 and a network that DARTS found, trained for some epochs on images of CIFAR-10's size.
   The images are synthetic: a coloured pattern for each class, shifted, under noise.

A part that fails says why in the file, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from bnas_bench.core import numerics, provenance
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Budget, Recipe, Scale
from bnas_bench.core.errors import BadValue, one_line
from bnas_bench.core.files import write_atomically
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Dataset, TensorImages, task
from bnas_bench.nn.binary import Precision
from bnas_bench.plugins.checks import cases
from bnas_bench.plugins.checks.methods import METHOD_CHECKS
from bnas_bench.plugins.registry import discover, find
from bnas_bench.runs.run import find_device
from bnas_bench.runs.train import train
from bnas_bench.search.captured import Captured
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.learning import BySGD, top_accuracies
from bnas_bench.search.meter import Meter
from bnas_bench.search.relaxed import Relaxed, softmax_relaxation
from bnas_bench.search.space import SearchSpace

FOLDER = Path(__file__).parents[1] / "docs" / "gpu"
CLASSES = 10
TO_THE_BIT = ("check_resumes", "check_reproducible")
"""Checks of what is promised on a CPU alone."""


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        contract_seconds: after which no further pair is begun.
        pairs: of methods and spaces; none is all of them, those on darts-binary first.
        search: scale of the supernet whose steps are timed, `batch` images each, so many `steps`.
        images: to train on; a fifth as many to test on.
        passes: of the search.
        final: scale of what it finds; `channels` of Bi-Real ResNet-18.
        epochs: of each training.
    """

    contract_seconds: float
    pairs: tuple[tuple[str, str], ...]
    search: Scale
    batch: int
    steps: int
    side: int
    images: int
    passes: int
    final: Scale
    channels: int
    epochs: int


FULL = Size(
    contract_seconds=150.0,
    pairs=(),
    search=Scale(cells=6, channels=16),
    batch=64,
    steps=50,
    side=32,
    images=20_000,
    passes=20_000,
    final=Scale(cells=10, channels=36),
    channels=64,
    epochs=5,
)
QUICK = Size(
    contract_seconds=0.0,
    pairs=(("darts", "bnas-201"),),
    search=Scale(cells=2, channels=4),
    batch=16,
    steps=1,
    side=8,
    images=120,
    passes=90,
    final=Scale(cells=2, channels=4),
    channels=4,
    epochs=2,
)


def contract(device: torch.device, size: Size) -> dict[str, Any]:
    """Of each pair of a method and a space that there was time for: what is wrong, or nothing."""
    began = perf_counter()
    found: dict[str, list[str]] = {}
    spaces = sorted(discover("space"), key=lambda name: name != "darts-binary")
    every = tuple((method, space) for space, method in product(spaces, discover("method")))
    pairs = size.pairs or every
    for method, space in pairs:
        if found and perf_counter() - began > size.contract_seconds:
            break
        on = [find("space", space)]
        tried = [
            case.run()
            for case in cases(find("method", method), on, device=str(device))
            if case.check in METHOD_CHECKS and case.check.__name__ not in TO_THE_BIT
        ]
        found[f"{method} on {space}"] = [
            f"{result.name}: {result.reason}" for result in tried if not result.passed
        ]
    return {
        "pairs": found,
        "kept": sum(not wrong for wrong in found.values()),
        "left_out_for_time": len(pairs) - len(found),
    }


def supernet_step(device: torch.device, size: Size) -> dict[str, Any]:
    """Milliseconds of a weight step, asked for by Python and repeated by a graph (on a GPU alone)."""
    space = find("space", "darts-binary").make({})
    dataset = synthetic(device, size)
    spec = space.spec(space.fit(size.search), dataset.shape, CLASSES, final=False)
    budget = Budget("gpu", None, size.batch, valid_fraction=0.1, search=size.search)
    seen = task(dataset, spec, budget, generator(0, "gpu", "split"))
    x, y = next(seen.train.batches(size.batch, generator(0, "gpu", "images"), seen.augment))

    def model() -> Relaxed:
        how = BySGD()
        return Relaxed(
            space, seen, generator(0, "gpu", "model"), optimiser=how.optimiser, alpha_lr=1e-3
        )

    def step_of(relaxed: Relaxed) -> Callable[[], None]:
        mix = softmax_relaxation(relaxed.sizes)(relaxed.alpha.detach())
        return lambda: relaxed.step_w(cross_entropy(relaxed.supernet(x, mix), y))

    eager, repeated = model(), model()
    with Meter(None) as meter:
        found: dict[str, Any] = {
            "space": "darts-binary",
            "scale": f"{spec.cells} cells, C {spec.channels}, {size.side}x{size.side}",
            "batch": size.batch,
            "eager_ms": time_ms(step_of(eager), size.steps, device),
            "eager_passes": meter.spent,
        }
    if device.type != "cuda":
        return found | {"captured": "CUDA graphs are of GPUs"}
    with Meter(None) as meter:
        captured = Captured(step_of(repeated), meter)
        found["captured_ms"] = time_ms(captured, size.steps, device, warm_ups=0)
        found["captured_passes"] = meter.spent
    with policy_forgone(device), Meter(None) as meter:
        loose = Captured(step_of(model()), meter)
        found["captured_without_policy_ms"] = time_ms(loose, size.steps, device, warm_ups=0)
    pairs = zip(eager.supernet.parameters(), repeated.supernet.parameters(), strict=True)
    found["times_faster"] = round(found["eager_ms"] / found["captured_ms"], 2)
    found["weights_apart"] = max(float((a - b).detach().abs().max()) for a, b in pairs)
    return found


@contextmanager
def policy_forgone(device: torch.device) -> Iterator[None]:
    """TF32, and convolutions by the stopwatch: what the policy of `bnas_bench.core.numerics` forgoes."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    cuda.allow_tf32 = cudnn.allow_tf32 = cudnn.benchmark = True
    cudnn.deterministic = False
    try:
        yield
    finally:
        numerics.settle(device)


def time_ms(work: Callable[[], None], times: int, device: torch.device, warm_ups: int = 4) -> float:
    """Mean milliseconds of `times` runs, after some to warm up: as many as `Captured` makes."""
    for _ in range(warm_ups):
        work()
    wait(device)
    began = perf_counter()
    for _ in range(times):
        work()
    wait(device)
    return round(1e3 * (perf_counter() - began) / times, 3)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def synthetic(device: torch.device, size: Size) -> Dataset:
    """Images of ten classes that a small network can tell apart, and not at once."""
    rng, side = generator(0, "gpu", "synthetic"), size.side
    patterns = rng.integers(256, size=(CLASSES, 3, 4, 4)).repeat(side // 4, 2).repeat(side // 4, 3)

    def images(number: int) -> TensorImages:
        labels = np.arange(number) % CLASSES
        shifts = rng.integers(side, size=(number, 2))
        shifted = [np.roll(patterns[k], s, (1, 2)) for k, s in zip(labels, shifts, strict=True)]
        noisy = np.stack(shifted) + rng.normal(0, 64, (number, 3, side, side))
        pixels = torch.from_numpy(noisy.clip(0, 255).astype(np.uint8))
        return TensorImages(pixels, labels, device)

    names = tuple("0123456789")
    return Dataset("synthetic", images(size.images), images(size.images // 5), names, flips=True)


def searched(space: SearchSpace, dataset: Dataset, size: Size) -> tuple[Architecture, Any]:
    """What DARTS finds on the synthetic images, and how long it took."""
    spec = space.spec(space.fit(size.search), dataset.shape, CLASSES, final=False)
    budget = Budget("gpu", size.passes, size.batch, valid_fraction=0.1, search=size.search)
    seen = task(dataset, spec, budget, generator(0, "gpu", "split"))
    with Meter(size.passes) as meter:
        found = find("method", "darts").make({}).search(space, seen, meter, generator(0, "gpu"))
    spent = {"passes": round(meter.spent), "seconds": round(meter.seconds, 2)}
    return found.best, {**spent, "valid_accuracy": round(100 * float(found.valid), 2)}


def training(device: torch.device, size: Size) -> dict[str, Any]:
    """Seconds an epoch, loss and accuracy of both networks."""
    dataset = synthetic(device, size)
    cells = find("space", "darts-binary").make({})
    best, search = searched(cells, dataset, size)
    handmade = find("space", "handcrafted").make({"models": ("birealnet18",)})
    plain = Scale(channels=size.channels)
    return {
        "images": f"{size.images} synthetic ones of {size.side}x{size.side} in {CLASSES} classes",
        "search": {"method": "darts", "space": cells.name, "architecture": best.id, **search},
        "birealnet18": trained(handmade, handmade.largest(), plain, dataset, size),
        "searched": trained(cells, best, size.final, dataset, size),
    }


def trained(
    space: SearchSpace, arch: Architecture, scale: Scale, dataset: Dataset, size: Size
) -> dict[str, Any]:
    device = dataset.train.device
    spec = space.spec(space.fit(scale), dataset.shape, CLASSES, final=True)
    network = space.network(arch, spec, generator(0, "gpu", "weights")).to(device)
    network.precision = Precision.W1A1
    recipe = replace(Recipe(), epochs=size.epochs)
    with TemporaryDirectory() as folder:
        kept = Checkpoint(Path(folder) / "training", share=0.0)
        result = train(network, dataset, recipe, generator(0, "gpu", "order"), kept)
    (accuracy,) = top_accuracies(network, dataset.test, recipe.batch_size, (1,))
    return {
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "epochs": size.epochs,
        "batch": recipe.batch_size,
        "seconds_an_epoch": round(result.seconds / size.epochs, 3),
        "images_a_second": round(size.epochs * size.images / result.seconds),
        "losses": [round(entry["loss"], 4) for entry in result.log],
        "test_accuracy": round(100 * accuracy, 2),
    }


PARTS = {"contract": contract, "supernet_step": supernet_step, "training": training}


def seen(device: torch.device, size: Size) -> Iterator[dict[str, Any]]:
    """What is known after each part, the last of all."""
    began = perf_counter()
    found: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance.commit(),
        **provenance.versions(),
        "cuda_version": torch.version.cuda,
        **provenance.hardware(device),
        "rehearsal": size != FULL,
    }
    for name, part in PARTS.items():
        started = perf_counter()
        try:
            found[name] = part(device, size)
        except Exception as error:
            found[name] = {"failed": one_line(error)}
            traceback.print_exc()
        found[name]["part_seconds"] = round(perf_counter() - started, 1)
        found |= {**provenance.peaks(device), "seconds": round(perf_counter() - began, 1)}
        yield found


def hardware_name(device: torch.device) -> str:
    """As a file is called."""
    hardware = provenance.hardware(device)
    return re.sub(r"\W+", "-", hardware["device_name"] or hardware["cpu"]).strip("-")


def folder_of(device: torch.device) -> Path:
    """Where what is seen belongs; a rehearsal is for nobody to keep."""
    return FOLDER if device.type == "cuda" else Path(gettempdir())


def main(arguments: list[str] | None = None) -> int:
    """0 where every part ran and every contract was kept."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to rehearse")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: rehearses the script")
    parser.add_argument("--out", type=Path, help="the file; named after the hardware if not given")
    chosen = parser.parse_args(arguments)
    try:
        device = find_device(chosen.device)
    except BadValue:
        there_is_none = f"this measures a GPU, and there is no '{chosen.device}' here"
        print(f"{there_is_none}; --device cpu --quick rehearses it", file=sys.stderr)
        return 1
    numerics.settle(device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # in networks this small, more of them only wait for each other
    file = chosen.out or folder_of(device) / f"{hardware_name(device)}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    for found in seen(device, QUICK if chosen.quick else FULL):
        write_atomically(file, f"{json.dumps(found, indent=2)}\n".encode())
    print(json.dumps(found, indent=2), f"written to {file}", sep="\n")
    failed = [part for part in PARTS if "failed" in found[part]]
    broken = [] if "contract" in failed else [p for p, w in found["contract"]["pairs"].items() if w]
    return 1 if failed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
