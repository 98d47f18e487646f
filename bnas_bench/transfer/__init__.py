"""Downstream tasks: what a found network is worth as a backbone, by one recipe for all."""
