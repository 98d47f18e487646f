"""Figures: what is drawn is what was given, and it is told apart without colour."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnas_bench.analysis.stats import critical_difference
from bnas_bench.report import figures
from bnas_bench.report.figures import Point, pareto
from bnas_bench.report.style import COLOURS, PAPER, Titles, folded, looks, save

GOLDEN = Path(__file__).parents[1] / "golden"
TITLES = Titles(title="some $title_1", x="x (%)", y="y")


def lines(figure: Figure, label: str) -> Line2D:
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == label)
    return line


def drawn(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def names(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_looks_differ_without_colour() -> None:
    found = looks([*map(str, range(50)), *COLOURS])
    assert len({(look.marker, str(look.line)) for look in found.values()}) == 50 + len(COLOURS)
    few = looks(["dcpnas", *(f"dcpnas[lam={k}]" for k in range(9))])
    assert len({look.marker for look in few.values()}) == 10
    assert {look.colour for look in few.values()} == {COLOURS["dcpnas"]}
    assert len({look.colour for look in looks("abcdefghij").values()}) == 10


def test_a_method_has_one_look_beside_whatever_it_stands() -> None:
    everything = looks([*map(str, range(40)), *reversed(COLOURS), "darts[lr=1]"])
    for name in COLOURS:
        assert looks([name])[name] == everything[name]
    assert looks(["a", "b"]) == looks(["b", "a"])
    assert everything["darts[lr=1]"].marker != everything["darts"].marker


def test_every_bundled_method_has_a_colour_that_is_seen_on_white() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} <= set(COLOURS)
    for name, colour in COLOURS.items():
        assert contrast(colour) >= 3, name
    assert contrast("#767676") == pytest.approx(4.54, abs=0.01)  # WCAG's own example


def contrast(colour: str) -> float:
    """On white."""
    return contrast_on("#ffffff", colour)


def contrast_on(paper: str, colour: str) -> float:
    """As WCAG 2.2 defines it."""
    parts = np.array([to_rgb(paper), to_rgb(colour)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    darker, lighter = sorted(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return lighter / darker


def test_a_sweep_by_rising_x_and_the_paper_hollow() -> None:
    figure = figures.points(
        {"here": [Point(x=2, y=5, lower=4, upper=7), Point(x=1, y=3)]},
        TITLES,
        paper={"here": [Point(x=1, y=9), Point(x=2, y=8)]},
        joined=True,
        log_x=True,
    )
    assert drawn(lines(figure, "here")) == [(1, 3), (2, 5)]
    printed = lines(figure, "here (paper)")
    assert drawn(printed) == [(1, 9), (2, 8)]
    assert printed.get_markerfacecolor() == "none"
    assert printed.get_marker() == lines(figure, "here").get_marker()
    (bars,) = (container for container in figure.axes[0].containers)
    (segments,) = bars.lines[2]
    assert [segment.tolist() for segment in segments.get_segments()] == [
        [[1, 3], [1, 3]],
        [[2, 4], [2, 7]],
    ]
    assert figure.axes[0].get_xscale() == "log"
    assert names(figure) == ["here", "here (paper)"]


def test_bars_have_means_runs_and_the_paper() -> None:
    figure = figures.bars(
        {"one": [80.0, 90.0, 100.0], "two": [80.0]},
        TITLES,
        paper={"two": 95.0, "three": 70.0},
        within=(0, 100),
    )
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one", "two", "three"]
    assert axes.get_xlim()[1] == 100
    hollow = [line for line in axes.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert [drawn(line) for line in hollow] == [[(95, 1), (70, 2)]]
    assert {line.get_markerfacecolor() for line in hollow} == {"none"}
    dots = [line for line in axes.lines if line.get_markersize() == 2 and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in dots] == [[80, 90, 100, 80]]
    found = looks(["one", "two", "three"])
    means = [line for line in axes.lines if line.get_marker() == found["one"].marker]
    assert drawn(means[0])[0] == (90, 0)
    assert to_hex(means[0].get_color()) == found["one"].colour
    # By hand: t(0.975, 2) = 4.302653, times sd / sqrt(3), which is 5.7735.
    ends = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) > 2]
    assert any(np.allclose([min(x), max(x)], [90 - 24.8414, 90 + 24.8414]) for x in ends)
    assert names(figure) == ["mean, 95 % interval", "run", "paper"]


def test_a_scatter_with_its_front_and_labels() -> None:
    figure = figures.points(
        {"a": [Point(x=1, y=50, label="S"), Point(x=3, y=40)], "b": [Point(x=2, y=70)]},
        TITLES,
        paper={"a": [Point(x=0, y=99, label="M")]},
        front=True,
    )
    assert drawn(lines(figure, "front")) == [(1, 50), (2, 70)]  # the paper's point is none of ours
    assert drawn(lines(figure, "a")) == [(1, 50), (3, 40)]
    assert lines(figure, "a (paper)").get_markeredgecolor() == PAPER
    assert [text.get_text() for text in figure.axes[0].texts] == ["S", "M"]


def test_many_labels_are_left_to_the_legend() -> None:
    points = [Point(x=k, y=k, label=str(k)) for k in range(figures.ANNOTATED + 1)]
    plain = figures.points({"a": points}, TITLES)
    assert len(plain.axes[0].texts) == 0
    asked = figures.points({"a": points}, TITLES, annotated=len(points))
    assert len(asked.axes[0].texts) == len(points)
    assert asked.get_figheight() - plain.get_figheight() == pytest.approx(figures.AXES)


def test_axes_keep_to_what_they_may_show() -> None:
    """An interval of two runs may reach below 0 %; the axis does not."""
    points = [Point(x=1, y=50, lower=-40, upper=140), Point(x=3, y=40)]
    figure = figures.points({"a": points}, TITLES, within=(0, 100))
    assert figure.axes[0].get_ylim() == (0, 100)
    log = figures.bars({"a": [0.001, 0.002], "b": [100.0]}, TITLES, log_x=True)
    assert log.axes[0].get_xscale() == "log"


def test_a_scatter_shows_intervals() -> None:
    points = [Point(x=1, y=50, lower=45, upper=60), Point(x=3, y=40)]
    (bars,) = figures.points({"a": points}, TITLES).axes[0].collections
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]  # type: ignore[attr-defined]
    assert ends == [[45, 60], [40, 40]]


def test_labels_of_one_place_hide_each_other_nowhere() -> None:
    points = [Point(x=10, y=1, label=f"a network {k}") for k in range(6)]
    figure = figures.points({"a": points, "b": [Point(x=0, y=0)]}, TITLES)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 6
    assert not any(box.overlaps(other) for box, other in combinations(boxes, 2))
    assert max(box.x1 for box in boxes) < figure.bbox.x1


def test_powers_of_ten_are_plain_text() -> None:
    """A label may hold dollar signs, so that no formula is set."""
    points = [Point(x=10.0**-k, y=k) for k in range(1, 5)]
    for wide in (points, [*points[:1], Point(x=0.3, y=1)]):
        axes = figures.points({"a": wide}, TITLES, log_x=True, joined=True).axes[0]
        axes.figure.draw_without_rendering()
        ticks = [*axes.get_xticklabels(), *axes.get_xticklabels(minor=True)]
        texts = [tick.get_text().replace("\N{MINUS SIGN}", "-") for tick in ticks]
        assert {*map(float, filter(None, texts))} >= {0.1}


@pytest.mark.parametrize("rows", [True, False])
def test_long_titles_of_axes_stay_within_the_figure(rows: bool) -> None:
    long = "the mean validation accuracy of random subnets (%)"
    titles = Titles(title="t", x=long, y="" if rows else long)
    figure = (
        figures.bars({"w/o Weight Normalization": [1.0]}, titles)
        if rows
        else figures.points({"a": [Point(x=1, y=1)]}, titles, joined=True)
    )
    figure.draw_without_rendering()
    axes, whole = figure.axes[0], figure.bbox
    for label in (axes.xaxis.label, axes.yaxis.label):
        box = label.get_window_extent()
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1


def test_pareto_by_hand() -> None:
    points = [Point(x=x, y=y) for x, y in [(3, 9), (1, 5), (2, 5), (2, 7), (4, 8), (1, 4)]]
    assert pareto(points) == ([1, 2, 3], [5, 7, 9])


def test_curves_are_means_of_steps() -> None:
    runs = [([0, 50], [10, 30]), ([0, 100], [20, 40])]
    figure = figures.curves({"m": runs}, TITLES)
    (line,) = figure.axes[0].lines
    at = dict(zip(*line.get_data(), strict=True))
    assert at[0.0] == 15  # (10 + 20) / 2
    assert at[100.0] == 35  # (30 + 40) / 2
    assert line.get_label() == "m (n 2)"
    assert len(figure.axes[0].collections) == 1  # their range


def test_a_distribution_has_all_values_and_a_box_from_five_on() -> None:
    figure = figures.distribution({"a": [1.0, 2.0, 3.0, 4.0, 10.0], "b": [5.0, 6.0]}, TITLES)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [drawn(line) for line in dots] == [
        [*((value, 0.25) for value in (1, 2, 3, 4, 10)), (5, 1.25), (6, 1.25)]
    ]
    medians = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linewidth() == 2]
    assert medians == [3]


def test_the_critical_difference_is_as_long_as_it_is() -> None:
    scores = {name: {str(d): float(k) for d in range(6)} for k, name in enumerate("abcd")}
    found = critical_difference(scores)
    figure = figures.critical(found, TITLES)
    bar = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert [tuple(line.get_xdata()) for line in bar] == [(1, 1 + found.difference)]
    cliques = [line for line in figure.axes[0].lines if line.get_linewidth() == 2.5]
    assert len(cliques) == len(found.cliques)
    assert figure.axes[0].texts[0].get_text() == "d (1.00)"


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("dcpnas", "dcpnas"),
        (
            "dcpnas[tangent=false,decoupled=false]",
            "dcpnas[tangent=false,\ndecoupled=false]",
        ),
        ("x" * 40, "x" * 40),
    ],
)
def test_long_names_are_folded(name: str, whole: str) -> None:
    assert folded(name) == whole


def test_the_same_data_give_the_same_bytes_and_leave_no_state(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)

    def files(folder: Path) -> dict[str, bytes]:
        rng = np.random.default_rng(0)
        runs = [(np.arange(10.0), rng.normal(size=10)) for _ in range(5)]
        save(figures.curves({"a_$x$": runs, "b": runs[:2]}, TITLES), folder / "stem")
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    first = files(tmp_path / "one")
    assert sorted(first) == ["stem.pdf", "stem.png", "stem.svg"]
    assert files(tmp_path / "two") == first
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.pyplot.get_fignums() == []  # seaborn imports pyplot
    assert b"CreationDate" not in first["stem.pdf"]
    assert b"<dc:date>" not in first["stem.svg"]


def test_an_empty_figure_can_be_saved(tmp_path: Path) -> None:
    save(figures.curves({}, TITLES), tmp_path / "empty")
    save(figures.bars({}, TITLES), tmp_path / "none")
    assert len(list(tmp_path.iterdir())) == 6
