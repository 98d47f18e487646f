"""Datasets, image trees, batches and augmentation on the device."""
