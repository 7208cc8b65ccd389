"""Dataset loaders: one folder each, reached by registered name."""
