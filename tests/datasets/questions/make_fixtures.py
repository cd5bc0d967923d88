"""Writes `fixtures/` beside this file: each question set in its official layout, in a few records.

    python -m tests.datasets.questions.make_fixtures

All words and pictures in it are our own.
"""

import base64
import csv
import json
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from PIL import Image

from pixsearch.datasets.crag_mm_writer import CragMMQuestion, CragMMSession, write_crag_mm

FIXTURES = Path(__file__).parent / "fixtures"
RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (40, 60, 200)


def write_fixtures(root: Path) -> None:
    """All sets, each in a folder by its reader's name, and COCO's images beside them."""
    _textvqa(root / "textvqa")
    _coco(root / "coco")
    _okvqa(root / "okvqa")
    _aokvqa(root / "aokvqa")
    _oven(root / "oven")
    _infoseek(root / "infoseek")
    _webqa(root / "webqa")
    _crag_mm(root / "crag_mm")
    _vqav2(root / "vqav2")
    _gqa(root / "gqa")
    _encyclopedic_vqa(root / "encyclopedic_vqa")
    _hotpotqa(root / "hotpotqa")
    _nq_open(root / "nq_open")
    _popqa(root / "popqa")
    _musique(root / "musique")


def _textvqa(root: Path) -> None:
    sign = ["stop"] * 6 + ["stop sign"] * 2 + ["the stop", "unanswerable"]
    shop = ["bakery"] * 10
    common = {"image_width": 12, "image_height": 8, "image_classes": ["Traffic sign"]}
    for split, questions in {
        "train": [
            (1, "0000599864fd15b3", "what does the sign say?", sign),
            (2, "0000599864fd15b3", "which shop is behind the sign?", shop),
        ],
        "val": [(3, "003a8ae2ef43b901", "what is the bus line?", ["12"] * 10)],
        "test": [(4, "0004d5c1b2f3a6e7", "what is the price?", None)],
    }.items():
        data = [
            {
                "question_id": id,
                "image_id": image,
                "question": question,
                "question_tokens": question.rstrip("?").split(),
                "set_name": split,
                **common,
                **({} if answers is None else {"answers": answers}),
            }
            for id, image, question, answers in questions
        ]
        _write_json(
            root / f"TextVQA_0.5.1_{split}.json",
            {"dataset_type": split, "dataset_name": "textvqa", "dataset_version": "0.5.1"}
            | {"data": data},
        )
    read = {"image_id": "0000599864fd15b3", "ocr_tokens": ["STOP", "BAKERY"], "ocr_info": []}
    _write_json(root / "TextVQA_Rosetta_OCR_v0.2_train.json", {"data": [read]})
    _write_image(root / "train_images" / "0000599864fd15b3.jpg", RED)
    _write_image(root / "train_images" / "003a8ae2ef43b901.jpg", GREEN)
    _write_image(root / "test_images" / "0004d5c1b2f3a6e7.jpg", BLUE)


def _coco(root: Path) -> None:
    _write_image(root / "train2014" / "COCO_train2014_000000000009.jpg", RED)
    _write_image(root / "val2014" / "COCO_val2014_000000000042.jpg", GREEN)
    _write_image(root / "train2017" / "000000000009.jpg", RED)
    _write_image(root / "train2017" / "000000000025.jpg", GREEN)


def _okvqa(root: Path) -> None:
    _write_json(
        root / "OpenEnded_mscoco_train2014_questions.json",
        {
            "task_type": "Open-Ended",
            "data_type": "mscoco",
            "data_subtype": "train2014",
            "questions": [
                {"image_id": 9, "question": "Which country bakes this most?", "question_id": 95},
                {"image_id": 9, "question": "What is it eaten with?", "question_id": 96},
            ],
        },
    )
    _write_json(
        root / "mscoco_train2014_annotations.json",
        {
            "data_subtype": "train2014",
            "question_types": {"five": "Cooking and Food", "other": "Other"},
            "annotations": [
                _okvqa_annotation(
                    95, "five", [("danish", "denmark")] * 3 + [("franc", "france")] * 7
                ),
                _okvqa_annotation(96, "five", [("butter", "butter")] * 10),
            ],
        },
    )


def _okvqa_annotation(id: int, kind: str, answers: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "image_id": 9,
        "question_id": id,
        "question_type": kind,
        "answer_type": "other",
        "confidence": 3,
        "answers": [
            {
                "answer_id": number,
                "answer": stemmed,
                "raw_answer": raw,
                "answer_confidence": "yes",
            }
            for number, (stemmed, raw) in enumerate(answers, start=1)
        ],
    }


def _aokvqa(root: Path) -> None:
    asked = {
        "split": "train",
        "image_id": 25,
        "question_id": "22MexNkBPpdZGX6sxbxVBH",
        "question": "Why does the animal bend its neck?",
        "choices": ["to drink", "to sleep", "to hide", "to run"],
        "correct_choice_idx": 0,
        "direct_answers": ["drink"] * 4 + ["to drink"] * 5 + ["thirst"],
        "difficult_direct_answer": False,
        "rationales": ["There is water below.", "It is thirsty.", "Animals drink so."],
    }
    _write_json(root / "aokvqa_v1p0_train.json", [asked])
    withheld = ("correct_choice_idx", "direct_answers", "rationales")
    test = {name: value for name, value in asked.items() if name not in withheld}
    changed = {"split": "test", "question_id": "2ACeTagVoR6dSdTmF6kAPW"}
    _write_json(root / "aokvqa_v1p0_test.json", [test | changed])


def _oven(root: Path) -> None:
    train = [
        _oven_record(number, name, entity, "entity_train")
        for number, (name, entity) in enumerate(
            [("Dassault Falcon 900", "Q1141409"), ("Cessna 172", "Q244416"), ("Concorde", "Q6568")]
        )
    ]
    _write_lines(root / "oven_entity_train.jsonl", train)
    _write_lines(
        root / "oven_query_val.jsonl",
        [_oven_record(0, "Rye bread", "Q207123", "query_val_unseen", split="query_val")],
    )
    _write_lines(
        root / "oven_entity_val.jsonl",
        [_oven_record(1, "Cessna 172", "Q244416", "entity_val_seen", split="entity_val")],
    )
    withheld = _oven_record(0, "", "", "entity_test", split="entity_test")
    _write_lines(root / "oven_entity_test.jsonl", [_without(withheld, "entity_id", "entity_text")])
    _write_image(root / "oven_images" / "00" / "oven_00000000.jpg", RED)
    _write_image(root / "oven_images" / "00" / "oven_00000001.JPEG", GREEN)
    _write_image(root / "oven_images" / "04" / "oven_04990048.jpg", BLUE)


def _oven_record(
    number: int, name: str, entity: str, data_split: str, *, split: str = "entity_train"
) -> dict[str, Any]:
    return {
        "data_id": f"oven_{split}_{number:08d}",
        "image_id": f"oven_{number:08d}",
        "question": "what is the model of this aircraft?",
        "entity_id": entity,
        "entity_text": name,
        "data_split": data_split,
    }


def _infoseek(root: Path) -> None:
    made = {"data_split": "train", "question": "Who made this aircraft?"}
    train = [
        _infoseek_record("train", 0, 0, ["Dassault Aviation"], ["Dassault", "Dassault Aviation"]),
        _infoseek_record("train", 1, 1, ["Cessna"], ["Cessna", "Cessna Aircraft Company"]),
    ]
    _write_lines(root / "infoseek_train.jsonl", [record | made for record in train])
    entities = [("Q1141409", "Dassault Falcon 900"), ("Q244416", "Cessna 172")]
    kb = [
        {"data_id": f"infoseek_train_{number:08d}", "entity_id": id, "entity_text": name}
        for number, (id, name) in enumerate(entities)
    ]
    _write_lines(root / "infoseek_train_withkb.jsonl", kb[::-1])  # another order than the questions

    weight = {"question": "How heavy is it in tonnes?", "data_split": "val_unseen_entity"}
    year = {"question": "When did it first fly?", "data_split": "val_unseen_question"}
    ranged = [{"wikidata": 4.0, "range": [3.6, 4.4]}]
    val = [
        _infoseek_record("val", 0, 4990048, ["4"], ranged) | weight,
        _infoseek_record("val", 1, 4990048, ["1969"], ["1969", "1968", "1970"]) | year,
    ]
    _write_lines(root / "infoseek_val.jsonl", val)
    named = {"entity_id": "Q6568", "entity_text": "Concorde"}
    _write_lines(
        root / "infoseek_val_withkb.jsonl", [{"data_id": r["data_id"]} | named for r in val]
    )
    types = zip(val, ("Numerical", "Time"), strict=True)
    _write_lines(
        root / "infoseek_val_qtype.jsonl",
        [{"data_id": r["data_id"], "question_type": kind} for r, kind in types],
    )
    test = _infoseek_record("test", 0, 1, [], []) | made | {"data_split": "test_unseen_entity"}
    _write_lines(root / "infoseek_test.jsonl", [_without(test, "answer", "answer_eval")])


def _infoseek_record(
    split: str, number: int, image: int, answer: list[str], answer_eval: list[Any]
) -> dict[str, Any]:
    return {
        "data_id": f"infoseek_{split}_{number:08d}",
        "image_id": f"oven_{image:08d}",
        "answer": answer,
        "answer_eval": answer_eval,
    }


def _webqa(root: Path) -> None:
    images = {30000000: RED, 30000001: GREEN, 30000002: BLUE}
    domes = [_webqa_image(id, name) for id, name in ((30000000, "Dome"), (30000001, "Tower"))]
    texts = [
        {"title": "Tower", "fact": "It was built of oak.", "url": "https://example.org/tower"}
        | {"snippet_id": "d5bb0_4"}
    ]
    train_val = [
        _webqa_record("a1", "train", '"Is the dome green?"', '"No, it is red."', "YesNo")
        | {"img_posFacts": domes[:1]},
        _webqa_record("a2", "train", '"Which is taller?"', '"The tower."', "choose")
        | {"img_posFacts": domes},
        _webqa_record("a3", "val", "What was it built of?", "Oak.", "text")
        | {"txt_posFacts": texts, "img_negFacts": domes},
    ]
    _write_json(root / "WebQA_train_val.json", {record["Guid"]: record for record in train_val})
    test = _webqa_record("a4", "test", '"Is the tower round?"', "", "YesNo")
    hidden = _without(test, "A", "img_posFacts", "img_negFacts", "txt_posFacts", "txt_negFacts")
    _write_json(root / "WebQA_test.json", {"a4": hidden | {"img_Facts": domes, "txt_Facts": texts}})
    lines = [
        f"{id}\t{base64.b64encode(_encoded(colour)).decode()}\n" for id, colour in images.items()
    ]
    begins = [sum(map(len, lines[:number])) for number in range(len(lines))]
    (root / "imgs.tsv").write_text("".join(lines))
    (root / "imgs.lineidx").write_text("".join(f"{begin}\n" for begin in begins))


def _webqa_record(guid: str, split: str, question: str, answer: str, kind: str) -> dict[str, Any]:
    return {
        "Guid": guid,
        "split": split,
        "Q": question,
        "A": [answer],
        "Keywords_A": "TBD",
        "Qcate": kind,
        "topic": "Buildings",
        "img_posFacts": [],
        "img_negFacts": [],
        "txt_posFacts": [],
        "txt_negFacts": [],
    }


def _webqa_image(id: int, title: str) -> dict[str, Any]:
    return {
        "image_id": id,
        "title": title,
        "caption": f"{title} seen from the square",
        "url": f"https://example.org/File:{title}.jpg",
        "imgUrl": f"https://example.org/{title}.jpg",
    }


def _crag_mm(root: Path) -> None:
    labels = {
        "domain": "vehicle",
        "query_category": "simple-knowledge",
        "dynamism": "static",
        "image_quality": "normal",
    }

    def turn(id: str, question: str, answer: str) -> CragMMQuestion:
        return CragMMQuestion(interaction_id=id, question=question, answer=answer, **labels)

    (root / "single").mkdir(parents=True, exist_ok=True)
    _write_image(root / "single" / "bridge.jpg", GREEN)
    for split, id in (("validation", "s1"), ("public_test", "s2")):
        write_crag_mm(
            [
                CragMMSession(
                    session_id=id,
                    turns=(turn(id, f"who built this bridge ({id})?", "Abel Tarn."),),
                    image_url="bridge.jpg",
                )
            ],
            root / "single" / f"{split}.parquet",
        )
    turns = (
        turn("m1-0", "which car is this?", "A Zor."),
        turn("m1-1", "who makes it?", ""),
        turn("m1-2", "where?", "In Tarnwick."),
    )
    write_crag_mm(
        [CragMMSession(session_id="m1", turns=turns, image=_encoded(RED, "PNG"))],
        root / "multi" / "validation.parquet",
    )


def _vqav2(root: Path) -> None:
    asked = [(42000, "Is the dog wet?"), (42001, "How many dogs are there?")]
    kinds = [("is the", "yes/no"), ("how many", "number")]
    answers = [["yes"] * 8 + ["no"] * 2, ["2"] * 9 + ["two"]]
    common = {"data_type": "mscoco", "license": {"name": "CC BY 4.0"}}
    questions = [
        {"image_id": 42, "question": question, "question_id": id} for id, question in asked
    ]
    annotations = [
        {
            "question_id": id,
            "image_id": 42,
            "question_type": question_type,
            "answer_type": answer_type,
            "multiple_choice_answer": given[0],
            "answers": [
                {"answer": answer, "answer_confidence": "yes", "answer_id": number}
                for number, answer in enumerate(given, start=1)
            ],
        }
        for (id, _), (question_type, answer_type), given in zip(asked, kinds, answers, strict=True)
    ]
    _write_json(
        root / "v2_OpenEnded_mscoco_val2014_questions.json",
        common | {"task_type": "Open-Ended", "data_subtype": "val2014", "questions": questions},
    )
    _write_json(
        root / "v2_mscoco_val2014_annotations.json",
        common | {"data_subtype": "val2014", "annotations": annotations},
    )
    test = [{"image_id": 7, "question": "What is it?", "question_id": 7000}]
    _write_json(
        root / "v2_OpenEnded_mscoco_test-dev2015_questions.json",
        common | {"data_subtype": "test-dev2015", "questions": test},
    )


def _gqa(root: Path) -> None:
    asked = {
        "201307251": {
            "imageId": "n161313",
            "question": "Is the cup to the left of the plate?",
            "answer": "yes",
            "fullAnswer": "Yes, the cup is to the left of the plate.",
            "isBalanced": True,
            "types": {"structural": "verify", "semantic": "rel", "detailed": "verifyRelS"},
        },
        "201640614": {
            "imageId": "n161313",
            "question": "What is on the table?",
            "answer": "tea cup",
            "fullAnswer": "The tea cup is on the table.",
            "isBalanced": True,
            "types": {"structural": "query", "semantic": "rel", "detailed": "relS"},
        },
    }
    _write_json(root / "questions" / "testdev_balanced_questions.json", asked)
    hidden = {"question": "Is it blue?", "imageId": "n161313", "isBalanced": True}
    _write_json(root / "questions" / "test_balanced_questions.json", {"0500": hidden})
    _write_image(root / "images" / "n161313.jpg", BLUE)


def _encyclopedic_vqa(root: Path) -> None:
    cells = {
        "dataset_category_id": "12",
        "evidence": "",
        "evidence_section_id": "2",
        "evidence_section_title": "Description",
        "encyclopedic_vqa_split": "val",
        "wikipedia_url_used_in_train": "False",
    }
    rows = [
        _evqa_row("How tall does this tree grow?", "20 m|20 metres", "2686843|7", "templated")
        | {"dataset_name": "inaturalist", "evidence": "It grows 20 m tall, or more."},
        _evqa_row("Which animals eat it?", "deer&&elk|red deer&&elk", "2686844", "multi_answer")
        | {"dataset_name": "inaturalist"},
        _evqa_row("In which year did its architect die?", "1712", "00a1b2c3d4e5f607", "2_hop")
        | {
            "dataset_name": "landmarks",
            "wikipedia_url": "https://example.org/Gate|https://example.org/Tarn",
        },
    ]
    _write_table(root / "val.csv", [cells | row for row in rows], ",")
    images = [
        {"id": 2686843, "file_name": "val/00000_Tree/a.jpg", "width": 12, "height": 8},
        {"id": 2686844, "file_name": "val/00001_Herb/b.jpg", "width": 12, "height": 8},
        {"id": 2686845, "file_name": "val/00001_Herb/c.jpg", "width": 12, "height": 8},
    ]
    _write_json(root / "inaturalist" / "val.json", {"images": images, "annotations": []})
    _write_image(root / "inaturalist" / "val" / "00000_Tree" / "a.jpg", GREEN)
    _write_image(root / "landmarks" / "index" / "0" / "0" / "a" / "00a1b2c3d4e5f607.jpg", RED)


def _evqa_row(question: str, answer: str, images: str, kind: str) -> dict[str, str]:
    return {
        "question": question,
        "answer": answer,
        "dataset_image_ids": images,
        "question_type": kind,
        "question_original": question,
        "wikipedia_url": "https://example.org/Tree",
        "wikipedia_title": "Tree",
    }


def _hotpotqa(root: Path) -> None:
    towers = [["Ro Tower", ["It is in Tarn.", " It is 90 m tall."]], ["Tarn", ["A town."]]]
    asked = [
        _hotpot_record("5a8b", "Is the Ro Tower in a town?", "yes", "comparison")
        | {"supporting_facts": [["Ro Tower", 0], ["Tarn", 0], ["Ro Tower", 1]]}
        | {"context": towers},
        _hotpot_record("5a8c", "Who built the tower in Tarn?", "Abel Tarn", "bridge")
        | {"supporting_facts": [["Abel Tarn", 3]], "context": towers},
    ]
    _write_json(root / "hotpot_dev_fullwiki_v1.json", asked)
    hidden = [_without(asked[0], "answer", "type", "level", "supporting_facts")]
    _write_json(root / "hotpot_test_fullwiki_v1.json", hidden)
    hub = [
        {"id": record["_id"]}
        | _without(record, "_id", "supporting_facts", "context")
        | {
            "supporting_facts": _columns(record["supporting_facts"], "title", "sent_id"),
            "context": _columns(record["context"], "title", "sentences"),
        }
        for record in asked
    ]
    _write_parquet(root / "distractor" / "validation-00000-of-00001.parquet", hub)


def _hotpot_record(id: str, question: str, answer: str, kind: str) -> dict[str, Any]:
    return {"_id": id, "question": question, "answer": answer, "type": kind, "level": "hard"}


def _columns(pairs: list[list[Any]], first: str, second: str) -> dict[str, list[Any]]:
    return {first: [pair[0] for pair in pairs], second: [pair[1] for pair in pairs]}


def _nq_open(root: Path) -> None:
    dev = [
        {"question": "when was the ro tower built", "answer": ["1901", "in 1901"]},
        {"question": "who sings the song of tarn", "answer": ["Zo\u00eb Abel"]},
    ]
    _write_lines(root / "NQ-open.dev.jsonl", dev)
    for shard, record in enumerate(dev):
        name = f"train-{shard:05d}-of-00002.parquet"
        _write_parquet(root / "nq_open" / name, [record])


def _popqa(root: Path) -> None:
    row = {
        "id": "4222362",
        "subj": "Abel Tarn",
        "prop": "occupation",
        "obj": "politician",
        "subj_id": "1850297",
        "prop_id": "22",
        "obj_id": "2834605",
        "s_aliases": '["A. Tarn"]',
        "o_aliases": '["political leader"]',
        "s_uri": "http://www.wikidata.org/entity/Q5952047",
        "o_uri": "http://www.wikidata.org/entity/Q82955",
        "s_wiki_title": "Abel Tarn",
        "o_wiki_title": "Politician",
        "s_pop": "142",
        "o_pop": "25692",
        "question": "What is Abel Tarn's occupation?",
        "possible_answers": '["politician", "political leader"]',
    }
    other = {
        "id": "792991",
        "prop": "capital",
        "question": "What is the capital of Ro?",
        "possible_answers": '["Tarn"]',
    }
    _write_table(root / "popQA.tsv", [row, row | other], "\t")


def _musique(root: Path) -> None:
    paragraphs = [
        {"idx": 0, "title": "Ro", "paragraph_text": "Ro is a land.", "is_supporting": False},
        {"idx": 1, "title": "Tarn", "paragraph_text": "Tarn is in Ro.", "is_supporting": True},
        {"idx": 2, "title": "Abel", "paragraph_text": "Abel led Tarn.", "is_supporting": True},
    ]
    asked = {
        "id": "2hop__482757_12019",
        "paragraphs": paragraphs,
        "question": "Who led the town in Ro?",
        "question_decomposition": [],
        "answer": "Abel",
        "answer_aliases": ["Abel of Tarn"],
        "answerable": True,
    }
    other = {"id": "3hop1__1_2_3", "answer": "Ro", "answer_aliases": []}
    _write_lines(root / "musique_ans_v1.0_dev.jsonl", [asked, asked | other])
    hidden = [{**paragraph} for paragraph in paragraphs]
    for paragraph in hidden:
        del paragraph["is_supporting"]
    test = _without(asked, "answer", "answer_aliases", "answerable", "question_decomposition")
    _write_lines(root / "musique_ans_v1.0_test.jsonl", [test | {"paragraphs": hidden}])


def _write_table(path: Path, rows: list[dict[str, str]], delimiter: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [*rows[0]], delimiter=delimiter, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _write_parquet(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def _write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def _write_image(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(colour))


def _encoded(colour: tuple[int, int, int], kind: str = "JPEG") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (12, 8), colour).save(buffer, kind)
    return buffer.getvalue()


def _without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


if __name__ == "__main__":
    write_fixtures(FIXTURES)
