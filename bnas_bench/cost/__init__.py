"""What a network costs: a ledger of MACs and bits per layer, and the conventions over it."""

from bnas_bench.cost.conventions import OPS, costs, ops
from bnas_bench.cost.ledger import Layer, Ledger, ledger
from bnas_bench.cost.memory import MEMORY, memory
