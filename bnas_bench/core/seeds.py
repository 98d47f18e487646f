"""Seeds: every consumer of randomness has a generator of its own, hashed from what it is for."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def generator(root: int, *purpose: str | int) -> np.random.Generator:
    """The generator for one purpose, such as `("search", "darts-binary", "cpnas", 0)`.

    It depends on its own arguments alone: a new method, or one more draw elsewhere, shifts nobody
    else's numbers. 1 and "1" are different purposes.
    """
    identity = json.dumps([root, *purpose]).encode()
    return np.random.Generator(np.random.PCG64(int(hashlib.sha256(identity).hexdigest(), 16)))
