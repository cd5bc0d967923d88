import logging
from pathlib import Path

import pytest

from pixsearch.config import DataOptions, DatasetOptions, PrepareDataOptions
from pixsearch.datasets import READERS
from pixsearch.datasets.checking import EXPECTED, check_data, what_lacks
from pixsearch.datasets.crag_mm_writer import write_crag_mm
from tests.datasets.questions.make_fixtures import FIXTURES as QUESTIONS
from tests.datasets.test_crag_mm import sessions
from tests.datasets.test_stage1_readers import COUNTS


def sources(root: Path) -> dict[str, DatasetOptions]:
    """All of the tiny data sets."""
    return {
        f"{reader}/{split}": DatasetOptions(reader=reader, root=str(root / folder), split=split)
        for reader, folder, split in COUNTS
    }


def test_every_reader_has_its_files_listed() -> None:
    assert EXPECTED.keys() == READERS.keys()


def test_tiny_data_sets_lack_nothing_but_their_official_size(official: Path) -> None:
    lines = [line for each in sources(official).values() for line in what_lacks(each)]
    assert all("the official data set has" in line for line in lines)
    assert f"{official}/cocostuff/train2017/*.png: 2 files" in "\n".join(lines)
    assert any("2 files, the official data set has 118287" in line for line in lines)


def test_what_lacks_is_told_in_a_line_each(official: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    refcoco, own = (sources(official)[name] for name in ("refcoco/train", "coco_folder/train"))
    (official / "refer_seg/refcoco/instances.json").unlink()
    (official / "own/masks/images/a.png").unlink()
    options = DataOptions(sources={"refcoco": refcoco, "own": own})
    with pytest.raises(ValueError, match="not complete: refcoco, own; the lines above"):
        check_data(PrepareDataOptions(data=options))
    assert caplog.messages == [
        f"refcoco: {official}/refer_seg/refcoco/instances.json is not there",
        f"own: 1 of 1 images are not there, the first: {official}/own/masks/images/a.png",
    ]


def test_what_is_complete_is_told(official: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    options = DataOptions(sources=sources(official))
    check_data(PrepareDataOptions(data=options, sets=["refcoco/testA", "paco_lvis/train"]))
    assert caplog.messages == ["refcoco/testA: complete", "paco_lvis/train: complete"]


def test_broken_examples_are_counted(official: Path) -> None:
    path = official / "llava/llava_v1_5_mix665k.json"
    path.write_text(path.read_text().replace('"human"', '"system"', 1))
    (line,) = what_lacks(sources(official)["llava/llava_v1_5_mix665k"])
    assert line.startswith("1 of 3 examples are broken, the first: ")
    assert "from 'system'" in line


def test_a_file_that_cannot_be_read_is_told(official: Path) -> None:
    (official / "own/masks/train.json").write_text("{")
    (line,) = what_lacks(sources(official)["coco_folder/train"])
    assert "train.json:1: not JSON" in line


def test_embedded_images_are_there(tmp_path: Path) -> None:
    write_crag_mm(
        [each for each in sessions() if each.session_id in "ade"], tmp_path / "validation.parquet"
    )
    source = DatasetOptions(reader="crag_mm", root=str(tmp_path), split="validation")
    assert [*what_lacks(source)] == []


def test_questions_and_what_is_evaluated_are_looked_for(tmp_path: Path, caplog) -> None:
    there = DatasetOptions(reader="textvqa", root=str(QUESTIONS / "textvqa"))
    gone = DatasetOptions(reader="textvqa", root=str(tmp_path), split="val")
    unknown = DatasetOptions(reader="refcoc", root=str(tmp_path))
    options = DataOptions(sources={"asked": there}, eval_images={"gone": gone, "odd": unknown})
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match=r"not complete: eval_images\.gone, eval_images\.odd; "):
        check_data(PrepareDataOptions(data=options))
    complete, lacking, odd = caplog.messages
    assert complete == "asked: complete"
    assert lacking.startswith(f"eval_images.gone: {tmp_path}/TextVQA_0.5.1_val.json: no such file")
    assert odd.startswith("eval_images.odd: no reader 'refcoc'; there are: ")
