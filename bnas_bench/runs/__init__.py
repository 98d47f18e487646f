"""A trial from search to record; grids of them; the store."""
