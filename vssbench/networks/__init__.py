"""Image segmentation networks, split into feature and classifier, and their weights."""
