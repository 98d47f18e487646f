"""What a network costs: a ledger of MACs and bits per layer, the conventions over it, latency."""

from bnas_bench.cost.conventions import MEMORY, OPS, costs, memory, ops
from bnas_bench.cost.latency import simulated_latency
from bnas_bench.cost.ledger import Layer, Ledger, ledger

__all__ = [
    "MEMORY",
    "OPS",
    "Layer",
    "Ledger",
    "costs",
    "ledger",
    "memory",
    "ops",
    "simulated_latency",
]
