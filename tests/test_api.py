"""What a notebook does, without one: every verb of the face, on the committed results and on a toy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bnas_bench.methods.random
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bnas_bench as bb
from bnas_bench.cli import main
from bnas_bench.core.errors import BadValue, BenchError, Damaged, UnknownName
from bnas_bench.core.files import sha256
from bnas_bench.runs.store import Store
from tests.helpers.records import done, failed, put, trials
from tests.helpers.trials import TOY

RESULTS = Path(__file__).parents[1] / "results"
BUDGET = "smoke[passes=3000,search_fraction=0.5,valid_fraction=0.2,epochs=1]"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """`results/mine`: random with two seeds, and dcpnas of which one of two failed; one that is cut off."""
    monkeypatch.chdir(tmp_path)
    store = Store("results/mine")
    first, second, third = trials("random,dcpnas[lam=0.5]", seeds=2)[:3]
    log = [{"phase": "search", "passes": 10.0, "seconds": 1.0, "valid": 0.5}]
    for trial, accuracy in ((first, 90.0), (third, 94.0)):
        put(
            store, done(trial, accuracy, log_sha256=sha256(f"{json.dumps(log[0])}\n".encode())), log
        )
    put(store, failed(second, "Diverged: the loss is nan"))
    (store.folder("cut-off").mkdir(parents=True))
    (store.folder("cut-off") / "record.json").write_text("{")
    return store


def test_the_face_is_loaded_when_it_is_used() -> None:
    code = (
        "import sys, bnas_bench as bb; bb.run, bb.methods, bb.space, bb.report, bb.SearchStrategy;"
        "print([m for m in ('torch', 'pandas', 'scipy', 'seaborn') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_all_of_the_face_is_there() -> None:
    for name in bb.FACE:
        assert callable(getattr(bb, name)) or name in ("Mix", "Option"), name
        assert name in dir(bb)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(bb, "nothing")  # noqa: B009


def test_packages_that_are_verbs_stay_packages() -> None:
    assert bb.methods.random is bnas_bench.methods.random
    assert "random" in bb.methods().index


def test_what_there_is() -> None:
    assert "lam=0.0001" in bb.methods().loc["dcpnas", "options"]
    assert "zeroise=false" in bb.spaces().loc["darts-binary", "options"]
    assert {"digits", "cifar10"} <= {*bb.datasets().index}
    assert bb.budgets().loc["smoke", ["passes", "search.cells"]].tolist() == [3000, 2]


def test_methods_and_spaces_are_made_from_text() -> None:
    assert bb.method("dcpnas[lam=0]").lam == 0
    assert bb.space("darts-binary[zeroise=true]").zeroise is True
    with pytest.raises(UnknownName, match="did you mean dcpnas"):
        bb.method("dcpnass")


@pytest.mark.usefixtures("store")
def test_a_record_is_a_row_with_types_and_units() -> None:
    frame = bb.load_results("mine").set_index("id")
    assert frame.attrs["units"]["test_accuracy"] == "%"
    assert frame.attrs["results"] == "results/mine"
    kinds = frame.dtypes.astype(str)
    assert kinds["status"] == "category"
    assert kinds[["test_accuracy", "ops.nas-bnn"]].tolist() == ["Float64"] * 2
    assert kinds[["seed", "parameters", "budget.search.cells"]].tolist() == ["Int64"] * 3
    assert kinds["dirty"] == "boolean"
    assert frame["status"].value_counts()[["ok", "failed", "damaged"]].tolist() == [2, 1, 1]
    assert (
        "truncated" in frame.loc["cut-off", "reason"]
        or "cannot be read" in frame.loc["cut-off", "reason"]
    )
    (lam,) = frame["method_options.lam"].dropna().unique()
    assert lam == 0.5
    assert {*frame["method_label"].dropna()} == {"random", "dcpnas[lam=0.5]"}


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
@pytest.mark.parametrize("name", ["digits-quick", "cifar10-jpeg"])
def test_a_table_is_read_as_it_was_written(ending: str, name: str, tmp_path: Path) -> None:
    frame = bb.load_results(name, RESULTS)
    again = bb.load_results(bb.export(frame, tmp_path / f"runs.{ending}"))
    wanted = frame.replace("", pd.NA) if ending == "csv" else frame  # a CSV knows no empty text
    pd.testing.assert_frame_equal(again, wanted)
    assert again.attrs["units"] == frame.attrs["units"]


@pytest.mark.usefixtures("store")
def test_what_cannot_be_written_or_read(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"let it end in \.parquet, \.csv or \.json"):
        bb.export("mine", "runs.pkl")
    with pytest.raises(BadValue, match=r"no file 'gone\.csv'"):
        bb.load_results("gone.csv")
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    with pytest.raises(Damaged, match="holds no table"):
        bb.load_results("bad.parquet")
    with pytest.raises(UnknownName, match="did you mean mine"):
        bb.load_results("mime")
    with pytest.raises(BadValue, match="does not say where its trials lie"):
        bb.report(pd.DataFrame({"id": []}), "reports/x")


@pytest.mark.usefixtures("store")
def test_logs_are_long() -> None:
    with pytest.warns(UserWarning, match="cut-off is not in the table"):
        logs = bb.load_results("mine", logs=True)
    assert logs[["method_label", "seed", "phase", "passes", "valid"]].to_numpy().tolist() == [
        ["random", 0, "search", 10.0, 0.5],
        ["random", 1, "search", 10.0, 0.5],
    ]


def test_fronts_have_their_architectures() -> None:
    fronts = bb.load_results("digits-quick", RESULTS, fronts=True)
    assert fronts["ops"].min() > 0
    arch = fronts["architecture"].iloc[0]
    assert bb.measure(arch, channels=4, cells=2, input=(1, 8, 8), classes=10)["parameters"] > 0


@pytest.mark.usefixtures("store")
def test_a_summary_counts_what_failed() -> None:
    summary = bb.summarise(bb.load_results("mine"))
    rows = summary.droplevel(["space", "dataset", "budget"])
    assert rows["trials"].loc["random"].tolist() == [2, 2]
    assert rows["trials"].loc["dcpnas[lam=0.5]"].tolist() == [0, 1]
    assert rows["test_accuracy"].loc["random", "mean"] == 92.0


@pytest.mark.usefixtures("store")
def test_a_report_of_a_frame_is_of_its_trials() -> None:
    frame = bb.load_results("mine")
    page = bb.report(frame[frame["method"] == "random"], "reports/some") / "index.html"
    assert "dcpnas" not in page.read_text()


def test_run_gives_records_and_goes_on(tmp_path: Path) -> None:
    how = {"results": tmp_path, "name": "toy", "budget": BUDGET, "progress": False}
    frame = bb.run([f"{TOY}:ToyMethod"], f"{TOY}:ToySpace", seeds=1, **how)
    assert frame["status"].tolist() == ["ok"]
    again = bb.run([f"{TOY}:ToyMethod"], f"{TOY}:ToySpace", seeds=1, **how)
    pd.testing.assert_frame_equal(again, frame)
    network = bb.load_network(tmp_path / "toy" / "trials" / frame["id"].iloc[0])
    assert not network.training


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"methods": "dcpnass"}, "unknown method 'dcpnass'"),
        ({"seeds": 0}, "seeds is '0'; it takes"),
        ({"name": "../x"}, "names no results"),
        ({"dataset": "digit"}, "did you mean digits"),
    ],
)
def test_run_refuses_in_one_sentence(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(BenchError, match=sentence):
        bb.run(**{"methods": "random", **wrong})  # type: ignore[arg-type]


def test_an_architecture_is_measured_and_shown() -> None:
    space = bb.space("darts-binary")
    arch = space.sample(np.random.default_rng(0))
    found = bb.measure(arch, channels=4, cells=2, input=(1, 8, 8), classes=10)
    assert found["ops.nas-bnn"] > 0
    assert bb.show(arch)._repr_svg_().lstrip().startswith("<?xml")
    with pytest.raises(BenchError):
        bb.measure(arch, space="nas-bnn")


def test_the_papers() -> None:
    findings = bb.audit("cp-nas")
    assert {"id", "verdict", "rule"} <= {*findings}
    with pytest.raises(UnknownName):
        bb.reproduce("dcp-nas/table-99")


def test_a_table_that_trains_nothing_is_a_frame(tmp_path: Path) -> None:
    from bnas_bench.papers.artefact import ids, load

    name = next(name for name in ids() if load(name).state != "regenerated")
    frame = bb.reproduce(name, results=tmp_path, reports=tmp_path / "reports", progress=False)
    assert len(frame) > 0
    assert (Path(frame.attrs["folder"]) / "index.html").is_file()


@pytest.mark.usefixtures("store")
def test_the_command_exports_what_is_loaded() -> None:
    done = CliRunner().invoke(main, ["export", "mine", "-o", "runs.csv"], catch_exceptions=False)
    assert done.output == "wrote runs.csv\n"
    assert {*bb.load_results("runs.csv")["status"]} == {"ok", "failed", "damaged"}
