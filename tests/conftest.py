"""One thread for all tests: deterministic, and no spinning where the cores are shared."""

import torch

torch.set_num_threads(1)
