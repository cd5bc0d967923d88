"""Runs over benchmarks, and their scores."""

from pixsearch.evaluation.benchmarks import BENCHMARKS, open_benchmark
from pixsearch.evaluation.runner import Workbench, evaluate

__all__ = ["BENCHMARKS", "Workbench", "evaluate", "open_benchmark"]
