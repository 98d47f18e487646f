"""Larq Compute Engine's 3x3 convolution of 256 channels on 56x56 pixels, in a Python of its own.

Larq wants a NumPy below 2, this project one from 2 on: so the benchmark starts this file with the
Python that `BNAS_BENCH_LCE` names. Each line on its standard input is answered by another,
after one run on one thread.

    python3.11 -m venv .venv-lce
    .venv-lce/bin/pip install "larq-compute-engine[tensorflow]==0.16.0" larq tf_keras "numpy<2"
    BNAS_BENCH_LCE=.venv-lce/bin/python make bench
"""

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import larq
import larq_compute_engine as lce
import numpy as np
import tensorflow as tf

layer = larq.layers.QuantConv2D(
    256,
    3,
    padding="same",
    pad_values=1,
    use_bias=False,
    input_quantizer="ste_sign",
    kernel_quantizer="ste_sign",
    kernel_constraint="weight_clip",
)
model = tf.keras.Sequential([tf.keras.layers.InputLayer((56, 56, 256)), layer])
interpreter = lce.testing.Interpreter(lce.convert_keras_model(model), num_threads=1)
image = np.random.default_rng(0).normal(size=(1, 56, 56, 256)).astype(np.float32)
interpreter.predict(image)
for _ in sys.stdin:
    interpreter.predict(image)
    sys.stdout.write("\n")
    sys.stdout.flush()
