"""Convert a published checkpoint: `python scripts/convert_checkpoint.py source=…`."""

import logging

import hydra
from omegaconf import DictConfig

from entry import CONFIGS, one_line_errors
from pixsearch.config import ConvertOptions, from_omegaconf

logger = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=CONFIGS, config_name="convert_checkpoint")
def main(composed: DictConfig) -> None:
    """Import late, so that a misspelt option is told before torch is loaded."""
    with one_line_errors(ConvertOptions):
        options = from_omegaconf(ConvertOptions, composed)
        from pixsearch.model.published.convert import convert

        conversion = convert(options)
        conversion.model.save_pretrained(options.output_dir)
        for reason, names in conversion.dropped.items():
            logger.info("not used: %d tensors (%s, …): %s", len(names), min(names), reason)
        logger.info("%s holds the converted model", options.output_dir)


if __name__ == "__main__":
    with one_line_errors(ConvertOptions):
        main()
