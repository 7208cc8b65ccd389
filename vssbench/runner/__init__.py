"""Executing experiments: plan, feed, evaluate, record. Named runner so that `vssbench.run` is the function."""
