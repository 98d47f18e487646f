"""The contracts of spaces and strategies, the meter, checkpoints, and what searches share."""
