"""The main job, end to end, on the miniature world: `python scripts/demo.py miniature.seed=7`."""

import sys

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import DemoOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="demo")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(DemoOptions):
        options = from_omegaconf(DemoOptions, composed)
        from pixsearch.miniature.demo import run_demo

        code = run_demo(options)
        if code:  # a multirun goes on to its next run only if nothing is raised
            sys.exit(code)


if __name__ == "__main__":
    with one_line_errors(DemoOptions):
        main()
