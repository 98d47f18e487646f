"""Which planted tasks a method's idea covers, and why it does not cover the others.

A method that has no entry here is held to `GENERAL`, or, if it asks for scores, to `BY_SCORES`: a search
that trains each candidate by itself sees nine of them in the passes of the general tasks.
"""

from __future__ import annotations

from collections.abc import Mapping

from bnas_bench.plugins.checks.planted_tasks import TASKS

BASELINE = "random"

GENERAL = ("destroys", "reach", "child")
BY_SCORES = ("climb",)

LIMITED = ("cost", "afford")
"""Tasks whose networks may cost no more than so much."""

COVERS: Mapping[str, tuple[str, ...]] = {
    "bars": (*GENERAL, "cost"),
    "bats": GENERAL,
    "bnas": GENERAL,
    "cpnas": ("longer",),
    "darts": GENERAL,
    "dcpnas": GENERAL,
    "evolution": ("longer", "climb"),
    "hyperband": ("halve",),
    "nasbnn": ("afford",),
    "pcdarts": GENERAL,
    "predictor": ("few",),
    "proxy": ("distinct",),
    BASELINE: tuple(task for task in TASKS if task != "cost"),
}

OF_TASKS: Mapping[str, str] = {
    **dict.fromkeys(LIMITED, "its search knows no cost"),
    "longer": "`destroys` again, for searches that need more passes",
    "distinct": "`destroys` again, for searches that see no labels",
    "few": "for methods that predict scores from a few of them",
    "climb": "for methods that ask for scores, hundreds of them",
    "halve": "for methods that say how long to train",
}
"""Whom a task is for that is none of the general ones."""

SHORT = "its passes hold nine trainings: `{}` is for such searches"
SIX = "27 pairs are sampled, and its passes hold six batches for each; in `longer` 90 pairs have 15"
POPULATION = "its passes hold {} evaluations, half of them the first population"
TOLD = "four epochs tell nearly all, so that there is nothing to save"
GIVEN_AWAY = "the largest network is what is planted, and its first population holds it"
UNSEEN = "it sees no labels, and noise looks as rich as a signal"

REASONS: Mapping[str, Mapping[str, str]] = {
    "bars": {"afford": "`cost` again, for searches that evaluate candidates"},
    "cpnas": {
        "destroys": SIX,
        "reach": SIX,
        "child": "by its Eq. (1) with beta_P = 2 a better Child lowers a score (docs/findings.md)",
    },
    "evolution": {
        **dict.fromkeys(GENERAL, POPULATION.format(20)),
        "few": POPULATION.format(36),
    },
    "hyperband": {**dict.fromkeys(GENERAL, SHORT.format("halve")), "few": TOLD, "climb": TOLD},
    "nasbnn": {
        **dict.fromkeys(("destroys", "child"), GIVEN_AWAY),
        "cost": "its passes hold twelve evaluations, eight the first population; in `afford` it is 54",
        "reach": "its teacher is the largest network, and none sees more than a third",
    },
    "predictor": {
        **dict.fromkeys(GENERAL, SHORT.format("few")),
        "climb": "`few` again, with more scores than its process fits in seconds",
    },
    "proxy": dict.fromkeys(GENERAL, UNSEEN),
    BASELINE: {"cost": "to compare with: nine trainings find no more there than draws"},
}
"""By method and task, where it is not that of `OF_TASKS`."""


def left_out(method: str, task: str, *, by_scores: bool = False) -> str | None:
    """Why a task is none that a method's idea covers; None where it is one.

    Args:
        by_scores: whether it asks for scores, of a method that has no entry here.
    """
    if task in COVERS.get(method, BY_SCORES if by_scores else GENERAL):
        return None
    by_task = {**dict.fromkeys(GENERAL, SHORT.format(*BY_SCORES)), **OF_TASKS}
    return REASONS.get(method, {}).get(task, by_task[task])
