"""What options mean, read from docstrings: of all bundled plug-ins, and of a file by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnas_bench.plugins.meanings import meanings
from bnas_bench.plugins.registry import Kind, discover, find

FILE = '''"""Mine."""

from dataclasses import dataclass

from bnas_bench.search.learning import BySGD
from bnas_bench.search.strategy import SearchStrategy


@dataclass(kw_only=True)
class Mine(BySGD, SearchStrategy):
    """A method.

    Args:
        first, second: two at
            once: said on two lines.
        clip: its own.

    Raises:
        lr: is no argument here.
    """

    first: int = 1
    second: int = 2
    third: int = 3
    clip: float = 1.0

    def search(self, space, task, meter, rng): ...
'''


@pytest.mark.parametrize("kind", ["method", "space"])
def test_every_option_of_every_plugin_is_explained(kind: Kind) -> None:
    for plugin in discover(kind).values():
        assert [*meanings(plugin)] == [*plugin.defaults], plugin.name


def test_arguments_are_read_as_they_stand_and_inherited(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    assert meanings(find("method", f"{file}:Mine")) == {
        "first": "two at once: said on two lines.",
        "second": "two at once: said on two lines.",
        "clip": "its own.",
        "lr": "at the start; a cosine anneals it to zero.",
        "momentum": "of SGD.",
        "weight_decay": "of SGD.",
    }
