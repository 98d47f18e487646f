"""What every trial would else do for itself; the server that forks their processes imports it once."""

from __future__ import annotations

import gc

import pyarrow.dataset
import pyarrow.parquet  # noqa: F401 (reads a table, by pyarrow.dataset)
import torch._dynamo  # noqa: F401 (the first optimiser loads it)

import bnas_bench.runs.run  # noqa: F401
from bnas_bench.data.datasets import digits

digits()
gc.collect()
gc.freeze()  # a collection in a trial would walk through all of this, and so copy its memory
