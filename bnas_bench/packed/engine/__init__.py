"""Kernels that run a program."""
