"""A program, its file and its verifier."""
