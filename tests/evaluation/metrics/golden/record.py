"""What the benchmarks' own scripts answer to inputs of ours: writes official.json beside this file.

    python record.py FOLDER

FOLDER holds the scripts, each fetched from its repository under the name that SOURCES gives. They
are run as they are: packages that they import and that are not there are replaced by empty ones.
Needs numpy, pandas, regex, torch (CPU). Nothing of the scripts is kept but what they answer.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import random
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

SOURCES = {
    "vqaEval.py": "GT-Vision-Lab/VQA a013f00 PythonEvaluationTools/vqaEvaluation/vqaEval.py",
    "m4c_evaluator.py": "haotian-liu/LLaVA c121f04 llava/eval/m4c_evaluator.py",
    "aokvqa_eval.py": "allenai/aokvqa 83786de evaluation/eval_predictions.py",
    "infoseek_eval.py": "edchengg/infoseek_eval bec0c4c infoseek_eval.py",
    "oven_eval.py": "edchengg/oven_eval e3c0e89 oven_eval.py",
    "evaluation_utils.py": "google-research/google-research 5b09c22 encyclopedic_vqa (without BEM)",
    "hotpot_evaluate_v1.py": "hotpotqa/hotpot 3635853 hotpot_evaluate_v1.py",
    "musique_answer.py": "StonyBrookNLP/musique 922ac98 metrics/answer.py",
    "musique_support.py": "StonyBrookNLP/musique 922ac98 metrics/support.py",
    "nq_open_eval_utils.py": "google-research/language 865fae6 language/orqa/utils/eval_utils.py",
    "flashrag_metrics.py": "RUC-NLPIR/FlashRAG 1ee5249 flashrag/evaluator/metrics.py",
    "flashrag_utils.py": "RUC-NLPIR/FlashRAG 1ee5249 flashrag/evaluator/utils.py",
    "pix2struct_metrics.py": "google-research/pix2struct 945f27e pix2struct/metrics.py",
    "plum_metrics.py": "AnselBlume/partonomy b79091f src/models/PLUM/utils/metrics.py",
    "plum_utils.py": "AnselBlume/partonomy b79091f src/models/PLUM/utils/utils.py (LISA's, too)",
    "partonomy_masks.py": "AnselBlume/partonomy b79091f src/evaluation/evaluators/masks.py",
    "refer_evaluation.py": "henghuiding/ReLA 3ca9551 gres_model/evaluation/refer_evaluation.py",
    "crag_mm_utils.py": "facebookresearch/CRAG-MM 36b6b4b evaluation/evaluation_utils.py",
    "crag_mm_dataset_utils.py": "facebookresearch/CRAG-MM 36b6b4b evaluation/dataset_utils.py",
    "local_evaluation.py": "the starter kit, as in JoshuaZ16/intelligent-training-crag-mm 7508915",
    "diagnostics_utils.py": "McGill-NLP/crag-mm-diagnostics be27355 utils/utils.py",
}

MISSING = set(
    """agents crag_batch_iterator cragmm_search cv2 datasets detectron2 dotenv dpr editdistance
    evaluators flashrag lmdb load_aokvqa metrics mwviews openai pycocoevalcap pydantic rich spacy
    tensorflow tensorflow_hub tensorflow_text ujson utils""".split()  # noqa: SIM905
)
"""Packages that the scripts import and that the recorded functions do not use."""

TEXTS = [
    "", "a", "the", "A dog", "the dog.", "Dogs, dogs", "dogs dogs", "2", "two", "Two.", "none",
    "yes", "Yes it is", "no", "noanswer", "x noanswer", "not a-one", "t-shirt", "T shirt", "tshirt",
    "John's car", "johns car", "dont know", "don't know", "I dont", "1,000", "1000",
    "1,000 t-shirts",
    "3.5", "3.5.", "U.S.A.", "usa", "a.b.c", "what?", "what ?", "rock/paper", "rock / paper",
    "Barack Obama", "President Barack Obama", "obama barack", "Beyonc\u00e9", "Beyonce\u0301",
    "Beyonce", "the answer is red", "The answer is: true", "true", "entailment", "false", "o'clock",
    "3 oclock", "<extra_id_0> red", "red", "Red", "red and blue", "red\nblue", "\tred ",
    "red & blue",
    "\u2018red\u2019", "self_made", "10%", "mightnt've", "'ow'sat", "somebody'd", "y'alldve",
    "an a the",
    "in 1956", "195", "1956", "born, in 1956.", "new-york", "New York", "New York City", "ten",
    "He said: [yes] (no) {x} = +1 @ `home` > < ; !", "... ... .5 5. 5.5",
    "\u00c5ngstr\u00f6m units",
]  # fmt: skip
LISTS = ["bees&&wasps", "Bees, wasps and ants", "bees & ants", "wasps", "ants&&bees&&wasps", "two"]
NUMBERS = [
    "1,200 km", "between 10 and 12", "9-10", "12-10", "about 5 to 7 to 9", "1 200", "none",
    "0 to 2",
    "1 to 3", "10", "10.5", "9.0 - 11.0", "-5", "-5-3", "1e3", "1e-3", ".5",
    "in 1956, 12 people", "0",
    "1,2", "12,345,678", "5.", "2.5.3", "+7", "7 - 7", "",
]  # fmt: skip
RANGES = [
    (9.0, 11.0),
    (1.0, 2.0),
    (2.0, 4.0),
    (0.0, 0.0),
    (-6.0, -4.0),
    (1080.0, 1320.0),
    (7.0, 7.0),
]
PASSAGES = [
    "Mr. O'Neil (born 1956) lives in New-York.", "The dogs, dogs!", "Beyonce\u0301 Knowles-Carter",
    "\u00c5ngstr\u00f6m\u00a0units; 3.5 %", "", "yes", "a red\tdoor and two blue ones",
]  # fmt: skip


class Anything:
    """Stands for whatever a missing package has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return Anything


class EmptyModule(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012 - so that it may have submodules

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything


class EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an empty module for each that is missing."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.split(".")[0] not in MISSING:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return EmptyModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None: ...


class Scripts:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, file: str, *, name: str | None = None, python2: bool = False) -> Any:
        """Run a script under a module's name."""
        source = (self.folder / file).read_text(encoding="utf-8")
        if python2:
            source = source.replace('print "', 'pass; "')
        module = types.ModuleType(name or file.removesuffix(".py"))
        module.__package__ = module.__name__.rpartition(".")[0]
        sys.modules[module.__name__] = module
        exec(compile(source, file, "exec"), module.__dict__)
        return module


def pairs(rng: random.Random, count: int) -> list[tuple[str, list[str]]]:
    """Answers, each with one to three golds; about half of them share words."""
    found = [(text, [text]) for text in TEXTS]
    for _ in range(count):
        answer = rng.choice(TEXTS)
        golds = [rng.choice(TEXTS) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.5:
            golds[0] = f"{rng.choice(TEXTS)} {answer}"
        found.append((answer, golds))
    return found


def record_vqa(scripts: Scripts, rng: random.Random) -> list[Any]:
    official = scripts.load("vqaEval.py", python2=True).VQAEval
    evalai = scripts.load("m4c_evaluator.py").TextVQAAccuracyEvaluator()
    found = []
    for _ in range(120):
        pool = rng.sample(TEXTS, 3)
        people = [pool[0]] * 10 if rng.random() < 0.3 else rng.choices(pool, k=10)
        answer = rng.choice([*pool, rng.choice(TEXTS)])
        answers = [{"answer": text, "answer_id": place} for place, text in enumerate(people)]
        gold = {1: {"answers": answers, "question_type": "x", "answer_type": "x"}}
        vqa = types.SimpleNamespace(qa=gold, getQuesIds=lambda: [1])
        judge = official(vqa, types.SimpleNamespace(qa={1: {"answer": answer}}), n=6)
        judge.updateProgress = lambda progress: None
        judge.evaluate()
        scores = evalai._compute_answer_scores(people)
        found.append(
            {
                "answer": answer,
                "people": people,
                "vqa": judge.accuracy["overall"] / 100,
                "evalai": scores.get(evalai.answer_processor(answer), 0.0),
            }
        )
    return found


def record_normalisation(scripts: Scripts) -> list[Any]:
    vqa = scripts.load("vqaEval.py", python2=True).VQAEval
    empty = types.SimpleNamespace(getQuesIds=lambda: [])
    judge = vqa(empty, empty)
    evalai = scripts.load("m4c_evaluator.py").EvalAIAnswerProcessor()
    encyclopedic = scripts.load("evaluation_utils.py").preprocess_answer
    nq_open = scripts.load("nq_open_eval_utils.py").normalize_answer
    squad = scripts.load("hotpot_evaluate_v1.py").normalize_answer
    contracted = sorted(key for key in judge.contractions if key == key.lower())
    texts = [*TEXTS, *LISTS, *PASSAGES, ". " * 40, *contracted]
    return [
        {
            "text": text,
            "squad": squad(text),
            "nq_open": nq_open(text),
            "evalai": evalai(text),
            "encyclopedic_vqa": encyclopedic(text),
            "vqa": judge.processDigitArticle(
                judge.processPunctuation(text.replace("\n", " ").replace("\t", " ").strip())
            ),
        }
        for text in texts
    ]


def record_text_qa(scripts: Scripts, rng: random.Random) -> list[Any]:
    hotpot = scripts.load("hotpot_evaluate_v1.py")
    musique = scripts.load("musique_answer.py")
    nq_open = scripts.load("nq_open_eval_utils.py")
    scripts.load("flashrag_utils.py", name="flashrag.evaluator.utils")
    flashrag = scripts.load("flashrag_metrics.py", name="flashrag.evaluator.metrics")
    config = {"dataset_name": "any"}
    f1, acc = flashrag.F1_Score(config), flashrag.Sub_ExactMatch(config)
    em = flashrag.ExactMatch(config)
    found = []
    for answer, golds in pairs(rng, 100):
        best = musique.metric_max_over_ground_truths
        found.append(
            {
                "answer": answer,
                "golds": golds,
                "hotpotqa": list(hotpot.f1_score(answer, golds[0])),
                "hotpotqa_em": bool(hotpot.exact_match_score(answer, golds[0])),
                "musique_f1": float(best(lambda p, g: musique.compute_f1(g, p), answer, golds)),
                "musique_em": bool(best(lambda p, g: musique.compute_exact(g, p), answer, golds)),
                "nq_open_em": bool(nq_open.is_correct(golds, answer, is_regex=False)),
                "flashrag": f1.token_level_scores(answer, golds),
                "flashrag_em": bool(em.calculate_em(answer, golds)),
                "flashrag_acc": bool(acc.calculate_sub_em(answer, golds)),
            }
        )
    return found


def record_support(scripts: Scripts, rng: random.Random) -> list[Any]:
    hotpot = scripts.load("hotpot_evaluate_v1.py")
    musique = scripts.load("musique_support.py")
    found = []
    for _ in range(20):
        predicted = [rng.randint(0, 4) for _ in range(rng.randint(0, 4))]
        gold = [rng.randint(0, 4) for _ in range(rng.randint(0, 3))]
        sums: dict[str, float] = dict.fromkeys(("sp_em", "sp_f1", "sp_prec", "sp_recall"), 0.0)
        hotpot.update_sp(sums, [(each,) for each in predicted], [(each,) for each in gold])
        metric = musique.SupportMetric()
        metric(predicted, gold)
        found.append(
            {
                "predicted": predicted,
                "gold": gold,
                "hotpotqa": [sums["sp_f1"], sums["sp_prec"], sums["sp_recall"]],
                "musique_f1": metric.get_metric()[1],
            }
        )
    return found


def record_infoseek(scripts: Scripts, rng: random.Random) -> dict[str, Any]:
    infoseek = scripts.load("infoseek_eval.py")
    numbers = [
        {
            "answer": text,
            "range": list(accepted),
            "parsed": infoseek.process_numerical_answer(text),
            "right": bool(
                infoseek.metric_numerical_range(
                    infoseek.process_numerical_answer(text), list(accepted)
                )
            ),
        }
        for text in NUMBERS
        for accepted in RANGES
    ]
    return {"numbers": numbers, "runs": [_infoseek_run(infoseek, rng) for _ in range(6)]}


def _infoseek_run(infoseek: Any, rng: random.Random) -> dict[str, Any]:
    items, gold, predictions = [], {}, {"unseen_question": [], "unseen_entity": []}
    for place in range(40):
        kind = rng.choice(["String", "Time", "Numerical"])
        split = rng.choice(["unseen_question", "unseen_entity"])
        if kind == "Numerical":
            accepted: list[Any] = list(rng.choice(RANGES))
            answer = rng.choice(NUMBERS)
        else:
            accepted = rng.sample(TEXTS, 2)
            answer = rng.choice([accepted[0], rng.choice(TEXTS)])
        is_missing = rng.random() < 0.2
        gold[place] = {
            "question_type": kind,
            "answer_eval": [str(each) for each in accepted] if kind == "Numerical" else accepted,
        }
        if not is_missing:
            predictions[split].append({"data_id": place, "prediction": answer})
        items.append([kind, split, accepted, None if is_missing else answer])
    result = infoseek.evaluate_infoseek_full(list(predictions.values()), [gold, gold])
    return {"items": items, "result": result}


def record_oven(scripts: Scripts, rng: random.Random) -> list[Any]:
    oven = scripts.load("oven_eval.py")
    found = []
    for _ in range(6):
        items, gold, predictions = [], {"query": [], "entity": []}, {"query": [], "entity": []}
        for place in range(40):
            part, seen = rng.choice(["query", "entity"]), rng.random() < 0.5
            wanted, said = rng.choice(["Q1", "Q2"]), rng.choice(["Q1", "Q2", None])
            split = f"{part}_val_{'seen' if seen else 'unseen'}"
            gold[part].append({"data_id": place, "entity_id": wanted, "data_split": split})
            if said is not None:
                predictions[part].append({"data_id": place, "pred_entity_id": said})
            items.append([part, seen, wanted, said])
        result = oven.evaluate_oven_full(
            gold["query"], gold["entity"], predictions["query"], predictions["entity"]
        )
        found.append({"items": items, "result": result})
    return found


def record_encyclopedic_vqa(scripts: Scripts, rng: random.Random) -> list[Any]:
    score = scripts.load("evaluation_utils.py").exact_match_scoring_function
    found = []
    single = [(answer, gold, "automatic") for answer, golds in pairs(rng, 40) for gold in golds]
    lists = [(answer, gold, "multi_answer") for answer in LISTS for gold in LISTS]
    for answer, gold, kind in [*single, *lists]:
        example = {"question_type": kind, "reference": gold, "candidate": answer}
        try:
            right: bool | None = bool(score(example))
        except ValueError:
            right = None
        found.append(
            {"answer": answer, "gold": gold, "list": kind == "multi_answer", "right": right}
        )
    return found


def record_aokvqa(scripts: Scripts, rng: random.Random) -> list[Any]:
    evaluate = scripts.load("aokvqa_eval.py").eval_aokvqa
    found = []
    for _ in range(6):
        dataset, predictions, items = {}, {}, []
        for place in range(20):
            people = rng.choices(["red", "Red", "blue", "green"], k=10)
            choices = rng.sample(["red", "blue", "green", "black"], 4)
            correct, hard = rng.randrange(4), rng.random() < 0.3
            answer = rng.choice(["red", "blue", "Red", None])
            dataset[str(place)] = {
                "direct_answers": people,
                "choices": choices,
                "correct_choice_idx": correct,
                "difficult_direct_answer": hard,
            }
            if answer is not None:
                predictions[str(place)] = answer
            items.append([answer, people, choices, correct, hard])
        found.append(
            {
                "items": items,
                "direct": evaluate(dataset, predictions, strict=False) / 100,
                "choice": evaluate(dataset, predictions, multiple_choice=True, strict=False) / 100,
            }
        )
    return found


def record_relaxed(scripts: Scripts, rng: random.Random) -> dict[str, Any]:
    import torch

    plum = scripts.load("plum_metrics.py")
    chartqa = scripts.load("pix2struct_metrics.py").relaxed_correctness
    numbers = ["10", "10.4", "10.5", "10.6", "50%", "0.5", "0", "0.0", "red", "Red", "-3", "1,000"]
    tokens = []
    for _ in range(40):
        generated = [rng.randint(0, 5) for _ in range(rng.randint(1, 8))]
        gold = [rng.randint(0, 5) for _ in range(rng.randint(1, 3))]
        window = rng.randint(1, 8)
        scores = plum.relaxed_metrics(torch.tensor(generated), torch.tensor(gold), window)
        tokens.append(
            {"generated": generated, "gold": gold, "window": window, "scores": list(scores)}
        )
    texts = [[answer, gold, bool(chartqa(gold, answer))] for answer in numbers for gold in numbers]
    return {"tokens": tokens, "chartqa": texts}


def record_segmentation(scripts: Scripts, rng: np.random.Generator) -> dict[str, Any]:
    import torch

    lisa = scripts.load("plum_utils.py").intersectionAndUnionGPU
    partonomy = scripts.load("partonomy_masks.py", name="evaluators.masks")
    labelled, images = [], []
    for _ in range(12):
        labels = rng.choice([0, 1, 2, 255], p=[0.5, 0.3, 0.1, 0.1], size=(5, 6))
        predicted = rng.integers(0, 2, size=(5, 6))
        areas = lisa(torch.tensor(predicted).float(), torch.tensor(labels).float(), 2)
        labelled.append(
            {
                "labels": labels.tolist(),
                "predicted": predicted.tolist(),
                "intersection": int(areas[0][1]),
                "union": int(areas[1][1]),
            }
        )
    for count in (1, 3, 2, 4):
        masks = rng.integers(0, 2, size=(2, count, 3, 4)) * rng.integers(
            0, 2, size=(2, count, 1, 1)
        )
        images.append(
            {
                "predicted": masks[0].tolist(),
                "target": masks[1].tolist(),
                "mean": partonomy.gmIoU(masks[0], masks[1], partonomy.MatchingStrategy.PAIRED)[1],
            }
        )
    return {"lisa": labelled, "gmiou": images}


def record_grefcoco(scripts: Scripts, rng: np.random.Generator) -> list[Any]:
    evaluator = scripts.load("refer_evaluation.py").ReferEvaluator
    found = []
    for _ in range(6):
        items = []
        for _ in range(12):
            no_target, says_none = bool(rng.random() < 0.4), bool(rng.random() < 0.4)
            target = np.zeros((3, 4), int) if no_target else rng.integers(0, 2, size=(3, 4))
            flip = rng.random(size=(3, 4)) < 0.1
            predicted = np.where(flip, 1 - target, target)
            items.append([predicted.tolist(), target.tolist(), no_target, says_none])
        judge = evaluator("any", distributed=False)
        judge._predictions = [
            {
                "img_id": place,
                "source": "grefcoco",
                "sent": "",
                "sent_info": "",
                "pred_nt": says_none,
                "gt_nt": no_target,
                "pred_mask": np.array(predicted),
                "gt_mask": np.array(target),
            }
            for place, (predicted, target, no_target, says_none) in enumerate(items)
        ]
        found.append({"items": items, "result": dict(judge.evaluate()["grefcoco"])})
    return found


def record_crag_mm(scripts: Scripts, rng: random.Random) -> dict[str, Any]:
    import pandas as pd

    paper = scripts.load("crag_mm_utils.py").calculate_scores
    clean = scripts.load("crag_mm_dataset_utils.py").clean_text
    kit = scripts.load("local_evaluation.py").CRAGEvaluator.calculate_scores
    runs = []
    for _ in range(8):
        talks = [
            rng.choices(["correct", "missing", "hallucination"], k=rng.randint(1, 6))
            for _ in range(rng.randint(1, 6))
        ]
        turns = pd.DataFrame(
            {
                "session_id": f"{session:03d}",
                "turn_idx": place,
                "is_exact_match": verdict == "correct",
                "is_correct": verdict == "correct",
                "is_miss": verdict == "missing",
                "is_semantically_correct": verdict == "correct",
            }
            for session, talk in enumerate(talks)
            for place, verdict in enumerate(talk)
        )
        runs.append({"talks": talks, "paper": paper(turns), "kit": kit(None, turns)})
    answers = ["I don't know", "I don\u2019t know.", "i do not know", "I DON'T KNOW, sorry",
    "I dont know",
               "no idea", "I  don't know", "I do n't know", "Well: i don't-know"]  # fmt: skip
    tests = [
        [text, any(words in clean(text) for words in ("i dont know", "i do not know"))]
        for text in answers
    ]
    return {"runs": runs, "paper_says_unknown": tests}


def record_diagnostics(scripts: Scripts, rng: random.Random) -> list[Any]:
    recall = scripts.load("diagnostics_utils.py").recall_at_k
    names = ["Toyota Prius", "toyota prius (XW20)", "Toyota Yaris", "Prius", "Zor", "zor bridge",
             "The Zor Bridge", "Zor-Bridge", "Caf\u00e9 Zor", "Cafe Zor", ""]  # fmt: skip
    found = []
    for _ in range(60):
        retrieved = rng.choices(names, k=rng.randint(0, 12))
        gold, article = rng.choice(names), rng.choice(names)
        images = [{"entities": [{"entity_name": name}]} for name in retrieved]
        found.append(
            {
                "retrieved": retrieved,
                "gold": [gold, article],
                "recall": list(recall(images, gold, article, [1, 5, 10]).values()),
            }
        )
    return found


def main() -> None:
    sys.meta_path.insert(0, EmptyModules())
    scripts = Scripts(Path(sys.argv[1]))
    recorded = {
        "sources": SOURCES,
        "normalisation": record_normalisation(scripts),
        "vqa": record_vqa(scripts, random.Random(0)),
        "text_qa": record_text_qa(scripts, random.Random(1)),
        "support": record_support(scripts, random.Random(2)),
        "infoseek": record_infoseek(scripts, random.Random(3)),
        "oven": record_oven(scripts, random.Random(4)),
        "encyclopedic_vqa": record_encyclopedic_vqa(scripts, random.Random(5)),
        "aokvqa": record_aokvqa(scripts, random.Random(6)),
        "relaxed": record_relaxed(scripts, random.Random(7)),
        "segmentation": record_segmentation(scripts, np.random.default_rng(8)),
        "grefcoco": record_grefcoco(scripts, np.random.default_rng(9)),
        "crag_mm": record_crag_mm(scripts, random.Random(10)),
        "diagnostics": record_diagnostics(scripts, random.Random(11)),
    }
    path = Path(__file__).with_name("official.json")
    path.write_text(json.dumps(recorded, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
