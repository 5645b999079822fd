"""Accumulators: statistics of a series that comes in parts, each a `torchmetrics.Metric`."""
