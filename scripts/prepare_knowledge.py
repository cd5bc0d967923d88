"""Make a knowledge base of a public source: `python scripts/prepare_knowledge.py source=wiki6m`."""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import PrepareKnowledgeOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="prepare_knowledge")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before anything is loaded."""
    with one_line_errors(PrepareKnowledgeOptions):
        options = from_omegaconf(PrepareKnowledgeOptions, composed)
        from pixsearch.retrieval.sources.preparing import prepare_knowledge

        prepare_knowledge(options)


if __name__ == "__main__":
    with one_line_errors(PrepareKnowledgeOptions):
        main()
