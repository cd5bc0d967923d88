"""Evaluate a checkpoint under one policy, or with `-m policy=a,b` under several."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import EvaluateOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="evaluate")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(EvaluateOptions):
        options = from_omegaconf(EvaluateOptions, composed)
        from pixsearch.evaluation import evaluate

        evaluate(options)


if __name__ == "__main__":
    with one_line_errors(EvaluateOptions):
        main()
