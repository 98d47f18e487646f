"""NAS-BNN's stages of blocks."""
