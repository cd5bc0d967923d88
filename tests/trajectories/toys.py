"""A small set of questions about boats, the documents that answer them, and who knows the answers.

0, 1, 2, …   who made boat N? the document says so
silent       no document speaks of this boat
wrong        its document names another guild
count        needs no search
sign         needs a search, and is of a kind that is not kept for it
mumble       the teacher's answer is never JSON
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.config import (
    BuildTrajectoriesOptions,
    ClientOptions,
    EncoderOptions,
    Grounder,
    GrounderOptions,
    PolicyOptions,
    QuestionSourceOptions,
    RetrievalOptions,
    TeacherOptions,
)
from pixsearch.datasets.files import JsonLines, image_key, load_image, require
from pixsearch.datasets.questions import QUESTION_READERS
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.retrieval.build import build_indexes
from tests.chat_server import Act, Asked
from tests.datasets.builders import save_image

SPECIAL = ("silent", "wrong", "count", "sign", "mumble")


class ToyQuestions(Sequence):
    """Each line when it is asked for, as the real readers do."""

    def __init__(self, root: Path, split: str) -> None:
        self._root, self._lines = root, JsonLines(root / f"{split}.jsonl")

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> AnnotatedQuestion:  # type: ignore[override]
        line, where = self._lines[index], self._lines.where(index)
        require(line, "id", "question", "answer", where=where)
        path = self._root / "images" / line["image"] if line.get("image") else None
        return AnnotatedQuestion(
            id=line["id"],
            question=line["question"],
            answers=(line["answer"],),
            image_id=path and image_key(path),
            load_image=path and partial(load_image, path, example=line["id"]),
            image_file=path and str(path),
            history=tuple(tuple(turn) for turn in line.get("history", ())),
        )


def register() -> None:
    QUESTION_READERS["toy"] = ToyQuestions


def write_questions(root: Path, *, plain: int = 3, split: str = "train") -> Path:
    """`plain` boats and one of each special one; those with an even number have an image."""
    root.mkdir(parents=True, exist_ok=True)
    save_image(root / "images" / "boat.png")
    (root / "masks.jsonl").touch()
    names = [*map(str, range(plain)), *SPECIAL]
    lines = [_line(name, with_image=place % 2 == 0) for place, name in enumerate(names)]
    (root / f"{split}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return root


def _line(name: str, *, with_image: bool) -> dict[str, Any]:
    asked = f"How many boats {name}?" if name == "count" else f"Who made the boat {name}?"
    answer = "three" if name == "count" else f"Guild{name}"
    line = {"id": name, "question": asked, "answer": answer}
    return {**line, "image": "boat.png"} if with_image else line


def build_source(folder: Path, *, plain: int = 3) -> RetrievalOptions:
    """An index of a document for each boat but the silent one."""
    names = [*map(str, range(plain)), "wrong"]
    base = folder / "knowledge_base"
    base.mkdir(parents=True)
    with (base / "corpus.jsonl").open("w") as file:
        for name in names:
            guild = "Guildelse" if name == "wrong" else f"Guild{name}"
            contents = f"The boat {name} was made by {guild}."
            file.write(json.dumps({"id": name, "title": f"boat {name}", "contents": contents}))
            file.write("\n")
    options = RetrievalOptions(
        knowledge_base=str(base),
        index=str(folder / "index"),
        text_encoder=EncoderOptions(name="hashed_ngrams", dimension=256),
        image_encoder=EncoderOptions(name="none", dimension=1),
    )
    build_indexes(options, progress=False)
    return options


def options_of(
    root: Path, retrieval: RetrievalOptions, url: str, output: Path, **changes: Any
) -> BuildTrajectoriesOptions:
    """Of a build against a teacher server that nobody waits for."""
    return BuildTrajectoriesOptions(
        output_dir=str(output),
        sources={"toy": QuestionSourceOptions(reader="toy", root=str(root))},
        teacher=TeacherOptions(url=url, concurrency=2, client=patient_not()),
        grounder=GrounderOptions(kind=Grounder.given, masks=str(root / "masks.jsonl")),
        retrieval=retrieval,
        policy=PolicyOptions(k=1),
        num_candidates=2,
        **{"without_search_share": 1.0, **changes},
    )


def patient_not(**changes: Any) -> ClientOptions:
    quick = {"timeout_seconds": 20.0, "retries": 2, "backoff_seconds": 0.0, "breaker_failures": 50}
    return ClientOptions(**{**quick, "token_variable": "TOY_KEY", **changes})


def know(asked: Asked) -> Act:
    """The script of a teacher that knows all about boats."""
    name = asked.fields["question"].rstrip("?").split()[-1]
    if name == "mumble":
        return Act(text="mumble mumble")
    return Act(text=json.dumps(_ANSWERS[asked.task](name, asked.fields)))


def _select(name: str, fields: dict[str, Any]) -> Any:
    kinds = {"count": "visual_counting", "sign": "ocr_read"}
    return {"needs_search": name != "count", "kind": kinds.get(name, "factoid")}


def _decompose(name: str, fields: dict[str, Any]) -> Any:
    answer = fields["accepted_answers"][0]
    step = {"question": fields["question"], "needs_search": True, "answer": answer}
    return {"sub_questions": [step]}


def _respond(name: str, fields: dict[str, Any]) -> Any:
    segments = [{"words": f"I look for boat {name}", "sub_question": 1}]
    one = {"segments": segments, "answer": f"{fields['accepted_answers'][0]} made it."}
    return {"responses": [one] * fields["num_responses"]}


def _refine(name: str, fields: dict[str, Any]) -> Any:
    return {
        "responses": [
            {key: each[key] for key in ("segments", "answer")} for each in fields["responses"]
        ]
    }


def _choose(name: str, fields: dict[str, Any]) -> Any:
    return {"reason": "they are equal", "chosen": 1}


def _assign(name: str, fields: dict[str, Any]) -> Any:
    texts = ["something else entirely", f"boat {name}"]
    return {"searches": [{"type": "text", "phrase": None, "texts": texts}]}


def _judge(name: str, fields: dict[str, Any]) -> Any:
    return {"verdicts": [_verdict(name, each, fields) for each in fields["candidates"]]}


def _verdict(name: str, candidate: dict[str, Any], fields: dict[str, Any]) -> str:
    passages = [each for each in candidate["passages"] if each["title"] == f"boat {name}"]
    if not passages:
        return "silent"
    told = fields["accepted_answers"][0] in passages[0]["text"]
    return "supports" if told else "contradicts"


_ANSWERS = {
    "select": _select,
    "decompose": _decompose,
    "respond": _respond,
    "refine": _refine,
    "choose": _choose,
    "assign": _assign,
    "judge": _judge,
}
