"""Make a knowledge base of another project's corpus.

`python scripts/import_corpus.py reader=json_lines source=wiki-18.jsonl knowledge_base=data/wiki18`
"""

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import ImportCorpusOptions, from_omegaconf


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="import_corpus")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told at once."""
    with one_line_errors(ImportCorpusOptions):
        options = from_omegaconf(ImportCorpusOptions, composed)
        from pixsearch.retrieval.importing import import_corpus

        import_corpus(options)


if __name__ == "__main__":
    with one_line_errors(ImportCorpusOptions):
        main()
