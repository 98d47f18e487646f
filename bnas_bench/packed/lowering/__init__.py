"""From a network to a program of bits."""
