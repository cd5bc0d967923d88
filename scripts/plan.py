"""What a run would need: `python scripts/plan.py experiment=pixsearch_13b plan.gpu=h100`.

Takes every option of scripts/train.py. No weights, no data, no network.
"""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import PlanOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="plan")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(PlanOptions):
        options = from_omegaconf(PlanOptions, composed)
        from pixsearch.training.planning import report_plan

        chosen = HydraConfig.get().runtime.choices
        name = chosen["experiment"] or chosen["model"]
        report_plan(options, name=f"{name}_{chosen['stage']}")


if __name__ == "__main__":
    with one_line_errors(PlanOptions):
        main()
