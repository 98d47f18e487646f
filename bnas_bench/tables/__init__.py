"""Ground truth: every architecture of a small space, trained and tested at several seeds and precisions."""
