"""DARTS' cells."""
