"""The checkpoints of one run: `step-000200/` to go on from, `final/` for everyone else.

Each is a folder that `PixSearch.from_pretrained` opens. It is written aside and then renamed, so
that a folder with its proper name is always whole.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel

from pixsearch.config import Precision, TrainOptions, to_dict
from pixsearch.datasets.files import fingerprint
from pixsearch.training.engines import Engine

logger = logging.getLogger(__name__)

OPTIONS_FILE = "train_options.json"  # the resolved configuration
STATE_FILE = "state.json"  # step and position in the data
OPTIMIZER_FILE = "optimizer.pt"
FINAL = "final"
WANDB_ID_FILE = "wandb-id.txt"

# Options that may change when a run is resumed: they leave the weights alone.
FREE_OPTIONS = frozenset(
    {
        "model.gradient_checkpointing",
        "run.output_dir",
        "run.resume",
        "run.save_every",
        "run.evaluate_every",
        "run.log_every",
        "run.keep_checkpoints",
        "run.decode_ahead",
        "run.feature_cache_gib",
        "run.feature_store",
        "run.wandb",
    }
)


# A run may go on with other processes, as long as a step draws the same examples.
HOW_A_STEP_IS_CUT = frozenset({"stage.batch_size", "stage.accumulation", "num_processes"})


class Checkpoints:
    """The checkpoint folders under a run's output folder.

    Args:
        resolved: what the run is made of, from `resolve`; saved in every checkpoint.
        keep: how many of the newest `step-…` folders stay; 0 keeps all.
    """

    def __init__(self, output_dir: Path, resolved: dict[str, Any], *, keep: int) -> None:
        self.output_dir = output_dir
        self.resolved = resolved
        self.keep = keep

    @property
    def final(self) -> Path:
        return self.output_dir / FINAL

    def latest(self) -> Path | None:
        """The newest checkpoint, `final/` before all others; None if the run has none.

        Raises:
            ValueError: it belongs to a run of another configuration.
        """
        steps = self._steps()
        found = self.final if self.final.exists() else steps[-1] if steps else None
        if found is not None:
            self._check(found)
        return found

    def clear(self) -> None:
        """Remove every checkpoint and the run's wandb id: the run begins anew."""
        (self.output_dir / WANDB_ID_FILE).unlink(missing_ok=True)
        for folder in (*self._steps(), self.final):
            if folder.exists():
                logger.info("run.resume=false: removing %s", folder)
                shutil.rmtree(folder)

    def save(
        self,
        step: int,
        model: PreTrainedModel,
        optimizer_state: dict[str, Any],
        position: int,
        *,
        weights: dict[str, Tensor] | None = None,
    ) -> Path:
        """Write `step-…`: weights, optimiser, step and position. Old checkpoints go afterwards.

        Args:
            weights: of a model that is split; by default its own.
        """
        folder = self.output_dir / f"step-{step:06d}"
        with self._written(folder, {"step": step, "position": position}) as aside:
            model.save_pretrained(aside, state_dict=weights)
            torch.save(optimizer_state, aside / OPTIMIZER_FILE)
        if self.keep:
            for old in self._steps()[: -self.keep]:
                shutil.rmtree(old)
        return folder

    def save_final(
        self, step: int, model: PreTrainedModel, *, weights: dict[str, Tensor] | None = None
    ) -> Path:
        """Write `final/`: weights alone."""
        with self._written(self.final, {"step": step}) as aside:
            model.save_pretrained(aside, state_dict=weights)
        return self.final

    def _steps(self) -> list[Path]:
        folders = self.output_dir.glob("step-*")
        return sorted(folder for folder in folders if folder.name[len("step-") :].isdigit())

    @contextmanager
    def _written(self, folder: Path, state: dict[str, Any]) -> Iterator[Path]:
        """A folder beside `folder`, whose place it takes when all is in it.

        Raises:
            OSError: it cannot be written, for one thing because the disk is full; one line.
        """
        aside = folder.with_suffix(".partial")
        shutil.rmtree(aside, ignore_errors=True)  # left by a run that was killed here
        try:
            aside.mkdir(parents=True)
            yield aside
            (aside / OPTIONS_FILE).write_text(json.dumps(self.resolved, indent=2))
            (aside / STATE_FILE).write_text(json.dumps(state))
        except (OSError, RuntimeError, SafetensorError) as error:  # torch.save's is a RuntimeError
            shutil.rmtree(aside, ignore_errors=True)
            raise OSError(
                f"the checkpoint {folder} cannot be written ({str(error).splitlines()[0]}); what "
                "was saved before is whole: see to the disk, then give the same command again"
            ) from error
        aside.rename(folder)

    def _check(self, folder: Path) -> None:
        saved = flatten(json.loads((folder / OPTIONS_FILE).read_text()))
        ours = flatten(self.resolved)
        recut = [name for name in HOW_A_STEP_IS_CUT if saved.get(name) != ours.get(name)]
        if recut and folder != self.final:
            logger.warning(
                "%s was made with another %s: the same examples are summed in another order, so "
                "that the last digits differ from an uninterrupted run",
                *(folder, " and ".join(sorted(recut))),
            )
        for name in sorted(saved.keys() | ours.keys()):
            if name in FREE_OPTIONS | HOW_A_STEP_IS_CUT or name.startswith("retrieval."):
                continue
            if saved.get(name) != ours.get(name):
                raise ValueError(
                    f"{folder} was made with {name}={saved.get(name)}, this run has "
                    f"{name}={ours.get(name)}: set run.resume=false to begin anew in this folder, "
                    "or choose another run.output_dir"
                )


def load_training_state(folder: Path, engine: Engine) -> int:
    """Restore the optimiser from a `step-…` checkpoint; returns the number of steps taken."""
    state = torch.load(folder / OPTIMIZER_FILE, weights_only=True, map_location="cpu", mmap=True)
    engine.load_optimizer_state(state)
    return json.loads((folder / STATE_FILE).read_text())["step"]


def resolve(options: TrainOptions, *, num_processes: int, mixed_precision: str) -> dict[str, Any]:
    """All that decides a run's weights: its options, the weights it starts from, its processes.

    Arithmetic counts as what it is on this device, which `model.precision=auto` does not say.
    Starting weights count by content, so that a first stage that was trained anew into the same
    folder is noticed. What comes from the hub counts by its name.
    """
    origins = {
        "stage.init_from": options.stage.init_from,
        "model.language_model": options.model.language_model,
        "model.segmenter": options.model.segmenter,
    }
    digests = {
        f"weights of {option}": weights_digest(Path(folder))
        for option, folder in origins.items()
        if folder and Path(folder).is_dir()
    }
    precision = Precision.fp32 if mixed_precision == "no" else Precision(mixed_precision)
    resolved = replace(options, model=replace(options.model, precision=precision))
    global_batch = options.stage.batch_size * options.stage.accumulation * num_processes
    return {
        **to_dict(resolved),
        **digests,
        "num_processes": num_processes,
        "global_batch": global_batch,
    }


def weights_digest(folder: Path) -> str:
    """SHA-256 over a folder's safetensors files, read once as long as they are not written to."""
    stats = [(path, path.stat()) for path in sorted(folder.glob("*.safetensors"))]
    return _digest_of(tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats))


@cache
def _digest_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    return fingerprint(path for path, *_ in files)


def checkpoint_digest(folder: Path) -> str:
    """SHA-256 of all that decides a saved model's answers: weights, configuration, tokenizer.

    Raises:
        ValueError: there is no such folder; a name on the hub says not which weights it means.
    """
    if not folder.is_dir():
        raise ValueError(
            f"checkpoint={folder}: there is no such folder; train one with scripts/train.py, or "
            "download it first"
        )
    of_run = (STATE_FILE, OPTIONS_FILE)
    described = fingerprint(path for path in folder.glob("*.json") if path.name not in of_run)
    return hashlib.sha256(f"{weights_digest(folder)}\n{described}".encode()).hexdigest()


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by their dotted names.

    >>> flatten({"run": {"seed": 0}, "num_processes": 1})
    {'run.seed': 0, 'num_processes': 1}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
