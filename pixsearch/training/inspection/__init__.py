"""What training data look like to the model: a page of examples, and a table of statistics."""

from pixsearch.training.inspection.inspect import inspect_data

__all__ = ["inspect_data"]
