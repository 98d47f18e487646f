"""Records as tables: reading them, grouping them, statistics."""
