"""Binary networks as bits: the packed file, the XNOR-popcount kernels, the engine that runs it, latency."""
