"""What options take, as annotations say it, and what is too large for a machine."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.core import options as kinds
from bnas_bench.core.budget import Budget, Recipe, Scale
from bnas_bench.core.errors import BadValue, brief
from bnas_bench.core.options import Form, Range, form_of, form_written, forms_of
from bnas_bench.data.names import split_datasets
from bnas_bench.plugins.registry import Plugin, discover, find
from tests.helpers.cli import fail

PLUGINS = [*discover("method").values(), *discover("space").values()]
HUGE = "9" * 5000


def test_ranges_hold_their_ends_unless_they_are_left_out() -> None:
    assert [n for n in (-1, 0, 1, 5, 6, math.nan, math.inf) if n in Range(0, 5)] == [0, 1, 5]
    inner = Range(0, 5, without_low=True, without_high=True)
    assert [n for n in (0, 1, 5) if n in inner] == [1]
    assert str(inner) == "above 0 and below 5"
    assert str(Range(0, 10**6)) == "of at least 0 and at most 1,000,000"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Count", Form(int, Range(1, 10**9))),
        ("Mine", Form(float, Range(0, 1))),
        ("int", Form(int)),
        ("float | None", Form(float, may_be_none=True)),
        ("tuple[str, ...]", Form(str, many=True)),
        ("tuple[Count, ...]", Form(int, Range(1, 10**9), many=True)),
        ("Positive", None),
        ("list[int]", None),
        ("print('run')", None),
    ],
)
def test_annotations_are_read_and_not_run(text: str, form: Form | None) -> None:
    node = ast.parse(text, mode="eval").body
    assert form_written(node, {"Count": "Count", "Mine": "Share"}) == form


def test_a_name_is_only_ours_where_it_was_imported_from_here(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from bnas_bench.search.strategy import SearchStrategy\nCount = int\n"
        "class Mine(SearchStrategy):\n    def __init__(self, *, n: Count = 0, m: int = 0): ...\n"
    )
    plugin = find("method", str(file))
    assert plugin.forms == {"m": Form(int)}
    assert plugin.resolve({"n": "-3"}) == {"n": -3, "m": 0}


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: f"{plugin.kind}-{plugin.name}")
def test_every_option_says_what_it_takes_and_its_default_is_such(plugin: Plugin) -> None:
    assert set(plugin.forms) == set(plugin.defaults)
    for name, form in plugin.forms.items():
        form.check(plugin.defaults[name], name)
        assert form.range or form.type in (bool, str), f"{name} takes every number"


@pytest.mark.parametrize("cls", [Recipe, Scale, Budget])
def test_every_number_of_a_budget_has_a_range(cls: type) -> None:
    forms = forms_of(cls)
    assert forms
    assert all(form.range for form in forms.values() if form.type is not str)


@pytest.mark.parametrize(
    ("plugin", "form"),
    [
        pytest.param(plugin, name, id=f"{plugin.name}-{name}")
        for plugin in PLUGINS
        for name, form in plugin.forms.items()
        if form.range
    ],
)
def test_every_number_refuses_what_is_none_or_out_of_range(plugin: Plugin, form: str) -> None:
    for text in ("-1e18", "1e18", "nan", "inf", "1e400", HUGE, "\u0663", "x"):
        with pytest.raises(BadValue) as error:
            plugin.resolve({form: text})
        assert f"of {plugin.name} '{form}' is '" in str(error.value)
        assert len(str(error.value)) < 200


@pytest.mark.parametrize("value", [(18,), ("a", "a"), "a", 3])
def test_typed_values_are_checked_before_anything_is_built(value: Any) -> None:
    with pytest.raises(BadValue, match="option of handcrafted 'models'"):
        find("space", "handcrafted").make({"models": value})


def test_true_is_no_number() -> None:
    form = form_of(kinds.Amount)
    assert form is not None
    assert form.takes(1)
    assert not form.takes(True)


def test_a_value_is_shown_on_one_short_line() -> None:
    assert brief("short") == "short"
    assert brief("a\x1b[31m\n\udcff") == "a\\x1b[31m\\n\\udcff"
    assert brief(HUGE) == f"{'9' * 30}... (5,000 characters)"


def refusal(*arguments: str) -> str:
    """The one line that a command which refuses its arguments prints."""
    return fail(*arguments).removeprefix("bnas-bench: ")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--method", "darts[clip=-1]"), "'clip' is '-1'; it takes a number of at least"),
        (("--method", "darts[clip=0]"), "'clip' is '0'"),
        (("--method", "nasbnn[low=2,high=1]"), "give them in rising order"),
        (("--method", "[" * 5000), "is not of the form name"),
        (("--method", HUGE), "unknown method '9999"),
        (("--set", "lr=1],x[y=2"), "'lr=1]' in --set is not of the form key=value"),
        (("--space", "handcrafted[models=18]"), "unknown model of handcrafted '18'; known: bireal"),
        (("--space", "handcrafted[models=resnet18+resnet18]"), "'resnet18' twice"),
        (("--space", "darts-binary[without=7]"), "unknown operation of darts-binary '7'"),
        (("--space", "darts-binary[binarise=1]"), "unknown activation to binarise '1'"),
        (("--space", "bars[depth=1e18]"), "whole number of at least 1 and at most 100"),
        (("--space", "bats[groups=97,shuffle=89]"), "GiB of weights, and this machine has"),
        (("--budget", "quick[final.channels=1e9]"), "at most 100,000"),
        (("--budget", "quick[final.channels=50000]"), "TiB of weights, and this machine has"),
        (("--budget", "quick[search.channels=50000]"), "the supernet of darts-binary"),
        (("--budget", "quick[final.image=90000]"), "digits at 90000x90000 pixels takes"),
        (("--budget", "quick[final.cells=1]"), "it takes at least 2 of each"),
        (("--budget", "quick[search_fraction=0.6,valid_fraction=0.6]"), "1 at most together"),
        (("--seeds", "999999999"), "--seeds is '999999999'"),
        (("--seeds", "9999", "--dataset", "digits,cifar10"), "a grid of 19,998 trials"),
        (("--seeds", HUGE), "(5,000 characters)"),
        (("--seed", "-1"), "--seed is '-1'"),
        (("--threads", "99999"), "--threads is '99999'"),
        (("--jobs", "99999"), "--jobs is '99999'"),
        (("--dataset", "digits,cifar11"), "unknown dataset 'cifar11'"),
        (("--dataset", "imagefolder:a\x1b"), "control characters"),
    ],
)
def test_a_dry_run_finds_what_cannot_run(arguments: tuple[str, ...], part: str) -> None:
    method = () if "--method" in arguments else ("--method", "random")
    assert part in refusal("run", "--dry-run", *method, *arguments)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("measure", "resnet18", "--classes", "99999999999"), "--classes is '99999999999'"),
        (
            ("measure", "resnet18", "--input", "3x99999999x8"),
            "as a side is '99999999'",
        ),
        (("measure", "resnet18", "--input", "3x22\u0664x224"), "is no shape of an image"),
        (("measure", "resnet18", "--input", "3x90000x90000"), "GiB of its largest map"),
        (("measure", "resnet18", "--cells", HUGE), "--cells is '9999"),
        (("measure", "wrn22", "--space", "handcrafted", "--channels", "50000"), "TiB of weights"),
        (("latency", "wrn22", "--space", "handcrafted", "--channels", "50000"), "TiB of weights"),
        (("pack", "wrn22", "--space", "handcrafted", "--channels", "50000", "-o", "x"), "TiB of"),
        (("latency-table", "--space", "nas-bnn", "--channels", "50000"), "TiB of weights"),
        (("latency-table", "--count", "999999999"), "--count is '999999999'"),
        (("latency-table", "--space", "bars[depth=0]"), "'depth' is '0'"),
        (
            ("reproduce", "dcp-nas/table-4", "--budget", "quick[recipe.lr=-1]"),
            "'recipe.lr' is '-1'",
        ),
        (("reproduce", "dcp-nas/table-4", "--seeds", "99999999"), "--seeds is '99999999'"),
        (("check", HUGE), "unknown method or space '9999"),
        (("new-method", "a" * 300), "(300 characters)' is no name for a method"),
    ],
)
def test_other_commands_refuse_it_too(arguments: tuple[str, ...], part: str) -> None:
    assert part in refusal(*arguments)


def test_a_comma_may_be_part_of_a_folder(tmp_path: Path) -> None:
    assert split_datasets("digits, cifar10") == ["digits", "cifar10"]
    assert split_datasets("digits,cifar11") == ["digits", "cifar11"]
    assert split_datasets("imagefolder:/a,b/c,d") == ["imagefolder:/a,b/c,d"]
    assert split_datasets("imagefolder:/a,b,digits") == ["imagefolder:/a,b", "digits"]
    assert split_datasets("imagenet,imagefolder:x,imagenet:y,z") == [
        *("imagenet", "imagefolder:x", "imagenet:y,z")
    ]
    (tmp_path / "a,digits").mkdir()
    assert split_datasets(f"imagefolder:{tmp_path}/a,digits,digits") == [
        *(f"imagefolder:{tmp_path}/a,digits", "digits")
    ]
