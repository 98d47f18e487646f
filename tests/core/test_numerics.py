"""The policy of floating-point numbers: set on GPUs alone, and told as the switches are."""

from collections.abc import Iterator

import pytest
import torch

from bnas_bench.core import numerics, provenance

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
SWITCHES = (
    *((torch.backends.cudnn, name) for name in ("allow_tf32", "benchmark", "deterministic")),
    (torch.backends.cuda.matmul, "allow_tf32"),
)


def switches() -> list[bool]:
    return [getattr(owner, name) for owner, name in SWITCHES]


@pytest.fixture(autouse=True)
def _others_switches() -> Iterator[None]:
    """All the other way round, and put back."""
    before = switches()
    for (owner, name), value in zip(SWITCHES, (True, True, False, True), strict=True):
        setattr(owner, name, value)
    yield
    for (owner, name), value in zip(SWITCHES, before, strict=True):
        setattr(owner, name, value)


def test_the_policy_holds_on_a_gpu_and_a_cpu_is_left_alone() -> None:
    before = switches()
    numerics.settle(CPU)
    assert switches() == before
    numerics.settle(GPU)
    assert switches() == [False, False, True, False]


def test_what_is_told_is_what_the_switches_say() -> None:
    told = numerics.told(GPU)
    assert (told["tf32"], told["cudnn_benchmark"], told["cudnn_deterministic"]) == (
        *(True, True, False),
    )
    numerics.settle(GPU)
    told = numerics.told(GPU)
    assert (told["tf32"], told["cudnn_benchmark"], told["cudnn_deterministic"]) == (
        *(False, False, True),
    )


def test_a_cpu_has_no_tf32_and_its_record_says_how_it_multiplies() -> None:
    assert provenance.hardware(CPU)["numerics"] == {
        "float32_matmul": "high",  # as TF32 for products of matrices is on here
        "tf32": False,
        "cudnn_benchmark": False,
        "cudnn_deterministic": False,
        "deterministic_algorithms": False,
    }
