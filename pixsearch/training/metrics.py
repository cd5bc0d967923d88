"""What a run says about itself: JSON lines always, Weights & Biases when asked."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from pixsearch.config import RunOptions, WandbMode
from pixsearch.training.checkpoint import WANDB_ID_FILE

logger = logging.getLogger(__name__)


class MetricsFile:
    """A file of one JSON object per line, each with its `step`.

    Args:
        last_step: the step from which the run goes on. Lines of later steps, written by a run that
            was killed after its last checkpoint, are dropped: those steps are taken again.
    """

    def __init__(self, path: Path, *, last_step: int) -> None:
        kept = [line for line in _lines(path) if line["step"] <= last_step]
        aside = path.with_suffix(".partial")
        aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        aside.replace(path)
        self._file = path.open("a")

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append a line; it is on its way to the disk when this returns."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a metrics file; a last line that a kill cut short is left out."""
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


class WandbLog:
    """Sends metrics and sample pictures to wandb; does nothing with `run.wandb=disabled`.

    The run's id is kept in the output folder, so that a resumed run continues its curves.
    """

    def __init__(self, options: RunOptions, name: str, resolved: dict[str, Any]) -> None:
        self._run = None
        if options.wandb is WandbMode.disabled:
            return
        import wandb  # slow to import, and not needed by default

        id_file = Path(options.output_dir) / WANDB_ID_FILE
        if not id_file.exists():
            id_file.write_text(uuid4().hex)
        self._run = wandb.init(
            project="pixsearch",
            name=name,
            id=id_file.read_text(),
            mode=options.wandb.value,
            resume="allow",
            dir=options.output_dir,
            config=resolved,
        )

    def write(self, step: int, values: dict[str, Any], *, prefix: str) -> None:
        if self._run is not None:
            self._run.log({f"{prefix}/{name}": value for name, value in values.items()}, step=step)

    def pictures(self, step: int, folder: Path) -> None:
        """Send every picture of a folder."""
        if self._run is not None:
            import wandb

            pictures = [wandb.Image(str(path)) for path in sorted(folder.glob("*.png"))]
            self._run.log({"samples": pictures}, step=step)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
