"""Tables, figures and the page, made from `results/` alone."""
