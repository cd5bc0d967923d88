import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pixsearch.config import OptimOptions, Precision, TrainablePart, TrainOptions
from pixsearch.model import PixSearch
from pixsearch.model.trainable import set_trainable
from pixsearch.training.checkpoint import (
    OPTIONS_FILE,
    Checkpoints,
    load_training_state,
    resolve,
    weights_digest,
)
from pixsearch.training.engines import Engine
from pixsearch.training.processes import Processes
from tests.tiny import tiny_model
from tests.training.runs import tiny_options


@pytest.fixture(scope="module")
def model() -> PixSearch:
    return tiny_model()


@pytest.fixture
def options(tmp_path: Path) -> TrainOptions:
    return tiny_options(tmp_path)


def checkpoints_of(options: TrainOptions, *, keep: int = 1) -> Checkpoints:
    resolved = resolve(options, num_processes=1, mixed_precision="no")
    return Checkpoints(Path(options.run.output_dir), resolved, keep=keep)


def engine_of(model: PixSearch) -> Engine:
    set_trainable(model, [TrainablePart.tokens])
    processes = Processes(rank=0, count=1, device=torch.device("cpu"))
    return Engine(model, processes, OptimOptions(), mixed=False)


def test_a_checkpoint_holds_all_that_a_run_needs(model: PixSearch, options: TrainOptions) -> None:
    engine = engine_of(model)
    for parameter in model.new_rows.parameters():
        parameter.grad = torch.ones_like(parameter)
    engine.update(1.0)
    state = engine.optimizer_state()
    folder = checkpoints_of(options).save(7, model, state, position=56)
    loaded = PixSearch.from_pretrained(folder)
    restored = engine_of(loaded)
    assert load_training_state(folder, restored) == 7
    assert json.loads((folder / "state.json").read_text()) == {"step": 7, "position": 56}
    assert torch.equal(loaded.new_rows.embedding, model.new_rows.embedding)
    before = engine.optimizer.state_dict()["state"]
    after = restored.optimizer.state_dict()["state"]
    assert before.keys() == after.keys() != set()
    assert all(torch.equal(before[i][name], after[i][name]) for i in before for name in before[i])


def test_the_newest_stay_and_what_was_cut_short_is_not_seen(
    model: PixSearch, options: TrainOptions
) -> None:
    checkpoints = checkpoints_of(options, keep=2)
    for step in (2, 4, 6):
        checkpoints.save(step, model, {}, position=0)
    (checkpoints.output_dir / "step-000008.partial").mkdir()
    names = sorted(path.name for path in checkpoints.output_dir.iterdir())
    assert names == ["step-000004", "step-000006", "step-000008.partial"]
    assert checkpoints.latest() == checkpoints.output_dir / "step-000006"
    assert checkpoints.save_final(8, model) == checkpoints.latest() == checkpoints.final
    checkpoints.clear()
    assert checkpoints.latest() is None


@contextmanager
def disk_of(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond this: what a write meets on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("full_at", ["weights", "optimizer"])
def test_a_full_disk_leaves_the_checkpoint_before_whole(
    model: PixSearch, options: TrainOptions, full_at: str
) -> None:
    checkpoints = checkpoints_of(options)
    first = checkpoints.save(2, model, {}, position=0)
    largest = max(file.stat().st_size for file in first.iterdir())
    room, moments = (100, 0) if full_at == "weights" else (largest, largest)
    with (
        disk_of(room),
        pytest.raises(OSError, match=r"step-000004 cannot be written .* same command") as caught,
    ):
        checkpoints.save(4, model, {"moments": torch.zeros(moments)}, position=0)
    assert "\n" not in str(caught.value)
    assert [path.name for path in checkpoints.output_dir.iterdir()] == ["step-000002"]
    assert checkpoints.latest() == first
    PixSearch.from_pretrained(first)


def test_a_checkpoint_of_another_configuration_is_refused_by_name(
    model: PixSearch, options: TrainOptions
) -> None:
    folder = checkpoints_of(options).save(2, model, {}, position=0)
    options.stage.optim.lr = 0.5
    with pytest.raises(ValueError, match=r"stage\.optim\.lr=0\.002, .*=0\.5: set") as error:
        checkpoints_of(options).latest()
    assert "\n" not in str(error.value)
    for named in (str(folder), "run.resume=false", "run.output_dir"):
        assert named in str(error.value)


def test_arithmetic_of_another_machine_is_refused(model: PixSearch, options: TrainOptions) -> None:
    options.model = replace(options.model, precision=Precision.auto)
    checkpoints_of(options).save(2, model, {}, position=0)
    resolved = resolve(options, num_processes=1, mixed_precision="bf16")
    elsewhere = Checkpoints(Path(options.run.output_dir), resolved, keep=1)
    with pytest.raises(ValueError, match=r"model\.precision=fp32, this run has .*=bf16"):
        elsewhere.latest()


def test_bookkeeping_may_change_between_runs(model: PixSearch, options: TrainOptions) -> None:
    checkpoints_of(options).save(2, model, {}, position=0)
    options.run = replace(options.run, save_every=1, evaluate_every=9, keep_checkpoints=3)
    assert checkpoints_of(options).latest() is not None


def test_other_weights_under_the_same_name_are_noticed(
    model: PixSearch, options: TrainOptions, tmp_path: Path
) -> None:
    options.stage.init_from = str(tmp_path / "before")
    tiny_model(seed=1).save_pretrained(options.stage.init_from)
    checkpoints_of(options).save(2, model, {}, position=0)
    tiny_model(seed=2).save_pretrained(options.stage.init_from)
    with pytest.raises(ValueError, match=r"weights of stage\.init_from"):
        checkpoints_of(options).latest()


def test_weights_that_were_written_over_have_another_digest(
    model: PixSearch, options: TrainOptions
) -> None:
    final = checkpoints_of(options).save_final(4, model)
    before = weights_digest(final)
    assert weights_digest(final) == before
    tiny_model(seed=2).save_pretrained(final)
    assert weights_digest(final) != before
    assert json.loads((final / OPTIONS_FILE).read_text())["stage"]["name"] == "tiny"
