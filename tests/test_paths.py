"""Whatever takes a path takes it as a text, too, and from where the process stands."""

from pathlib import Path

import numpy as np
import pytest

from bnas_bench.core.errors import BenchError
from bnas_bench.data.datasets import load
from bnas_bench.plugins.registry import find, names
from bnas_bench.plugins.scaffold import write_method
from bnas_bench.report.folder import replaced
from bnas_bench.runs.network import rebuilt
from bnas_bench.runs.store import Store

TRIAL = "dcpnas-darts-binary-digits-quick-s0-dd23a975"
RESULTS = Path(__file__).parents[1] / "results" / "digits-quick"


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", names("space"))
def test_a_drawing(name: str) -> None:
    space = find("space", name).make({})
    space.draw(space.sample(np.random.default_rng(0)), "drawn.svg")
    assert Path("drawn.svg").read_text().startswith("<?xml")


def test_a_store() -> None:
    assert Store("results").root == Path.cwd() / "results"
    assert Store(str(RESULTS)).read(TRIAL) == Store(RESULTS).read(TRIAL) is not None


def test_a_trial_whose_network_is_rebuilt() -> None:
    """Of a committed trial, which has no weights, the sentence is the same."""
    folder, said = RESULTS / "trials" / TRIAL, set()
    for text_or_path in (str(folder), folder):
        with pytest.raises(BenchError, match="weights") as error:
            rebuilt(text_or_path)
        said.add(str(error.value))
    assert len(said) == 1


def test_a_dataset() -> None:
    assert load("digits", image=None, device="cpu", folder="data").classes == 10


def test_a_report() -> None:
    with replaced("report") as new:
        (new / "report.md").write_text("here")
    assert Path("report/report.md").read_text() == "here"


def test_a_method_from_the_template() -> None:
    (file,), spec = write_method("mine", "folder")
    assert file.is_file()
    assert spec == "folder/mine.py"
