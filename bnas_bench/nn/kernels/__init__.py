"""The inner loops of training, where torch's own take several times as long on a CPU.

Each function here has a *plain* form of torch operations, which says what it computes, and a fast one:

- `ste_sign`, `prelu`: one vectorised pass forward, one or two backward;
- `prelu_sign_of_norm`, `prelu_of_norm_sum`: a batch normalisation and what follows it, in numba, so that
  a map crosses memory once instead of four times;
- `convolve`: no tap of a kernel that reaches no pixel, and in numba the depthwise weight gradient.

The fast form runs where it applies (`fast`): float32 maps on a CPU, no forward-mode derivatives. A
gradient that is itself differentiated (`create_graph`) is the plain form's, computed anew; who knows
that beforehand says `with plain():`, which is cheaper. The two forms agree to rounding: where a
normalised value lies within some 1e-6 of zero, its sign may differ.
"""

from bnas_bench.nn.kernels.activations import prelu, ste_sign
from bnas_bench.nn.kernels.convolution import convolve
from bnas_bench.nn.kernels.forms import fast, plain
from bnas_bench.nn.kernels.normalised import (
    Norm,
    normalise,
    prelu_of_norm_sum,
    prelu_sign_of_norm,
)

__all__ = [
    "Norm",
    "convolve",
    "fast",
    "normalise",
    "plain",
    "prelu",
    "prelu_of_norm_sum",
    "prelu_sign_of_norm",
    "ste_sign",
]
