"""A table or figure of a paper: what it prints, where, and the runs that regenerate it.

The TOML files beside this one hold them, `PAPER/NAME.toml`. Printed values are texts, exactly as
printed, so that "≈5.12" and "69.0" keep what they say of their precision.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from bnas_bench.core.errors import BadValue, UnknownName

FOLDER = Path(__file__).parent
PAPERS: Mapping[str, str] = {
    "cp-nas": "CP-NAS (Zhuo et al., IJCAI 2020), https://arxiv.org/abs/2005.00057",
    "dcp-nas": "DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390",
    "bars": "BARS (Zhao et al., 2020), https://arxiv.org/abs/2011.10804",
    "nas-bnn": "NAS-BNN (Lin et al., 2024), https://arxiv.org/abs/2408.15484",
}


def title_of(paper: str) -> str:
    """What a paper is called, as DCP-NAS."""
    return PAPERS[paper].partition(" (")[0]


TRANSFER = "transfer"
"""The field of a record under which what its network was carried to stands here, by the task."""

State = Literal["regenerated", "cost only", "quoted"]
Form = Literal["sweep", "bars", "scatter", "curves", "distribution", "cells"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the paper's table, and the field of a record that it is regenerated from.

    Attributes:
        key: the name that the rows' values go by.
        title: as printed.
        unit: of the printed values; empty for texts.
        better: which way is better, where one is.
        record: path of a record's field, as `test_accuracy` or `ops.dcp-nas`; a path ending in
            `@N` takes the N-th smallest key of a mapping of numbers (`finetuned_test_accuracy.@1`);
            `log_mean.FIELD` is the mean of a field of the search's log;
            `transfer.TASK.KEY` is a value of the downstream task that the network was carried to.
            Empty where the column is a text, or derived.
        scale: what the record's value is divided by to be in `record_unit`.
        record_unit: where ours differs from the paper's: seconds for GPU days.
        run: which of a row's runs the column shows; empty is `run`.
        difference: (a, b): this column is column a minus column b, seed by seed.
        fall: (column, row): that row's value in that column minus this row's, seed by seed.
        ratio: (column, row): this column is that row's value in that column, divided by this row's.
    """

    key: str
    title: str
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    record: str = ""
    scale: float = 1.0
    record_unit: str = ""
    run: str = ""
    difference: tuple[str, ...] = ()
    fall: tuple[str, ...] = ()
    ratio: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether the column can be regenerated."""
        return bool(self.record or self.difference or self.fall or self.ratio)

    @property
    def task(self) -> str:
        """The downstream task that it is a value of; empty where it is of none."""
        parts = self.record.split(".")
        return parts[1] if parts[0] == TRANSFER else ""

    @property
    def path(self) -> str:
        """Of its field within the record, or within what that says of the task."""
        return self.record.split(".", 2)[2] if self.task else self.record


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a row is regenerated: what is run, relative to the budget.

    Attributes:
        method: as on the command line, `dcpnas[hessian=exact-hvp]`.
        space: likewise; empty is the artefact's.
        width: factor on the channels of the final network (S, M, L of DCP-NAS: 1, 4/3, 2).
        search_width: factor on the channels of the search's networks.
        precision: of the final network, `W1A1` or `W32A32` for a real-valued one.
        recipe: fields of the training recipe that differ (table 9: `{cutout = 0.0}`).
        small: the fields of this table that differ under budgets below `standard`.
    """

    method: str
    space: str = ""
    width: float = 1.0
    search_width: float = 1.0
    precision: str = "W1A1"
    recipe: Mapping[str, float] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Count:
    """A published or hand-made network whose cost is counted at the paper's size, without training.

    Attributes:
        space: as on the command line.
        arch: a model's name (`handcrafted`), or the name of a file in `papers/architectures`.
        input: (channels, height, width).
        channels, cells: None is the paper's for the space.
        task: of detection, `voc` or `coco`, whose detector is counted around the network; else empty.
        heads: what of the detector is 1-bit beside the network (`bnas_bench.transfer.detection.model`).
    """

    space: str
    arch: str
    input: tuple[int, int, int] = (3, 224, 224)
    classes: int = 1000
    channels: int | None = None
    cells: int | None = None
    task: str = ""
    heads: str = "maps"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the paper's table; at least one of `runs`, `count` and `quoted` is there.

    Attributes:
        name: as printed, without its reference.
        group: the heading that it stands under, where the table has such.
        paper: the printed texts, by the columns' keys.
        dataset: what they were measured on, where the artefact's rows differ in that; else empty.
        runs: what regenerates it, by name; a single one is named `run`.
        count: the network that its cost columns are counted from.
        quoted: why it is not regenerated (or not all of it); empty if it is.
        note: how what is run differs from what the paper names; empty if it does not.
        x, series: a sweep's place on the x axis, and the line that it belongs to.
    """

    name: str
    group: str = ""
    paper: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""
    runs: Mapping[str, Run] = field(default_factory=dict)
    count: Count | None = None
    quoted: str = ""
    note: str = ""
    x: float | None = None
    series: str = ""


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """What is drawn of an artefact's rows.

    Attributes:
        form: `sweep` (column y against the rows' `x`, a line per `series`), `bars` (each y of each row),
            `scatter` (column y against column x), `curves` (fields y of the search's log against its
            progress), `distribution` (of the log's field y, one per row) or `cells` (the drawings).
        x, y: columns' keys, or for `curves` and `distribution` fields of the log.
        x_title: of the axis.
        log_x: whether the x axis is logarithmic.
    """

    form: Form
    x: str = ""
    y: tuple[str, ...] = ()
    x_title: str = ""
    y_title: str = ""
    log_x: bool = False


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A table or figure of a paper.

    Attributes:
        id: `dcp-nas/table-4`.
        title: in our words, one line.
        place: section and number of it in the paper.
        caption: as printed.
        dataset: what the printed numbers were measured on; empty where that is not said, or the rows
            have theirs.
        pretrained: what backbones are trained on before they are carried to that; else empty.
        state: `regenerated` (its rows can be run), `cost only` (what can be counted is) or `quoted`.
        why: one sentence, unless it is regenerated.
        space: of its runs, unless a run names another.
        notes: what a reader must know of our reading.
    """

    id: str
    title: str
    place: str
    caption: str
    dataset: str = ""
    pretrained: str = ""
    state: State
    why: str = ""
    space: str = "darts-binary"
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    figure: FigureSpec | None = None
    notes: tuple[str, ...] = ()

    @property
    def paper(self) -> str:
        return self.id.partition("/")[0]

    def dataset_of(self, row: Row) -> str:
        """What the printed numbers of a row were measured on; empty where that is not said."""
        return row.dataset or self.dataset

    def trained_on(self, row: Row) -> str:
        """What the networks of a row are trained on: before a transfer, something else than it reports."""
        return self.pretrained or self.dataset_of(row)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The downstream tasks that its networks are carried to, in the order of their columns."""
        return tuple(dict.fromkeys(filter(None, (column.task for column in self.columns))))

    def measured(self, column: Column) -> tuple[str, str]:
        """What a downstream task's column is measured on, and what it measures.

        Where there are several tasks, the title says both, as "Market-1501, mAP".
        """
        on, _, measure = column.title.partition(", ")
        return (on, measure) if len(self.tasks) > 1 else (self.dataset, column.title)

    @property
    def datasets(self) -> str:
        """What its rows were measured on, in their order: "CIFAR-10 and ImageNet"."""
        found = dict.fromkeys(filter(None, map(self.dataset_of, self.rows)))
        return " and ".join(found) or self.dataset or "no dataset that is named"

    def column(self, key: str) -> Column:
        """The column of that key."""
        return next(column for column in self.columns if column.key == key)

    def row(self, name: str, group: str = "") -> Row:
        """The row of that name (and group, where two have the name)."""
        found = [row for row in self.rows if row.name == name and group in ("", row.group)]
        if len(found) != 1:
            raise UnknownName(f"row of {self.id}", name, {row.name for row in self.rows})
        return found[0]


def number(text: str) -> float | None:
    """The number in a printed text: "≈5.12", "~4000M", "24.19×", "+1.21"; None for "-" and words."""
    plain = text.replace(",", "").replace("−", "-").strip()
    match = re.fullmatch(r"[≈~≤≥<>=+\s]*(-?\d+(?:\.\d+)?)\s*[%×xMGK]?", plain)
    return float(match[1]) if match else None


def decimals(text: str) -> int:
    """How many digits a printed number has behind its point."""
    match = re.search(r"\d\.(\d+)", text)
    return len(match[1]) if match else 0


def ids() -> list[str]:
    """All artefacts, paper by paper, tables before figures, in the papers' order."""

    def order(identity: str) -> tuple[int, bool, list[tuple[int, str]]]:
        paper, _, name = identity.partition("/")
        parts = [(int(digits or 0), rest) for digits, rest in re.findall(r"(\d+)|([a-z-]+)", name)]
        return list(PAPERS).index(paper), name.startswith("figure"), parts

    files = (file for paper in PAPERS for file in FOLDER.glob(f"{paper}/*.toml"))
    return sorted((f"{file.parent.name}/{file.stem}" for file in files), key=order)


def selected(texts: Iterable[str]) -> list[Artefact]:
    """The artefacts of these ids, and all of a paper where its name stands alone; each once.

    Raises:
        UnknownName: if there is none of that name; with the nearest.
    """
    chosen: dict[str, None] = {}
    for text in texts:
        own = [name for name in ids() if text in (name, name.partition("/")[0])]
        if not own:
            raise UnknownName("artefact", text, [*ids(), *PAPERS])
        chosen |= dict.fromkeys(own)
    return [load(name) for name in chosen]


@cache
def load(name: str) -> Artefact:
    """The artefact of that id.

    Raises:
        UnknownName: if there is none; with the nearest.
        BadValue: if its file does not fit the schema, naming the place.
    """
    if name not in (known := ids()):
        raise UnknownName("artefact", name, [*known, *PAPERS])
    file = FOLDER / f"{name}.toml"
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadValue(f"{file} is no TOML: {error}") from error
    columns = tuple(_make(Column, item, f"{name}, columns") for item in raw.pop("columns", ()))
    rows = tuple(_row(item, name) for item in raw.pop("rows", ()))
    figure = raw.pop("figure", None)
    artefact: Artefact = _make(
        Artefact,
        raw
        | {
            "id": name,
            "columns": columns,
            "rows": rows,
            "figure": figure and _make(FigureSpec, figure, f"{name}, figure"),
        },
        name,
    )
    _check(artefact)
    return artefact


T = TypeVar("T")


def _make(kind: type[T], raw: Mapping[str, Any], where: str) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for key in raw:
        if key not in known:
            raise UnknownName(f"key of {where}", key, known)
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in raw.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise BadValue(f"{where}: {error}") from error


def _row(raw: dict[str, Any], artefact: str) -> Row:
    where = f"{artefact}, row {raw.get('name')!r}"
    runs = dict(raw.pop("runs", {}))
    if "run" in raw:
        runs["run"] = raw.pop("run")
    count = raw.pop("count", None)
    return _make(
        Row,
        raw
        | {
            "runs": {name: _make(Run, run, f"{where}, {name}") for name, run in runs.items()},
            "count": count and _make(Count, count, f"{where}, count"),
        },
        where,
    )


def _check(artefact: Artefact) -> None:
    """What the dataclasses cannot say by themselves."""

    def wrong(what: str) -> BadValue:
        return BadValue(f"{artefact.id}: {what}")

    if artefact.state not in get_args(State):
        raise wrong(f"state '{artefact.state}' is none of {', '.join(get_args(State))}")
    if (artefact.state == "regenerated") == bool(artefact.why):
        raise wrong("`why` stands exactly where the state is not `regenerated`")
    runnable = any(row.runs for row in artefact.rows)
    if runnable != (artefact.state == "regenerated"):
        raise wrong(f"its state is `{artefact.state}`, and its rows say otherwise")
    if artefact.state == "cost only" and not any(row.count for row in artefact.rows):
        raise wrong("its state is `cost only`, and no row has a `count`")
    keys = [column.key for column in artefact.columns]
    if len(set(keys)) < len(keys):
        raise wrong("two columns have one key")
    if artefact.dataset and any(row.dataset for row in artefact.rows):
        raise wrong("its rows have datasets of their own: leave out the artefact's")
    names = {row.name for row in artefact.rows}
    for column in artefact.columns:
        if column.difference and not set(column.difference) <= set(keys):
            raise wrong(f"column '{column.key}' is a difference of unknown columns")
        for other, what in ((column.ratio, "ratio to"), (column.fall, "fall from")):
            if other and not (other[0] in keys and other[1] in names):
                raise wrong(f"column '{column.key}' is a {what} an unknown column or row")
    for row in artefact.rows:
        if not (row.runs or row.count or row.quoted):
            raise wrong(f"row '{row.name}' has neither a run nor a count, and no reason (`quoted`)")
        for key, text in row.paper.items():
            if key not in keys:
                raise wrong(f"row '{row.name}' has a value in the unknown column '{key}'")
            if not isinstance(text, str):
                raise wrong(f"row '{row.name}', '{key}': write the printed value as a text")
    if artefact.figure and artefact.figure.form not in get_args(Form):
        raise wrong(f"figure form '{artefact.figure.form}' is none of {', '.join(get_args(Form))}")
