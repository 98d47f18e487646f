"""BARS' stages of cells."""
