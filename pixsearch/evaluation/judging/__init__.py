"""Verdicts on saved answers: `scripts/judge.py`."""

from pixsearch.evaluation.judging.run import judge_predictions

__all__ = ["judge_predictions"]
