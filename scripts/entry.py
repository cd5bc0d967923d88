"""What every script shares: the configs' place, the options' types, and errors in one line."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError

CONFIGS = str(Path(__file__).resolve().parent.parent / "configs")
CONFIG_ERRORS = (HydraException, OmegaConfBaseException)
MENDABLE = (*CONFIG_ERRORS, ValueError, OSError, FloatingPointError, SafetensorError)
NOISE = re.compile(r"(To append|See https|Config search|provider=|full_key|reference_|object_)")


@contextmanager
def one_line_errors(options: type) -> Iterator[None]:
    """Turn what the user can mend into one line on stderr and exit code 2.

    `options` is the script's dataclass, which gives Hydra names and types (config `options`).
    """
    ConfigStore.instance().store(name="options", node=options)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints several lines itself and exits
    try:
        yield
    except MENDABLE as error:
        if os.environ.get("PIXSEARCH_TRACEBACK") == "1":
            raise
        of_config = isinstance(error, CONFIG_ERRORS)
        remedy = "options: pixsearch/config/" if of_config else "PIXSEARCH_TRACEBACK=1: where"
        text = f"{error}\n{error.__cause__ or ''}\n" if of_config else f"{error}\n"
        lines = (line.strip() for line in f"error: {text}{remedy}".splitlines())
        kept = [line for line in lines if line and not (of_config and NOISE.match(line))]
        sys.stderr.write("; ".join(line.rstrip(".") for line in kept).replace(":;", ":") + "\n")
        sys.exit(2)
