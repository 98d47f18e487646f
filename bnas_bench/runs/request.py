"""A grid as it is asked for: texts in, trials out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue
from bnas_bench.core.options import Few, Grid, Seed, form_of
from bnas_bench.data.names import check_dataset, split_datasets
from bnas_bench.plugins.making import Choice, choose
from bnas_bench.plugins.registry import Kind, names
from bnas_bench.plugins.spec import Spec, parse_options, parse_specs, resolve_budget
from bnas_bench.runs.feasible import check_trials
from bnas_bench.runs.trial import Trial, expand, judged_by_tables

Texts = str | Sequence[str]
"""One text, or several; each may be a list of its own, split at commas: `random,dcpnas[lam=0]`."""


def requested(
    methods: Texts,
    spaces: Texts,
    datasets: Texts,
    budgets: Texts,
    seeds: int,
    seed: int = 0,
    settings: Sequence[str] = (),
    *,
    train: bool = False,
    train_seeds: int = 1,
) -> list[Trial]:
    """The trials of a grid, of which each can run here.

    Args:
        methods, spaces: `all` is every one.
        seed: what all seeds derive from.
        settings: options of every method, `key=value` each.
        train: whether to train what is found also where a table knows what it reaches.
        train_seeds: trainings of what each search finds: the field of every budget.

    Raises:
        BenchError: if a name or a value is wrong, or a trial makes no sense or does not fit.
    """
    for what, value, kind in (
        ("seeds", seeds, Grid),
        ("seed", seed, Seed),
        ("train_seeds", train_seeds, Few),
    ):
        form = form_of(kind)
        assert form is not None
        form.check(value, what)
    parts = {"method": methods, "space": spaces, "dataset": datasets, "budget": budgets}
    for what, texts in parts.items():
        if not _listed(texts):
            raise BadValue(f"the grid names no {what}, and so no trial: give it one or more")
    common = parse_options((pair for text in settings for pair in text.split(",")), "--set")
    known = [name for text in _listed(datasets) for name in split_datasets(text)]
    for name in known:
        check_dataset(name)
    trials = expand(
        _choices("method", methods, common),
        _choices("space", spaces, {}),
        known,
        [resolve_budget(_trained(spec, train_seeds), BUDGETS) for spec in _specs(budgets)],
        seeds,
        seed,
    )
    check_trials(trials)
    return trials if train else judged_by_tables(trials)


def _trained(budget: Spec, train_seeds: int) -> Spec:
    """The budget with so many trainings; 1 leaves it as it is.

    Raises:
        BadValue: if it says another number itself.
    """
    if train_seeds == 1:
        return budget
    said = budget.options.get("train_seeds", train_seeds)
    if str(said) != str(train_seeds):
        raise BadValue(f"budget '{budget}' and {train_seeds} training seeds: say one of the two")
    return replace(budget, options={**budget.options, "train_seeds": str(train_seeds)})


def _listed(texts: Texts) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts


def _specs(texts: Texts) -> list[Spec]:
    return [spec for text in _listed(texts) for spec in parse_specs(text)]


def _choices(kind: Kind, texts: Texts, common: Mapping[str, str]) -> list[Choice]:
    """The plug-ins that were named, with all their options."""
    specs = _specs(texts)
    if "all" in (spec.name for spec in specs):
        if len(specs) > 1 or specs[0].options:
            raise BadValue(
                f"'{','.join(_listed(texts))}' names all {kind}s and more; write all by itself, "
                "and options for all of them with --set"
            )
        specs = [Spec(name) for name in names(kind)]
    return [choose(kind, spec, common) for spec in specs]
