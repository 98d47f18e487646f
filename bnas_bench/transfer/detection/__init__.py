"""A found network as the backbone of an object detector: data, model, training, and how it is judged."""
