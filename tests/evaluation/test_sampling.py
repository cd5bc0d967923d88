import json
from pathlib import Path

from pixsearch.evaluation.sampling import sampler
from pixsearch.training import fit
from tests.training.runs import tiny_options


def test_the_engine_answers_while_a_model_trains(tmp_path: Path) -> None:
    options = tiny_options(tmp_path, steps=1)
    fit(options, evaluate=sampler(None))
    folder = tmp_path / "run" / "samples" / "step-000001"
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert all(isinstance(line["generated"], str) for line in lines)
    assert [line["picture"] for line in lines] == [
        f"{index:03d}.png" if line["id"].startswith("square") else None
        for index, line in enumerate(lines)
    ]
