"""Answers in the files of CRAG-MM's paper repository (facebookresearch/CRAG-MM).

FOLDER/turn_data.jsonl                      its evaluate-only mode reads it
FOLDER/turn_evaluation_results_all.csv      } in the form of what that mode writes; there once
FOLDER/turn_evaluation_results_ego.csv      } there are verdicts by its own test for "I don't know"
FOLDER/scores_dictionary.json               }

Rows, columns and scores are that mode's. Cells differ in this: labels are names, where it has the
ids and no image quality, and `api_response` holds our judge's words. Where no question is
egocentric it fails; here that table is empty and its scores are 0.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.metrics.crag_mm import stop_early
from pixsearch.evaluation.metrics.truthfulness import Verdict, truthfulness
from pixsearch.evaluation.verdicts import EXACT, JudgedAnswer, JudgeVerdict
from pixsearch.line_store import write_json

TURNS, ALL, EGO = (
    "turn_data.jsonl",
    "turn_evaluation_results_all.csv",
    "turn_evaluation_results_ego.csv",
)
SCORES = "scores_dictionary.json"

LABELS = ("image_quality", "query_category", "domain", "dynamism")
COLUMNS = (
    "session_id",
    "interaction_id",
    "turn_idx",
    "is_ego",
    *LABELS,
    "query",
    "ground_truth",
    "agent_response",
    "total_turn_count",
    "interaction_id_history",
    "is_exact_match",
    "is_correct",
    "is_miss",
    "is_semantically_correct",
    "api_response",
)


def write_official(
    folder: Path,
    questions: Sequence[AnnotatedQuestion],
    answers: Mapping[str, str],
    verdicts: Mapping[str, JudgedAnswer],
    *,
    has_scores: bool = True,
) -> None:
    """Write what the official scorer reads and, once all is judged, what it writes.

    A missing or failed answer is the empty one, so that the denominator stays; a verdict that could
    not be read counts as wrong, as it does there.

    Args:
        has_scores: the verdicts are by this scorer's rules; without them it gets the turns alone.
    """
    turns = _turns(questions, answers)
    _write_lines(folder / TURNS, turns)
    if not has_scores or not all(id in verdicts for id in answers):
        for name in (ALL, EGO, SCORES):  # of other answers or rules
            (folder / name).unlink(missing_ok=True)
        return
    judged = [turn | _judged(verdicts.get(turn["interaction_id"])) for turn in turns]
    judged.sort(key=lambda turn: (turn["session_id"], turn["turn_idx"]))
    of_ego = [turn for turn in judged if turn["is_ego"]]
    _write_table(folder / ALL, judged)
    _write_table(folder / EGO, of_ego)
    write_json(folder / SCORES, {"all": _scores(judged), "ego": _scores(of_ego)})


def _turns(
    questions: Sequence[AnnotatedQuestion], answers: Mapping[str, str]
) -> list[dict[str, Any]]:
    earlier: dict[str | None, list[str]] = {}
    turns = []
    for question in questions:
        labels = dict(question.labels)
        history = earlier.setdefault(question.session_id, [])
        turns.append(
            {
                "session_id": question.session_id,
                "interaction_id": question.id,
                "turn_idx": len(history),
                "is_ego": labels["is_egocentric"] == "true",
                **{name: labels.get(name) for name in LABELS},
                "query": question.question,
                "ground_truth": next(iter(question.answers), ""),
                "agent_response": answers.get(question.id, ""),
                "interaction_id_history": list(history),
            }
        )
        history.append(question.id)
    return [turn | {"total_turn_count": len(earlier[turn["session_id"]])} for turn in turns]


def _judged(verdict: JudgedAnswer | None) -> dict[str, Any]:
    """The columns of a verdict; a turn without an answer is wrong."""
    is_correct = verdict is not None and verdict.verdict is JudgeVerdict.correct
    return {
        "is_exact_match": is_correct and verdict.by == EXACT,
        "is_correct": is_correct,
        "is_miss": verdict is not None and verdict.verdict is JudgeVerdict.missing,
        "is_semantically_correct": is_correct,  # also of an exact match, as there
        "api_response": verdict.reason if verdict is not None else None,
    }


def _scores(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The official names and rules, by which a turn alone has no truthfulness."""
    n = float(len(turns))
    exact, correct, miss = (
        float(sum(turn[name] for turn in turns))
        for name in ("is_exact_match", "is_correct", "is_miss")
    )
    wrong = n - correct - miss
    share = partial(_share, n=n)
    return {
        "total": n,
        "correct_exact": exact,
        "correct": correct,
        "miss": miss,
        "hallucination": wrong,
        "exact_match": share(exact),
        "accuracy": share(correct),
        "missing": share(miss),
        "hallucination_rate": share(wrong),
        "truthfulness_score": share(2 * correct + miss) - 1 if n > 1 else 0.0,
        "mean_multi_turn_conversation_score": _conversation_score(turns),
    }


def _share(count: float, *, n: float) -> float:
    return count / n if n else 0.0


def _conversation_score(turns: Sequence[dict[str, Any]]) -> float:
    conversations: dict[str, list[Verdict]] = {}
    for turn in turns:
        verdict = Verdict.MISSING if turn["is_miss"] else Verdict.HALLUCINATION
        verdict = Verdict.CORRECT if turn["is_correct"] else verdict
        conversations.setdefault(turn["session_id"], []).append(verdict)
    scores = [truthfulness(stop_early(found)).truthfulness for found in conversations.values()]
    return sum(scores) / len(scores) if scores else 0.0


def _write_lines(path: Path, turns: Sequence[dict[str, Any]]) -> None:
    aside = path.with_suffix(".partial")
    lines = "".join(f"{json.dumps(turn, ensure_ascii=False)}\n" for turn in turns)
    aside.write_text(lines, encoding="utf-8")
    aside.replace(path)


def _write_table(path: Path, turns: Sequence[dict[str, Any]]) -> None:
    aside = path.with_suffix(".partial")
    with aside.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(turns)
    aside.replace(path)
