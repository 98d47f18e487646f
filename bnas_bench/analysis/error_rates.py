"""Whether the statistics of a report keep the error rates that they promise: simulated, as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import gamma, norm

from bnas_bench.analysis.stats import (
    Components,
    Contrast,
    Estimate,
    NotEnough,
    Standing,
    by_image,
    components,
    contrast,
    holm,
    interquartile_mean,
    probability_of_improvement,
    relative,
    seeds_pair,
    standing,
    summary,
)
from bnas_bench.analysis.stats.values import Array

SEEDS = (3, 5, 10)
METHODS = 10
SD = 2.0
"""Points of accuracy over the seeds of a method, where all spread alike."""

LEVEL = 90.0
"""Accuracy of the methods that are alike, in per cent."""

Rule = Callable[[Mapping[str, Array]], set[str]]
"""Of the scores of methods, those that it says are not the best."""


def draws(kind: str, rng: np.random.Generator, *shape: int) -> Array:
    """Values of mean 0 and standard deviation 1: normal, or with a long tail of bad ones."""
    return rng.normal(size=shape) if kind != "skewed" else 1 - rng.exponential(size=shape)


def methods(
    kind: str, rng: np.random.Generator, n: int, *, shift: float = 0.0, k: int = METHODS
) -> dict[str, Array]:
    """The accuracies of k methods, of which the first lies `shift` above the others.

    Args:
        kind: `normal`; `skewed`; `unequal`, spreads from a half to eight points; `wide`, one of eight
            and the others of one; `collapsed`, one constant at 10 %.
    """
    sd = np.full(k, SD)
    if kind == "unequal":
        sd = np.geomspace(0.5, 8, k)
    if kind == "wide":
        sd = np.array([8.0, *[1.0] * (k - 1)])
    scores = {str(i): LEVEL + sd[i] * draws(kind, rng, n) for i in range(k)}
    scores["0"] = scores["0"] + shift
    if kind == "collapsed":
        scores[str(k - 1)] = np.full(n, 10.0)
    return scores


def disjoint(scores: Mapping[str, Array]) -> set[str]:
    """Before: a winner is one whose t interval touches no other; none where one has no interval."""
    known = {name: summary(values) for name, values in scores.items()}
    intervals = {
        name: one.interval
        for name, one in known.items()
        if not isinstance(one, NotEnough) and not isinstance(one.interval, NotEnough)
    }
    if len(intervals) < len(scores):
        return set()
    best = max(intervals, key=lambda name: intervals[name].lower)
    rivals = scores.keys() - {best}
    is_clear = all(intervals[name].upper < intervals[best].lower for name in rivals)
    return set(rivals) if is_clear else set()


def pairs(scores: Mapping[str, Array]) -> set[str]:
    """What could be taken instead: Welch's t test of all pairs, with Holm's correction."""
    found = {
        (a, b): contrast(dict(enumerate(scores[a])), dict(enumerate(scores[b])), pair=False)
        for a, b in combinations(scores, 2)
    }
    known = {names: one for names, one in found.items() if isinstance(one, Contrast)}
    adjusted = holm({names: one.p for names, one in known.items()})
    return {
        names[one.difference > 0]
        for names, one in known.items()
        if not isinstance(p := adjusted[names], NotEnough) and p <= 0.05
    }


def excluded(scores: Mapping[str, Array]) -> set[str]:
    """Now: `standing`."""
    found = standing(scores)
    return set(found.excluded) if isinstance(found, Standing) else set()


RULES: Mapping[str, Rule] = {
    "disjoint intervals (before)": disjoint,
    "Welch, Holm, all pairs": pairs,
    "standing (now)": excluded,
}


def family_error(rule: Rule, kind: str, n: int, times: int, k: int = METHODS) -> float:
    """How often any of the methods that are best, all alike, is said not to be."""
    rng = np.random.default_rng(n)
    wrong = 0
    for _ in range(times):
        scores = methods(kind, rng, n, k=k)
        worse = {str(k - 1)} if kind == "collapsed" else set[str]()
        wrong += bool(rule(scores) - worse)
    return wrong / times


def power(rule: Rule, kind: str, n: int, shift: float, times: int, k: int = METHODS) -> float:
    """How often one that lies `shift` above all others is named, or below them is said to be worse."""
    rng = np.random.default_rng(n)
    found = 0
    for _ in range(times):
        scores = methods(kind, rng, n, shift=shift, k=k)
        others = scores.keys() - {"0"}
        found += rule(scores) == others if shift > 0 else "0" in rule(scores)
    return found / times


Covers = Callable[[str, np.random.Generator, int], bool | None]
"""Whether the interval of one sample of n values holds what is true; None where there is none."""


def _holds(found: Estimate | NotEnough, truth: float) -> bool | None:
    if isinstance(found, NotEnough) or isinstance(found.interval, NotEnough):
        return None
    return found.interval.lower <= truth <= found.interval.upper


def _percentiles(resampled: Array, truth: float) -> bool:
    lower, upper = np.quantile(resampled, [0.025, 0.975])
    return bool(lower <= truth <= upper)


def _resample(x: Array, rng: np.random.Generator) -> Array:
    """(resamples, n)."""
    return x[rng.integers(len(x), size=(500, len(x)))]


def _middle(x: Array) -> Array:
    cut = x.shape[-1] // 4
    return np.sort(x)[..., cut : x.shape[-1] - cut].mean(axis=-1)


LOWER, UPPER = gamma(1).ppf([0.25, 0.75])
MIDDLE = 1 - 2 * float(gamma(1).expect(lambda x: x, lb=LOWER, ub=UPPER))
"""The interquartile mean of `draws` that are skewed."""


def _mean_now(kind: str, rng: np.random.Generator, n: int) -> bool | None:
    found = summary(draws(kind, rng, n))
    assert not isinstance(found, NotEnough), "there are values"
    return _holds(Estimate(found.mean, found.interval), 0.0)


def _iqm_before(kind: str, rng: np.random.Generator, n: int) -> bool:
    resampled = _middle(_resample(draws(kind, rng, n), rng))
    return _percentiles(resampled, MIDDLE if kind == "skewed" else 0.0)


def _iqm_now(kind: str, rng: np.random.Generator, n: int) -> bool | None:
    found = interquartile_mean({"": draws(kind, rng, n)})
    return _holds(found, MIDDLE if kind == "skewed" else 0.0)


def _two(kind: str, rng: np.random.Generator, n: int, shift: float = 0.0) -> tuple[Array, Array]:
    x, y = LEVEL + SD * draws(kind, rng, 2, n)
    return x + shift, y


def _ri_before(kind: str, rng: np.random.Generator, n: int) -> bool:
    m, r = (_resample(x, rng).mean(axis=1) for x in _two(kind, rng, n))
    return _percentiles(100 * (m / r - 1), 0.0)


def _ri_now(kind: str, rng: np.random.Generator, n: int) -> bool | None:
    return _holds(relative(*_two(kind, rng, n)), 0.0)


BETTER = 0.9
"""The probability of improvement that is simulated."""


def _apart(kind: str, rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    # Of two exponentials that differ by d, one is the larger with 1 - exp(-d) / 2.
    skewed = SD * float(-np.log(2 * (1 - BETTER)))
    return _two(kind, rng, n, skewed if kind == "skewed" else SD * float(norm.ppf(BETTER)) * 2**0.5)


def _better_before(kind: str, rng: np.random.Generator, n: int) -> bool | None:
    x, y = _apart(kind, rng, n)
    drawn = _resample(x, rng)[:, :, None] > _resample(y, rng)[:, None]
    shares = drawn.mean(axis=(1, 2))
    return None if np.ptp(shares) == 0 else _percentiles(shares, BETTER)


def _better_now(kind: str, rng: np.random.Generator, n: int) -> bool | None:
    x, y = _apart(kind, rng, n)
    return _holds(probability_of_improvement({"": x}, {"": y}), BETTER)


def _difference(kind: str, rng: np.random.Generator, n: int, shared: float) -> bool | None:
    """The interval of a contrast between two of `METHODS`, paired where `seeds_pair` says so."""
    seeds = shared**0.5 * draws(kind, rng, n)
    rows = [
        dict(enumerate(seeds + (1 - shared) ** 0.5 * draws(kind, rng, n))) for _ in range(METHODS)
    ]
    found = contrast(rows[0], rows[1], pair=seeds_pair(rows))
    return None if isinstance(found, NotEnough) else _holds(Estimate(0, found.interval), 0.0)


IMAGES = 360
"""Test images of the digits."""


def _over_images(kind: str, rng: np.random.Generator, n: int) -> bool | None:
    """Two sets of n networks that are alike, on images of which some are hard for all of them."""
    image = 1.4 + 0.7 * draws(kind, rng, IMAGES)
    right = image + 0.7 * draws(kind, rng, 2, n, IMAGES) > 0
    found = by_image(*right.mean(axis=1))
    return None if isinstance(found, NotEnough) else _holds(Estimate(0, found.interval), 0.0)


SEARCH_SD, TRAINING_SD, TRAININGS = 2.0, 1.0, 3
"""Of the searches and the trainings that are parted, and the trainings of each search."""


def _trained(kind: str, rng: np.random.Generator, n: int) -> Components:
    searches = SEARCH_SD * draws(kind, rng, n)
    return components(searches[:, None] + TRAINING_SD * draws(kind, rng, n, TRAININGS))


COVERS: Mapping[str, Covers] = {
    "mean, t": _mean_now,
    "interquartile mean, bootstrap (before)": _iqm_before,
    "interquartile mean, trimmed t (now)": _iqm_now,
    "RI, bootstrap (before)": _ri_before,
    "RI, Fieller (now)": _ri_now,
    f"P(better) = {BETTER}, bootstrap (before)": _better_before,
    f"P(better) = {BETTER}, Newcombe (now)": _better_now,
    "difference of two, paired or not (now), seeds share nothing": (
        lambda kind, rng, n: _difference(kind, rng, n, 0.0)
    ),
    "the same, seeds share 0.8 of the variance": (
        lambda kind, rng, n: _difference(kind, rng, n, 0.8)
    ),
    f"difference over {IMAGES} images, of n networks each (now)": _over_images,
    f"sd of n searches with {TRAININGS} trainings, Williams (now)": (
        lambda kind, rng, n: _holds(_trained(kind, rng, n).search, SEARCH_SD)
    ),
    "sd of their trainings, chi-squared (now)": (
        lambda kind, rng, n: _holds(_trained(kind, rng, n).training, TRAINING_SD)
    ),
}


def coverage(covers: Covers, kind: str, n: int, times: int) -> tuple[float, float]:
    """How often the interval holds the truth, of the samples that have one; and how many have none."""
    rng = np.random.default_rng(n)
    found = [covers(kind, rng, n) for _ in range(times)]
    known = [one for one in found if one is not None]
    return float(np.mean(known)) if known else float("nan"), 1 - len(known) / times


TIMES, FAMILIES, POWERS = 1000, 400, 100
"""Simulated samples of a coverage, a family error and a power."""

HEAD = f"""# What the statistics promise, and what they keep

Written by `make statistics`, in some two minutes of one core.

- **Best and worse.** While a test says that the methods left are not alike, the worst of them is excluded
  as best (a model confidence set); who alone stays is the winner. All methods that are truly best stay
  with 95 %, or nearly so where three seeds spread eight times as far as others
  (`bnas_bench/analysis/stats/best.py`). Every planned trial must be there; where trials failed, a second
  verdict counts them as chance.
- **Contrasts with random** are Welch's, paired by seed where the seeds move all methods alike and pairing
  gains more than it costs; Holm's correction for all methods that were asked about, also those that have
  no p; exact rank sums with the least p that they can give; two one-sided tests for "equal".
- **Intervals**: t for means, from three seeds on and within the scale; Tukey and McLaughlin's for the
  interquartile mean; Newcombe's for P(better); Fieller's for RI, which takes the average of at least 20
  drawn architectures. Over several tasks a bootstrap, from ten runs of each on; tasks count alike.
- **Networks over images**: where records have predictions, the networks of two methods are also compared
  image by image, in a table of its own: the t interval of the differences over the test images
  (`bnas_bench/analysis/stats/images.py`). It conditions on the networks, and tells these apart, not the
  methods that found them.
- **Ingredients**: a variant (`dcpnas[lam=0]`) is compared with the same method with its defaults by the
  same tests; Holm's correction is for all variants of the setting.
- **Sources of spread**: `run --train-seeds R` trains what each search finds R times; the accuracy of a trial
  is their mean, and n counts searches. The analysis of variance parts the standard deviation of searches
  (Williams' interval) from that of trainings (chi-squared's), and crosses networks with images for that of
  the test images (`bnas_bench/analysis/stats/components.py`). A training seed belongs to its search and is
  the same for all methods: one that all searches shared would move them all alike, and no number of
  searches would average it out. Of values with a long tail these intervals hold less often, as below.
- **Rank correlations** are within one supernet: where a table judges a trial, its record says how each
  supernet ranks a hundred architectures of the table, and reports average Kendall's tau-b over supernets.
- **What is not said**: rank correlations between searches' estimates and the truth over the seeds of a
  method, as each comes from another supernet; and nothing about other datasets or budgets.
- **Power**: beside each verdict and by `bnas-bench power NAME --difference X`.

Below, error rates are simulated where the truth is known: {METHODS} methods, each with n seeds whose
accuracies have a standard deviation of {SD:g} points. *Before* is what reports did until 2026-11-28.
"""


def statistics_page() -> str:
    """The page in Markdown; simulates all of it."""
    return "\n".join([HEAD, *_coverages(), *_errors(), *_powers()])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _header(*names: str) -> list[str]:
    columns = [f"{name} n = {n}".strip() for name in names for n in SEEDS]
    return [_line("", *columns), _line("---", *["---:"] * len(columns))]


def _coverages() -> Iterator[str]:
    yield (
        f"## Coverage of intervals of 95 %\n\nShare of {TIMES:,} samples whose interval holds the truth, "
        "normal values and skewed ones (exponential, the long tail below); in brackets the share that "
        "has no interval. The standard error is at most 0.01.\n"
    )
    yield from _header("normal,", "skewed,")
    for name, covers in COVERS.items():
        cells = []
        for kind in ("normal", "skewed"):
            for n in SEEDS:
                held, none = coverage(covers, kind, n, TIMES)
                cells.append("none" if none == 1 else f"{held:.2f}" + f" ({none:.2f})" * (none > 0))
        yield _line(name, *cells)
    yield ""


KINDS = ("normal", "skewed", "unequal", "wide", "collapsed")


def _errors() -> Iterator[str]:
    yield (
        "## Family error\n\nAll methods are alike: the share of "
        f"{FAMILIES} grids in which any of them is said not to be best, to be at most 0.05 (standard error "
        "0.01). `unequal`: spreads from 0.5 to 8 points; `wide`: one of 8, the others of 1; `collapsed`: one "
        "is constant at chance, the others alike.\n"
    )
    yield from _header("")
    for name, rule in RULES.items():
        for kind in KINDS:
            cells = [f"{family_error(rule, kind, n, FAMILIES):.3f}" for n in SEEDS]
            yield _line(f"{name}: {kind}", *cells)
    yield ""


def _powers() -> Iterator[str]:
    yield (
        f"## Power\n\nOne method lies above all others by so many points: the share of {POWERS} grids in "
        "which it is named the winner; or below: in which it is said to be worse (standard error at most "
        "0.05).\n"
    )
    yield from _header("")
    for name, rule in RULES.items():
        for kind, shift in POWERED:
            cells = [f"{power(rule, kind, n, shift, POWERS):.2f}" for n in SEEDS]
            yield _line(f"{name}: {kind}, {shift:+g}", *cells)
    yield ""


POWERED: Sequence[tuple[str, float]] = (
    *(("normal", 2.0), ("normal", 4.0), ("normal", 8.0), ("collapsed", 4.0), ("normal", -6.0)),
)
