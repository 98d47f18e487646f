"""What a notebook does: `import bnas_bench as bb`, and then `bb.run`, `bb.load_results`, `bb.summarise`, ...

Everything that compares is a pandas DataFrame, and every sentence of an error is a `BenchError`. What is
slow to import is imported where it is used; the command line calls the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue
from bnas_bench.data.names import DATASETS
from bnas_bench.plugins.registry import Kind, discover
from bnas_bench.plugins.spec import budget_fields, pairs
from bnas_bench.runs import folders
from bnas_bench.runs.grid import run_all
from bnas_bench.runs.how import How
from bnas_bench.runs.progress import Event
from bnas_bench.runs.request import Texts, requested
from bnas_bench.runs.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame, Series
    from torch import nn

    from bnas_bench.core.architecture import Architecture
    from bnas_bench.nn.network import Network
    from bnas_bench.search.space import SearchSpace
    from bnas_bench.tables.truth import GroundTruth

__all__ = [
    *("methods", "spaces", "datasets", "budgets"),
    *("run", "load_results", "export", "report", "reproduce", "audit"),
    *("measure", "load_network", "show", "table"),
]


def methods() -> DataFrame:
    """The methods by name: `what` each is, and its `options` at their defaults."""
    return _plugins("method")


def spaces() -> DataFrame:
    """The spaces by name: `what` each is, and its `options` at their defaults."""
    return _plugins("space")


def datasets() -> DataFrame:
    """The datasets by name, and `what` each is."""
    return _listing({name: {"what": what} for name, what in DATASETS.items()})


def budgets() -> DataFrame:
    """The budgets by name, and a column for each field, as `quick[passes=1000,final.cells=5]` names it."""
    return _listing({name: budget_fields(budget) for name, budget in BUDGETS.items()})


def run(
    methods: Texts,
    space: Texts = "darts-binary",
    *,
    dataset: Texts = "digits",
    budget: Texts = "quick",
    seeds: int = 3,
    seed: int = 0,
    train: bool = False,
    train_seeds: int = 1,
    name: str = "local",
    results: Path | str = "results",
    progress: bool = True,
    **how: Any,
) -> DataFrame:
    """Run every method on every space, dataset, budget and seed, and give the records.

    Trials that are over are not run again, and those that were interrupted go on: stopping the kernel
    loses nothing, and the same call goes on from there.

    Args:
        methods: as `["random", "dcpnas[lam=0]"]`; `all` is every one.
        budget: `smoke` (seconds), `quick` (minutes), `standard`, `paper`, each also with fields of its
            own, `quick[passes=1000]`.
        seeds: trials of each combination.
        seed: what all of them derive from.
        train: train what a search finds also on a space whose table, in `tables/`, knows what it reaches.
        train_seeds: trainings of what each search finds, each from a seed of its own; a trial's accuracy is
            their mean.
        name: the records are kept in `results/NAME/trials/ID`.
        progress: whether to say on stderr how far it is.
        how: where and how trials run, `jobs=2`, `threads=1`, `device="cuda"`, ...: the fields of
            `bnas_bench.runs.how.How`.

    Returns:
        as `load_results`; a trial that failed, was refused or has not run is a row that says why.

    Raises:
        BenchError: if a name or a value is wrong, or no trial of this size can run here.
    """
    from bnas_bench.analysis.records import to_frame

    grid = (methods, space, dataset, budget, seeds, seed)
    trials = requested(*grid, train=train, train_seeds=train_seeds)
    store = Store(Path(results) / folders.check_name(name))
    with _progress(len(trials), wanted=progress) as show:
        records = run_all(trials, store, How(**how), show)
    return _at(to_frame(records), store)


def load_results(
    name: str | Path = "local",
    results: Path | str = "results",
    *,
    logs: bool = False,
    fronts: bool = False,
    transfers: bool = False,
) -> DataFrame:
    """The records of results, a row per trial; `frame.attrs["units"]` has the columns' units.

    A trial without a record, or with a damaged one, is a row whose `status` and `reason` say so.

    Args:
        name: of the results, or their folder, `results/NAME`; or a file that `export` wrote.
        logs: give the anytime logs instead: a row per entry, with the passes (images, forward and
            backward) and seconds so far, and what the method reported.
        fronts: give the searches' fronts instead: a row per member, with its accuracy on the
            validation images (0 to 1, as the search estimates it) and its OPs at the search's scale.
        transfers: give what was carried to downstream tasks instead: a row per transfer, with the `trial`
            that it came from, and what its test found as `test.mean_ap` and the like.

    Raises:
        UnknownName, BadValue: if there are no such results.
        Damaged: if a file is no table of records.
    """
    from bnas_bench.analysis import records

    if logs + fronts + transfers > 1:
        raise BadValue(
            "logs=True, fronts=True and transfers=True are a table each: load one after the other"
        )
    if Path(name).suffix in records.ENDINGS:
        return records.read(name)
    store = folders.named(str(name), results)
    if logs or fronts:
        from bnas_bench.analysis import searches

        return _at(searches.logs(store) if logs else searches.fronts(store), store)
    if transfers:
        from bnas_bench.analysis.transfers import load

        return _at(load(store), store)
    return _at(records.load(store), store)


def export(what: DataFrame | str | Path, path: Path | str, results: Path | str = "results") -> Path:
    """Write records to a file that ends in `.parquet`, with types and units, in `.csv` or in `.json`.

    `load_results(path)` reads the first two again.

    Args:
        what: a frame, or the name of results.

    Raises:
        BadValue: if the file has another ending.
        Unwritable: if it cannot be written; then it is as it was before.
    """
    from bnas_bench.analysis import records

    return records.write(
        load_results(what, results) if isinstance(what, str | Path) else what, path
    )


def report(
    what: DataFrame | str | Path, folder: Path | str, results: Path | str = "results"
) -> Path:
    """Write tables, figures and `index.html` of results; gives the folder.

    Args:
        what: the name of results, or a frame of `run` or `load_results`: then of its trials alone.
        folder: the report's own; it is replaced.

    Raises:
        BadValue: if no run finished, or the folder holds what no report wrote.
    """
    from bnas_bench.plugins.recorded import defaults
    from bnas_bench.report.build import build
    from bnas_bench.report.commands import Origin

    if isinstance(what, str | Path):
        store = folders.named(str(what), results)
    else:
        store = Store(_root(what), only=what["id"])
    build(store, Origin(store.root.name, _shown(store.root.parent), defaults), folder)
    return Path(folder)


def reproduce(
    artefact: str,
    *,
    budget: str = "quick",
    dataset: str | None = None,
    seeds: int = 3,
    seed: int = 0,
    name: str = "papers",
    results: Path | str = "results",
    reports: Path | str = "reports",
    progress: bool = True,
    **how: Any,
) -> DataFrame:
    """Run a paper's table or figure, as `dcp-nas/table-4`, and set our numbers beside the paper's.

    The page is written to `reports/PAPER/NAME/`; where it is, `frame.attrs["folder"]` says. Under a
    budget other than `paper`, or on other images, no number of a paper is reproduced: rows compare with
    each other.

    Args:
        dataset: None is digits below the budget `standard`, then cifar10, then the paper's.
        how: see `run`.

    Returns:
        the table's texts, as it is printed; `frame.attrs` has its caption and notes.

    Raises:
        UnknownName: if no paper has such a table.
    """
    from pandas import DataFrame

    from bnas_bench.papers.artefact import load
    from bnas_bench.papers.plan import plans
    from bnas_bench.papers.reproduce import write
    from bnas_bench.report.write import shown

    planned, trials = plans([load(artefact)], budget, dataset, seeds, seed)
    store = Store(Path(results) / folders.check_name(name))
    with _progress(len(trials), wanted=progress) as show:
        records = run_all(trials, store, How(**how), show)
    (made,) = write(planned, records, store, results, reports)
    table = made.table
    frame = DataFrame(
        [
            {column.title: shown(row[column.key]) for column in table.columns if column.key in row}
            for row in table.rows
        ]
    )
    frame.attrs = {"title": table.title, "caption": table.caption, "notes": list(table.notes)}
    frame.attrs["folder"] = str(made.folder)
    return frame


def table(name: str | Path) -> GroundTruth:
    """Ground truth: a table of trained architectures, which `bnas-bench tabulate` fills, to be asked.

        table = bb.table("results/tables/bnas-201-digits")
        table.query("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|").mean

    Args:
        name: of a table in `tables/` of this checkout (a wheel has none); or the path of a Parquet file, or
            of the folder that `tabulate` fills, as far as it is.

    Raises:
        UnknownName, BadValue: if there is no such table.
        Damaged: if it is truncated or altered, or a file of something else.
    """
    from bnas_bench.tables.truth import load

    return load(name)


def audit(name: str = "") -> DataFrame:
    """The papers' own numbers, recomputed: a row per check, with its `verdict` and the `rule`.

    Args:
        name: a paper, `dcp-nas`, a table of it, `dcp-nas/table-3`, or a check's id; empty is all.

    Raises:
        UnknownName: if nothing has that name.
    """
    from bnas_bench.papers.audit import audit, frame

    return frame(audit(name))


def measure(
    network: nn.Module | Architecture | str | Path,
    *,
    space: SearchSpace | str | None = None,
    channels: int | None = None,
    cells: int | None = None,
    input: tuple[int, int, int] = (3, 224, 224),  # noqa: A002 - as the command line calls it
    classes: int = 1000,
) -> Series:
    """What a network costs for one image: `macs.W1A1`, `ops.nas-bnn` and the like (operations, as each
    paper counts them), `parameters`, `memory.*` (bits) and `packed_file_bytes`.

    Args:
        network: a network, which has its size; or an architecture, its text, a file of one, or the
            folder of a finished trial, which is built at the size that the other arguments give.
        space: of the architecture, if it does not say it, or with options.
        channels, cells: width of the first cell and depth; None is the paper's.
        input: (channels, height, width) of an image.

    Raises:
        InvalidArchitecture: if it does not fit the space.
        BadValue: if there is no such file, or the space has no such network.
    """
    from pandas import Series, json_normalize
    from torch import nn

    from bnas_bench.cost import costs, ledger
    from bnas_bench.packed.size import packed_bytes
    from bnas_bench.runs.reading import read_architecture
    from bnas_bench.runs.size import Size

    if not isinstance(network, nn.Module):
        size = Size(channels, cells, input, classes)
        network = size.network(*read_architecture(network, space))
    found = costs(ledger(network, input)) | {"packed_file_bytes": packed_bytes(network, input)}
    return Series(json_normalize(found).iloc[0], name="cost")


def load_network(trial: Path | str) -> Network:
    """The trained network of a finished trial's folder, `results/NAME/trials/ID`, in evaluation mode.

    Raises:
        BadValue: if it is no finished trial's, or its weights are not there.
        Damaged: if its files are truncated or altered, or do not fit the space as it is now.
    """
    from bnas_bench.runs.network import rebuilt

    return rebuilt(trial)[0]


def show(arch: Architecture | str | Path, space: SearchSpace | str | None = None) -> Drawing:
    """A drawing of an architecture, which a notebook shows.

    Args:
        arch: see `measure`.

    Raises:
        InvalidArchitecture: if it does not fit the space.
    """
    from tempfile import TemporaryDirectory

    from bnas_bench.runs.reading import read_architecture

    instance, found = read_architecture(arch, space)
    with TemporaryDirectory() as folder:
        instance.draw(found, file := Path(folder, f"{found.id}.svg"))
        return Drawing(file.read_text())


class Drawing(str):
    """An SVG, as text."""

    def _repr_svg_(self) -> str:
        return str(self)


def _listing(rows: Mapping[str, Mapping[str, Any]]) -> DataFrame:
    from pandas import DataFrame

    return DataFrame.from_dict(rows, orient="index").convert_dtypes().rename_axis("name")


def _plugins(kind: Kind) -> DataFrame:
    return _listing(
        {
            plugin.name: {"what": plugin.summary, "options": ", ".join(pairs(plugin.defaults))}
            for plugin in discover(kind).values()
        }
    )


def _at(frame: DataFrame, store: Store) -> DataFrame:
    """The frame, which knows where its trials lie."""
    frame.attrs["results"] = _shown(store.root)
    return frame


def _root(frame: DataFrame) -> str:
    if "results" not in frame.attrs:
        raise BadValue(
            "this table does not say where its trials lie: give one of run or load_results, or the "
            "name of the results"
        )
    return frame.attrs["results"]


def _shown(path: Path) -> str:
    """A path as one types it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@contextmanager
def _progress(trials: int, *, wanted: bool) -> Iterator[Callable[[Event], None]]:
    """A bar of the trials that are over, with what the last event was."""
    from tqdm import tqdm

    with tqdm(total=trials, unit="trial", disable=not wanted) as bar:

        def show(event: Event) -> None:
            line = f"{event.trial_id} {event.phase or event.kind}"
            bar.set_postfix_str(line, refresh=event.kind != "progress")
            if event.kind in ("finished", "failed", "skipped", "busy", "preempted"):
                bar.update()

        yield show
