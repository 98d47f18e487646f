"""1-bit layers, and the base classes of the networks that are built from them."""
