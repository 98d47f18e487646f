"""NAS-Bench-201's cell and skeleton, 1-bit: the cell, its canonical form, network and supernet."""
