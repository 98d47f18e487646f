"""The tests mirror the map of the package; what they share lies in `tests.helpers`."""
