"""Finding and making methods and spaces from text; their contract."""
