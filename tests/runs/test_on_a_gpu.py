"""A whole trial on a GPU that is none: search, inheritance, training, test, latency, packing."""

import pytest

from bnas_bench.core.budget import Budget
from bnas_bench.plugins.checks.contract import TINY
from bnas_bench.plugins.registry import find
from bnas_bench.runs.run import run_trial
from bnas_bench.runs.store import Store
from bnas_bench.runs.trial import Trial
from tests.helpers.fake_gpu import NAME, fake_gpu

SMALL = Budget("gpu", 300, 16, 0.03, 0.02, search=TINY, final=TINY, epochs=1, train_batch=256)


@pytest.mark.slow
def test_a_trial_runs_on_a_gpu(store: Store) -> None:
    method, space = find("method", "nasbnn"), find("space", "bnas-201")
    options = method.defaults | {"finetune": (1,)}
    trial = Trial(method, options, space, space.defaults, "digits", SMALL, 0)
    with fake_gpu() as gpu:
        record = run_trial(trial, store, device="cuda")
    assert (record["status"], record["reason"]) == ("ok", None)
    assert (record["device"], record["device_name"]) == ("cuda", NAME)
    assert (record["numerics"]["tf32"], record["numerics"]["cudnn_deterministic"]) == (False, True)
    assert record["packed_reason"] is None
    assert record["inherited_test_accuracy"] > 0
    assert gpu.in_every_batch() == []
