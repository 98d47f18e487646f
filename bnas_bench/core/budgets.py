"""The named budgets: what a trial may spend, at which scale, and how the winner is trained.

A `smoke` trial takes under 20 s on 2 CPU cores, a `quick` one under three minutes on one (on nas-bnn
longer); `standard` has the passes of DARTS' own 50 epochs, in batches that leave DARTS, CP-NAS and DCP-NAS
at least half of their papers' steps, and is meant for an hour on one GPU (not measured yet). `paper` leaves
every method its paper's epochs, batches and split, and every space its paper's scale; `common` the same but
for one batch and split for all, those of CP-NAS and DCP-NAS.
"""

from bnas_bench.core.budget import Budget, Scale

BUDGETS: dict[str, Budget] = {
    budget.name: budget
    for budget in (
        Budget(
            name="smoke",
            passes=3_000,
            batch_size=32,
            search_fraction=0.1,
            valid_fraction=0.02,
            search=Scale(cells=2, channels=4, image=8),
            final=Scale(cells=2, channels=4, image=8),
            epochs=2,
            train_batch=64,
        ),
        Budget(
            name="quick",
            passes=30_000,
            batch_size=32,
            search=Scale(cells=3, channels=4, image=8),
            final=Scale(cells=4, channels=12, image=8),
            epochs=12,
            train_batch=64,
        ),
        Budget(
            name="standard",
            passes=2_500_000,
            batch_size=128,
            search=Scale(cells=6, channels=16),
            final=Scale(cells=10, channels=54),
            epochs=100,
        ),
        Budget(name="common", passes=None, batch_size=512),
        Budget(
            name="paper",
            passes=None,
            batch_size=None,
            search_fraction=None,
            valid_fraction=None,
        ),
    )
}
