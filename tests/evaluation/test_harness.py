"""PixSearch as a model of another harness, without that harness."""

import json

import pytest

from pixsearch.config import EvaluateOptions, GenerationOptions, PolicyOptions, QueryType
from pixsearch.evaluation.harness import Harness, HarnessQuestion, read_options
from pixsearch.generation import Engine
from tests.generation.scripted import QUESTION, RecordingSearch, Scripted, ids_of, picture

OPTIONS = EvaluateOptions(checkpoint="c", output_dir="o")
SEARCHED = (":search", "cup", ":search_end", "It is Osmeth. \n\n Question: and")
FILE = """
checkpoint: mine
output_dir: out
benchmark: {name: textvqa, root: data/textvqa}
retrieval:
  knowledge_base: kb
  index: idx
  text_encoder: {name: hashed_ngrams, dimension: 64}
  image_encoder: {name: clip, dimension: 24}
policy: {name: full, max_searches: 3}
"""


def question(id: str, words: str = QUESTION, num_images: int = 1) -> HarnessQuestion:
    images = tuple(picture(number) for number in range(num_images))
    return HarnessQuestion(id=id, words=words, images=images, until=("\n\n",))


@pytest.fixture
def harness(shared_model, tmp_path):
    scripts = {name: ids_of(shared_model, *SEARCHED) for name in ("t/1", "t/2", "t/5")}
    engine = Engine(
        shared_model,
        RecordingSearch(),
        PolicyOptions(allow=[QueryType.text], evidence_tokens=20),
        GenerationOptions(max_new_tokens=80, answer_tokens=4, batch_size=2),
        choose=Scripted(scripts),
    )
    trace = tmp_path / "run" / "trace.jsonl"
    return Harness(engine, OPTIONS, trace=trace, source="index-0")


def test_answers_stand_in_order_cut_and_traced_whatever_fails(harness, tmp_path):
    questions = [
        question("t/1"),
        question("t/3", num_images=2),
        question("t/4", " "),
        question("t/5", num_images=0),
    ]
    assert harness.answers(questions) == ["It is Osmeth.", "", "", "It is Osmeth."]
    assert harness.num_failed == 2
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "trace.jsonl").read_text().splitlines()
    ]
    assert [line["id"] for line in lines] == ["t/1", "t/3", "t/4", "t/5"]
    assert lines[0]["searches"][0]["text"] == "cup"
    assert "2 images" in lines[1]["failed"]
    assert "question is empty" in lines[2]["failed"]
    harness.answers([question("t/2")])
    assert len((tmp_path / "run" / "trace.jsonl").read_text().splitlines()) == 5


def test_a_trace_of_another_run_is_not_gone_on_with(tmp_path):
    (tmp_path / "trace.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="holds another run's answers; name a new file"):
        Harness.open(OPTIONS, source=None, trace=str(tmp_path / "trace.jsonl"))


def test_options_are_those_of_evaluate_with_overrides(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text(FILE)
    options = read_options(str(file), {"policy.max_searches": 2, "policy.allow": "[region]"})
    assert (options.checkpoint, options.policy.max_searches) == ("mine", 2)
    assert options.policy.allow == [QueryType.region]


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (FILE, {"policy.max_serches": 2}, "max_serches"),
        (FILE, {"device": "cuda:0"}, "device"),
        (FILE, {"generation.batch_size": "auto"}, "batch_size"),
        ("a: [", {}, "options=.*yaml: "),
        (None, {}, r"no such file; `python scripts/evaluate.py --cfg job --resolve"),
    ],
)
def test_bad_options_are_named(tmp_path, text, overrides, message):
    file = tmp_path / "options.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_options(str(file), overrides)
