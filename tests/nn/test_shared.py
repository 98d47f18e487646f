"""A network's batch over several ranks, against one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bnas_bench.plugins.registry import names
from tests.helpers import several
from tests.helpers.ranks import by_all


@pytest.mark.parametrize(("images", "size"), [(6, 2), (7, 2), (2, 3)])
def test_batch_norm_is_that_of_the_whole_batch(tmp_path: Path, images: int, size: int) -> None:
    """Its derivatives, its statistics; with shares of two sizes, and where each rank computes all."""
    for found in by_all(several.layers, tmp_path, torch.float64, images, size=size):
        assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-10)


def test_in_single_precision_it_agrees_to_rounding(tmp_path: Path) -> None:
    for found in by_all(several.layers, tmp_path, torch.float32, 6):
        assert found == pytest.approx(dict.fromkeys(found, 0), abs=3e-4)


def test_batch_norm_of_each_share_is_an_option(tmp_path: Path) -> None:
    for found in by_all(several.own_statistics, tmp_path, synchronised=False):
        assert found == pytest.approx([0, 0], abs=1e-12)


def test_a_weight_that_is_no_parameter_is_refused(tmp_path: Path) -> None:
    """Its gradient would be of a share's images alone."""
    for found in by_all(several.hidden_weight, tmp_path):
        (sentence,) = found
        assert sentence.startswith(
            "Hiding computes with a weight of shape (3, 2) that is none of its"
        )


@pytest.mark.slow
@pytest.mark.parametrize("space", names("space"))
def test_a_spaces_networks_are_those_of_one_process(tmp_path: Path, space: str) -> None:
    """Gradients of weights and of a mix, second and forward derivatives, maps, statistics."""
    for found in by_all(several.networks, tmp_path, space, 5):
        assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-9)
