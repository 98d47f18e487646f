"""The statistics of the benchmark: intervals, tests, ranks and curves, on numpy and scipy.

What cannot be had is a `NotEnough` with the reason in one sentence, never NaN. Values that are not
finite raise `BadValue`. The same input and `seed` give the same result.
"""

from bnas_bench.analysis.stats.best import Standing, standing
from bnas_bench.analysis.stats.bootstrap import (
    FEWEST_RUNS,
    RESAMPLES,
    Scores,
    interquartile_mean,
    probability_of_improvement,
)
from bnas_bench.analysis.stats.components import (
    Components,
    components,
    images_component,
)
from bnas_bench.analysis.stats.contrasts import (
    POWER,
    Contrast,
    contrast,
    detectable,
    holm,
    rank_sum,
    relative,
    seeds_needed,
    seeds_pair,
)
from bnas_bench.analysis.stats.curves import Band, Curve, anytime, hypervolume, performance_profile
from bnas_bench.analysis.stats.images import by_image
from bnas_bench.analysis.stats.means import Summary, summary
from bnas_bench.analysis.stats.ranks import (
    CriticalDifference,
    critical_difference,
    rank_correlation,
)
from bnas_bench.analysis.stats.values import LEVEL, Better, Estimate, Interval, NotEnough
