"""Networks designed by hand."""
