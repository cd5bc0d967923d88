"""The benchmark of data draws files that every reader takes, and measures training's own path."""

import json
from pathlib import Path

import pytest

from pixsearch.config import BenchDataOptions
from pixsearch.datasets import READERS, open_dataset
from pixsearch.datasets.quarantine import check_example
from pixsearch.training.bench.data.bench import bench_data
from pixsearch.training.bench.data.formats import FORMATS, write_formats, write_long_file
from pixsearch.training.bench.data.loading import open_source
from pixsearch.training.bench.data.opening import STARTS, open_and_read, start

TINY = {"num_images": 4, "num_phrases": 2, "batch_size": 1, "image_height": 48, "image_width": 64}


def test_there_are_data_for_every_reader() -> None:
    assert FORMATS.keys() == READERS.keys()


def test_every_reader_takes_them(tmp_path: Path) -> None:
    sources = write_formats(BenchDataOptions(**TINY), tmp_path)
    for name, source in sources.items():
        examples = open_dataset(source)
        assert len(examples) >= 4, name
        for index in range(len(examples)):
            check_example(examples[index])


def test_training_draws_each_once(tmp_path: Path) -> None:
    options = BenchDataOptions(**TINY, readers=["trajectories"])
    source = write_formats(options, tmp_path)["trajectories"]
    batches, num_steps = open_source(source, options, rank=1, num_processes=2)
    drawn = [batches.prepare(step) for step in range(num_steps)]
    assert num_steps == 2
    assert len({batch.ids for one in drawn for batch in one.batches}) == 2
    assert all(image.size == (64, 48) for one in drawn for image in one.images.values())


def test_a_long_file_is_read_at_any_place(tmp_path: Path) -> None:
    options = BenchDataOptions(**TINY, num_lines=250, readers=["trajectories"])
    write_long_file(options, tmp_path / "train.jsonl")
    source = write_formats(options, tmp_path / "other")["trajectories"]
    source.root = str(tmp_path)
    assert open_and_read(source, 0)[0] == 250
    for name in STARTS:
        seconds, cpu = start(source, name)
        assert min(seconds, cpu) > 0


def test_a_reader_without_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"readers=\['morse'\]: no data for them; there are: "):
        write_formats(BenchDataOptions(readers=["morse"]), tmp_path)


def test_what_lies_in_the_folder_stays(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.touch()
    with pytest.raises(ValueError, match="no data for them"):
        bench_data(BenchDataOptions(readers=["morse"], folder=str(tmp_path)))
    assert [*tmp_path.iterdir()] == [mine]


@pytest.mark.slow
def test_bench_data(tmp_path: Path) -> None:
    output, folder = tmp_path / "data.json", tmp_path / "drawn"
    options = BenchDataOptions(
        **TINY,
        readers=["llava"],
        repeats=1,
        num_lines=100,
        output=str(output),
        folder=str(folder),
    )
    bench_data(options)
    found = json.loads(output.read_text())
    assert found["readers"]["llava"].keys() == {"1", "2 threads", "2 processes"}
    assert all(one["samples_per_second"] > 0 for one in found["readers"]["llava"].values())
    assert found["opening"]["later"]["num_lines"] == 100
    assert found["starting"].keys() == {*STARTS}
    assert [*folder.iterdir()] == []
