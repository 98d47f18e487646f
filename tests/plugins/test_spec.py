"""What is typed, against what it must mean."""

from __future__ import annotations

from typing import Any

import pytest

from bnas_bench.core.budget import Budget, Scale
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.data.names import check_dataset
from bnas_bench.plugins.spec import (
    Spec,
    budget_fields,
    changed,
    label,
    parse_specs,
    resolve,
    resolve_budget,
)

DEFAULTS = {
    "lam": 1e-4,
    "layers": 3,
    "decoupled": True,
    "distance": "l1",
    "drop": ("a", "b"),
    "sizes": (3, 5),
    "limit": None,
    "without": (),
}


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("random", [Spec("random")]),
        (" random , cpnas ", [Spec("random"), Spec("cpnas")]),
        ("a[x=1,y=2],b", [Spec("a", {"x": "1", "y": "2"}), Spec("b")]),
        ("a [ x = 1 , y = p=q ]", [Spec("a", {"x": "1", "y": "p=q"})]),
        ("a[]", [Spec("a")]),
        ("a[x=]", [Spec("a", {"x": ""})]),
        ("here/my file.py:Mine[lam=0]", [Spec("here/my file.py:Mine", {"lam": "0"})]),
    ],
)
def test_reads_lists(text: str, specs: list[Spec]) -> None:
    assert parse_specs(text) == specs


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "'' is not of the form"),
        ("a,,b", "'' is not of the form"),
        ("a[x=1", "'a[x=1' is not"),
        ("a]", "'a]' is not"),
        ("a[x=[1]]", "is not of the form"),
        ("[x=1]", "is not of the form"),
        ("a[x=1]b", "is not of the form"),
        ("a[x]", "'x' in 'a[x]' is not of the form key=value"),
        ("a[=1]", "'=1' in"),
        ("a[x=1,]", "'' in 'a[x=1,]'"),
        ("a[x=1,x=2]", "'x' stands twice"),
    ],
)
def test_refuses_other_forms(text: str, part: str) -> None:
    with pytest.raises(BadValue) as error:
        parse_specs(text)
    assert part in str(error.value)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("lam", "0", 0.0),
        ("lam", "-1e-3", -0.001),
        ("layers", "1_000", 1000),
        ("layers", "1e4", 10_000),
        ("layers", "-2", -2),
        ("decoupled", "No", False),
        ("decoupled", "1", True),
        ("distance", "none", "none"),
        ("drop", "x + y", ("x", "y")),
        ("drop", "x", ("x",)),
        ("drop", "", ()),
        ("sizes", "7+9+11", (7, 9, 11)),
        ("without", "none+3", ("none", 3)),
        ("limit", "4", 4),
        ("limit", "0.5", 0.5),
        ("limit", "text", "text"),
        ("limit", "None", None),
    ],
)
def test_converts_by_the_defaults_type(key: str, text: str, value: Any) -> None:
    resolved = resolve({key: text}, DEFAULTS, "option of m")
    assert resolved == {**DEFAULTS, key: value}
    assert type(resolved[key]) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "takes"),
    [
        ("lam", "small", "a number"),
        ("lam", "nan", "a number"),
        ("layers", "2.5", "a whole number"),
        ("layers", "inf", "a whole number"),
        ("decoupled", "2", "true or false"),
        ("sizes", "3+x", "a whole number"),
    ],
)
def test_names_the_key_the_value_and_the_form(key: str, text: str, takes: str) -> None:
    with pytest.raises(BadValue) as error:
        resolve({key: text}, DEFAULTS, "hyperparameter of m")
    bad = text.split("+")[-1]
    assert str(error.value) == f"hyperparameter of m '{key}' is '{bad}'; it takes {takes}"


def test_unknown_option_lists_the_nearest() -> None:
    with pytest.raises(UnknownName) as error:
        resolve({"decoupeld": "1"}, DEFAULTS, "hyperparameter of m")
    assert str(error.value) == "unknown hyperparameter of m 'decoupeld'; did you mean decoupled?"


def test_a_label_is_read_back() -> None:
    options = {"lam": 0.5, "decoupled": False, "drop": ("x", "y"), "sizes": (), "limit": None}
    text = label("m", options)
    assert text == "m[lam=0.5,decoupled=false,drop=x+y,sizes=,limit=none]"
    (spec,) = parse_specs(text)
    assert resolve(spec.options, DEFAULTS, "option") == {**DEFAULTS, **options}
    assert label("m", {}) == "m"


def test_changed_is_by_value_not_by_text() -> None:
    resolved = resolve({"lam": "0.0001", "layers": "4"}, DEFAULTS, "option")
    assert changed(resolved, DEFAULTS) == {"layers": 4}


QUICK = Budget("quick", passes=1000, batch_size=64, search=Scale(cells=3), epochs=2)
PAPER = Budget("paper", passes=None, batch_size=256)
PRESETS = {"quick": QUICK, "paper": PAPER}


def test_budget_fields_are_replaced() -> None:
    (spec,) = parse_specs("quick[final.cells=5, passes=2e4,search_fraction=0.25,search.channels=8]")
    assert resolve_budget(spec, PRESETS) == Budget(
        "quick[passes=20000,search_fraction=0.25,search.channels=8,final.cells=5]",
        passes=20_000,
        batch_size=64,
        search_fraction=0.25,
        search=Scale(cells=3, channels=8),
        final=Scale(cells=5),
        epochs=2,
    )


def test_a_budget_that_says_what_the_preset_says_is_the_preset() -> None:
    assert resolve_budget(Spec("quick", {"passes": "1_000"}), PRESETS) == QUICK
    assert resolve_budget(Spec("paper"), PRESETS) == PAPER
    assert resolve_budget(Spec("paper", {"passes": "9"}), PRESETS).passes == 9


COUNT = "a whole number of at least 1 and at most 1,000,000,000, or none"
PASSES = "a whole number of at least 1 and at most 1,000,000,000,000,000, or none"
FEW = "a whole number of at least 1 and at most 100"
AMOUNT = "a number of at least 0 and at most 1,000,000"
BELOW_ONE = "a number of at least 0 and below 1"


@pytest.mark.parametrize(
    ("name", "key", "text", "takes"),
    [
        ("quick", "passes", "0", PASSES),
        ("quick", "passes", "-3", PASSES),
        ("paper", "passes", "many", PASSES),
        ("quick", "passes", "1e18", PASSES),
        ("paper", "epochs", "1.5", COUNT),
        ("quick", "valid_fraction", "0", "a number above 0 and below 1"),
        ("quick", "batch_size", "1e18", "a whole number of at least 1 and at most 100,000"),
        ("quick", "final.cells", "101", f"{FEW}, or none"),
        ("quick", "recipe.clip", "-1", AMOUNT),
        ("quick", "recipe.weight_decay", "-1e-9", AMOUNT),
        ("quick", "recipe.lr", "nan", AMOUNT),
        ("quick", "recipe.lr", "1e400", AMOUNT),
        ("quick", "recipe.lr", "none", AMOUNT),
        ("quick", "recipe.cutout", "5", "a number of at least 0 and at most 1"),
        ("quick", "recipe.label_smoothing", "2", BELOW_ONE),
        ("quick", "recipe.momentum", "1", BELOW_ONE),
    ],
)
def test_budget_values_are_checked(name: str, key: str, text: str, takes: str) -> None:
    with pytest.raises(BadValue) as error:
        resolve_budget(Spec(name, {key: text}), PRESETS)
    assert str(error.value) == f"field of budget {name} '{key}' is '{text}'; it takes {takes}"


def test_a_budget_replaces_fields_of_the_recipe() -> None:
    (spec,) = parse_specs("quick[recipe.cutout=0,recipe.precision=W32A32]")
    budget = resolve_budget(spec, PRESETS)
    assert budget.name == "quick[recipe.cutout=0.0,recipe.precision=W32A32]"
    assert budget.recipe == {"cutout": 0.0, "precision": "W32A32"}
    assert QUICK.recipe == {}


def test_values_of_a_recipe_are_checked() -> None:
    with pytest.raises(BadValue, match=r"'recipe\.lr' is 'fast'; it takes a number"):
        resolve_budget(Spec("quick", {"recipe.lr": "fast"}), PRESETS)
    with pytest.raises(UnknownName, match="unknown optimiser 'sdg'; did you mean sgd"):
        resolve_budget(Spec("quick", {"recipe.optimiser": "sdg"}), PRESETS)
    with pytest.raises(UnknownName, match="unknown precision 'W1A2'; did you mean"):
        resolve_budget(Spec("quick", {"recipe.precision": "W1A2"}), PRESETS)
    with pytest.raises(UnknownName, match=r"'recipe\.epochs'"):
        resolve_budget(Spec("quick", {"recipe.epochs": "3"}), PRESETS)


def test_unknown_budgets_and_fields() -> None:
    with pytest.raises(UnknownName, match="unknown budget 'quik'; did you mean quick"):
        resolve_budget(Spec("quik"), PRESETS)
    with pytest.raises(UnknownName, match=r"'cells'; did you mean (search|final)\.cells"):
        resolve_budget(Spec("quick", {"cells": "5"}), PRESETS)
    with pytest.raises(UnknownName, match="unknown field of budget quick 'name'"):
        resolve_budget(Spec("quick", {"name": "mine"}), PRESETS)


def test_budget_fields_cover_the_scales() -> None:
    assert budget_fields(QUICK)["search.cells"] == 3
    assert set(budget_fields(QUICK)) == {
        *("passes", "batch_size", "search_fraction", "valid_fraction", "epochs", "train_batch"),
        "train_seeds",
        *("search.cells", "search.channels", "search.image"),
        *("final.cells", "final.channels", "final.image"),
        *("recipe.lr", "recipe.momentum", "recipe.weight_decay", "recipe.clip", "recipe.cutout"),
        *("recipe.label_smoothing", "recipe.auxiliary", "recipe.precision", "recipe.optimiser"),
        *("recipe.first", "recipe.teacher"),
    }


@pytest.mark.parametrize(
    "name", ["digits", "cifar10", "imagenet", "imagenet:/x", "imagefolder:a:b"]
)
def test_datasets_that_are_known(name: str) -> None:
    check_dataset(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar", "unknown dataset 'cifar'; did you mean cifar10 or cifar100?"),
        ("imagefolder", "dataset 'imagefolder' needs a folder: write imagefolder:PATH"),
        ("imagefolder:", "dataset 'imagefolder' needs a folder: write imagefolder:PATH"),
        ("imagenet:", "dataset 'imagenet:' ends in a colon: write imagenet or imagenet:PATH"),
        ("digits:/x", "dataset 'digits' takes no path, and '/x' was given: write digits"),
    ],
)
def test_datasets_that_are_not(name: str, message: str) -> None:
    with pytest.raises((UnknownName, BadValue)) as error:
        check_dataset(name)
    assert str(error.value) == message


def test_a_field_that_may_be_open_can_be_opened() -> None:
    (spec,) = parse_specs("quick[search.image=none,passes=none]")
    budget = resolve_budget(spec, BUDGETS)
    assert (budget.search.image, budget.passes) == (None, None)
    assert budget.final == BUDGETS["quick"].final
    for field in ("batch_size", "search_fraction", "valid_fraction"):
        with pytest.raises(
            BadValue, match=f"'{field}' is 'none'; it takes a [a-z ]*number [a-z0-9 ,]*$"
        ):
            resolve_budget(parse_specs(f"quick[{field}=none]")[0], BUDGETS)


def test_paper_leaves_batch_and_split_to_the_method_and_common_does_not() -> None:
    from bnas_bench.core.budget import Protocol

    paper, common = BUDGETS["paper"], BUDGETS["common"]
    with pytest.raises(BadValue, match="budget paper leaves batch and split to the method"):
        paper.protocol  # noqa: B018
    assert paper.under(Protocol(64, 0.5, 0.5)).protocol == Protocol(64, 0.5, 0.5)
    assert common.under(Protocol(64, 0.5, 0.5)).protocol == Protocol(512, 0.5, 0.05)
    (spec,) = parse_specs("paper[batch_size=96]")
    assert resolve_budget(spec, BUDGETS).under(Protocol(64, 0.5, 0.5)).batch_size == 96
