"""bnas-bench: compare strategies that search 1-bit convolutional networks, fairly."""

__version__ = "0.1.0"
