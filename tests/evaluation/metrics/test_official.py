"""Our metrics against what the benchmarks' own scripts answered (golden/record.py)."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from pixsearch.config import CragMMProtocol
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.crag_mm_official import SCORES, write_official
from pixsearch.evaluation.metrics import normalisation, text_qa
from pixsearch.evaluation.metrics.crag_mm import (
    UNKNOWN_TESTS,
    conversation_scores,
    cut_answer,
    stop_early,
)
from pixsearch.evaluation.metrics.encyclopedic_vqa import encyclopedic_vqa_em
from pixsearch.evaluation.metrics.grefcoco import THRESHOLDS
from pixsearch.evaluation.metrics.infoseek import (
    InfoSeekItem,
    QuestionType,
    Split,
    infoseek_scores,
    numerical_match,
    parse_numbers,
)
from pixsearch.evaluation.metrics.mean import mean_of
from pixsearch.evaluation.metrics.oven import OvenItem, Part, oven_scores
from pixsearch.evaluation.metrics.regions import first_rank, is_alike
from pixsearch.evaluation.metrics.relaxed import chartqa_relaxed_accuracy, relaxed_token_overlap
from pixsearch.evaluation.metrics.segmentation import overlap, polygon_target
from pixsearch.evaluation.metrics.truthfulness import Verdict, truthfulness
from pixsearch.evaluation.metrics.vqa import (
    direct_answer_score,
    evalai_accuracy,
    multiple_choice_score,
    vqa_accuracy,
)
from pixsearch.evaluation.phrase_measure import by_gref_rules, gref_figures, present_figures
from pixsearch.evaluation.verdicts import EXACT, JudgedAnswer, JudgeVerdict
from tests.evaluation.phrases import compared_phrase, values

OFFICIAL = json.loads((Path(__file__).parent / "golden" / "official.json").read_text())
ROUNDED = 0.0101  # of percents: the scripts round what they average


@pytest.mark.parametrize("name", ["squad", "nq_open", "vqa", "evalai", "encyclopedic_vqa"])
def test_normalisers(name):
    normalise = getattr(normalisation, name)
    for case in OFFICIAL["normalisation"]:
        assert normalise(case["text"]) == case[name], case["text"]


def test_vqa_accuracies():
    for case in OFFICIAL["vqa"]:
        answer, people = case["answer"], case["people"]
        assert vqa_accuracy(answer, people) == pytest.approx(case["vqa"]), case
        assert evalai_accuracy(answer, people) == pytest.approx(case["evalai"]), case


def test_words_of_hotpotqa_musique_nq_open_and_flashrag():
    for case in OFFICIAL["text_qa"]:
        answer, golds = case["answer"], case["golds"]
        hotpotqa = text_qa.hotpotqa_overlap(answer, golds[0])
        flashrag = text_qa.flashrag_overlap(answer, golds)
        matched = text_qa.exact_match(answer, golds)
        assert _numbers(hotpotqa) == pytest.approx(case["hotpotqa"]), case
        assert text_qa.exact_match(answer, golds[:1]) == case["hotpotqa_em"], case
        assert text_qa.musique_f1(answer, golds) == pytest.approx(case["musique_f1"]), case
        assert matched == case["musique_em"] == case["flashrag_em"], case
        assert (
            text_qa.exact_match(answer, golds, normalise=normalisation.nq_open)
            == case["nq_open_em"]
        ), case
        wanted = [case["flashrag"][name] for name in ("f1", "precision", "recall")]
        assert _numbers(flashrag) == pytest.approx(wanted), case
        assert text_qa.contains(answer, golds) == case["flashrag_acc"], case


def test_supporting_facts():
    for case in OFFICIAL["support"]:
        predicted, gold = case["predicted"], case["gold"]
        hotpotqa = text_qa.support_overlap(predicted, gold)
        musique = text_qa.support_overlap(predicted, gold, empty_is_right=True)
        assert _numbers(hotpotqa) == pytest.approx(case["hotpotqa"]), case
        assert musique.f1 == pytest.approx(case["musique_f1"]), case


def test_infoseek_numbers():
    for case in OFFICIAL["infoseek"]["numbers"]:
        parsed, low_high = case["parsed"], tuple(case["range"])
        wanted = tuple(parsed) if isinstance(parsed, list) else parsed
        assert parse_numbers(case["answer"]) == wanted, case
        assert numerical_match(case["answer"], low_high) == case["right"], case


def test_infoseek_scores_where_missing_predictions_are_skipped():
    for run in OFFICIAL["infoseek"]["runs"]:
        scores = infoseek_scores(
            [_infoseek_item(*item) for item in run["items"]], official_missing=True
        )
        result = run["result"]
        assert 100 * scores.final == pytest.approx(result["final_score"], abs=ROUNDED)
        for split in Split:
            ours, theirs = getattr(scores, split.value), result[f"{split.value}_score"]
            for name, key in [
                ("all", "score"),
                ("string", "score_string"),
                ("time", "score_time"),
                ("numerical", "score_num"),
            ]:
                value = getattr(ours, name).mean or 0.0
                assert 100 * value == pytest.approx(theirs[key], abs=ROUNDED)


def test_oven_scores_where_missing_predictions_are_skipped():
    for run in OFFICIAL["oven"]:
        items = [
            OvenItem(part=Part(part), is_seen=seen, entity_id=wanted, predicted_id=said)
            for part, seen, wanted, said in run["items"]
        ]
        scores, result = oven_scores(items, official_missing=True), run["result"]
        assert 100 * scores.final == pytest.approx(result["final_score"], abs=ROUNDED)
        assert 100 * scores.query.seen.mean == pytest.approx(
            result["query_result"]["seen"], abs=ROUNDED
        )
        assert 100 * scores.entity.unseen.mean == pytest.approx(
            result["entity_result"]["unseen"], abs=ROUNDED
        )


def test_encyclopedic_vqa_exact_match():
    for case in OFFICIAL["encyclopedic_vqa"]:
        answer, references = case["answer"], [case["gold"]]
        if case["right"] is None:
            with pytest.raises(ValueError, match="empty once normalised"):
                encyclopedic_vqa_em(answer, references, is_list=case["list"])
        else:
            found = encyclopedic_vqa_em(answer, references, is_list=case["list"])
            assert found == case["right"], case


def test_aokvqa():
    for run in OFFICIAL["aokvqa"]:
        answers, people, choices, correct, hard = (
            list(each) for each in zip(*run["items"], strict=True)
        )
        direct = mean_of(
            None if answer is None else direct_answer_score(answer, given)
            for answer, given, difficult in zip(answers, people, hard, strict=True)
            if not difficult
        )
        choice = mean_of(
            None if answer is None else multiple_choice_score(answer, given, place)
            for answer, given, place in zip(answers, choices, correct, strict=True)
        )
        assert direct.mean == pytest.approx(run["direct"])
        assert choice.mean == pytest.approx(run["choice"])


def test_relaxed_scores():
    for case in OFFICIAL["relaxed"]["tokens"]:
        found = relaxed_token_overlap(case["generated"], case["gold"], window=case["window"])
        assert [found.precision, found.recall, found.f1] == pytest.approx(case["scores"]), case
    for answer, gold, right in OFFICIAL["relaxed"]["chartqa"]:
        assert chartqa_relaxed_accuracy(answer, gold) == right, (answer, gold)


def test_lisas_intersection_and_union():
    for case in OFFICIAL["segmentation"]["lisa"]:
        labels = np.array(case["labels"])
        ignored = labels == 255
        target = polygon_target(np.where(ignored, 0, labels), lisa_compat=True)
        found = overlap(np.array(case["predicted"]) == 1, target, ignored=ignored)
        assert (found.intersection, found.union) == (case["intersection"], case["union"])


def test_partonomys_gmiou():
    images = [
        [
            compared_phrase(overlap(predicted, target), image=str(place))
            for predicted, target in zip(
                _masks(case["predicted"]), _masks(case["target"]), strict=True
            )
        ]
        for place, case in enumerate(OFFICIAL["segmentation"]["gmiou"])
    ]
    wanted = [case["mean"] for case in OFFICIAL["segmentation"]["gmiou"]]
    micro = [values(present_figures(image))["refseg_present_giou"] for image in images]
    assert micro == pytest.approx(wanted)
    macro = values(present_figures([phrase for image in images for phrase in image]))
    assert macro["gmiou_macro"] == pytest.approx(np.mean(wanted))


def test_grefcoco():
    for run in OFFICIAL["grefcoco"]:
        found = values(gref_figures([_expression(*item) for item in run["items"]]))
        result = run["result"]
        assert 100 * found["giou"] == pytest.approx(result["gIoU"])
        assert 100 * found["ciou"] == pytest.approx(result["cIoU"])
        assert found["target_accuracy"] == pytest.approx(result["T_acc"])
        assert found["no_target_accuracy"] == pytest.approx(result["N_acc"])
        for threshold in THRESHOLDS:
            share = found[f"precision_at_{threshold}"]
            assert 100 * share == pytest.approx(result[f"Pr@{threshold}"])


@pytest.mark.parametrize("protocol", CragMMProtocol)
def test_crag_mm_conversations(protocol):
    for run in OFFICIAL["crag_mm"]["runs"]:
        talks = [[Verdict(verdict) for verdict in talk] for talk in run["talks"]]
        scores, result = conversation_scores(talks), run[protocol.value]
        is_kit = protocol is CragMMProtocol.kit
        counted = [stop_early(talk) if is_kit else talk for talk in talks]
        turns = truthfulness([verdict for talk in counted for verdict in talk])
        assert turns.n == result["total"]
        assert turns.accuracy == pytest.approx(result["accuracy"])
        assert turns.missing == pytest.approx(result["missing"])
        assert turns.hallucination == pytest.approx(result["hallucination_rate"])
        assert scores.conversation_score == pytest.approx(
            result["mean_multi_turn_conversation_score"]
        )
        if turns.n > 1:  # the scripts set the truthfulness of a single turn to 0
            assert turns.truthfulness == pytest.approx(result["truthfulness_score"])


def test_crag_mms_files_have_the_scripts_scores(tmp_path):
    for run in OFFICIAL["crag_mm"]["runs"]:
        assert _written_scores(run["talks"], tmp_path) == pytest.approx(run["paper"])
    alone = _written_scores([["correct"]], tmp_path)  # by hand: the script asks for two turns
    assert (alone["accuracy"], alone["truthfulness_score"]) == (1, 0)
    assert {type(score) for score in alone.values()} == {float}


def _written_scores(talks: list[list[str]], folder: Path) -> dict[str, float]:
    """Of conversations whose right answers are exact, all about egocentric images."""
    said = {(session, place): word for session, talk in enumerate(talks)
            for place, word in enumerate(talk)}  # fmt: skip
    questions = [
        AnnotatedQuestion(
            id=f"{session}-{place}",
            question="What?",
            answers=("it",),
            session_id=f"{session:03d}",
            labels=(("is_egocentric", "true"),),
        )
        for session, place in said
    ]
    verdicts = {
        question.id: JudgedAnswer(id=question.id, verdict=JudgeVerdict(word), by=EXACT, answer="it")
        for question, word in zip(questions, said.values(), strict=True)
    }
    write_official(folder, questions, dict.fromkeys(verdicts, "it"), verdicts)
    written = json.loads((folder / SCORES).read_text())
    assert written["all"] == written["ego"]
    return written["all"]


def test_crag_mms_test_for_unknown():
    says_unknown = UNKNOWN_TESTS[CragMMProtocol.paper]
    for text, wanted in OFFICIAL["crag_mm"]["paper_says_unknown"]:
        assert says_unknown(text) == wanted, text


def test_answers_are_cut_as_the_scorers_own_tokenizer_cuts_them():
    """The scorers call enable_truncation, then encode and decode."""
    words = {word: place for place, word in enumerate(["<s>", "<unk>", "a", "b", "c"])}

    def tokenizer() -> Tokenizer:
        made = Tokenizer(WordLevel(words, unk_token="<unk>"))
        made.pre_tokenizer = Whitespace()
        made.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        made.add_special_tokens(["<s>"])
        return made

    official = tokenizer()
    official.enable_truncation(max_length=4)
    for text in ("", "a", "a b c", "a b c a", "a b c a b c"):
        wanted = official.decode(official.encode(text).ids)
        assert cut_answer(text, tokenizer(), max_tokens=4) == wanted
    assert cut_answer("a b c a", tokenizer(), max_tokens=4) == "a b c"


def test_the_diagnostics_recall_of_entities():
    for case in OFFICIAL["diagnostics"]:
        rank = first_rank(case["retrieved"], case["gold"], matches=is_alike)
        assert [int(rank is not None and rank <= k) for k in (1, 5, 10)] == case["recall"], case


def _expression(predicted, target, no_target, says_none):
    answered = compared_phrase(
        overlap(np.array(predicted) == 1, np.array(target) == 1),
        has_target=not no_target,
        predicts_target=not says_none,
    )
    return by_gref_rules(answered)


def _numbers(found: text_qa.PrecisionRecallF1) -> list[float]:
    return [found.f1, found.precision, found.recall]


def _infoseek_item(kind, split, accepted, answer) -> InfoSeekItem:
    is_number = kind == "Numerical"
    return InfoSeekItem(
        type=QuestionType(kind.lower()),
        split=Split(split),
        answer=answer,
        accepted=() if is_number else tuple(accepted),
        accepted_range=tuple(accepted) if is_number else None,
    )


def _masks(masks: list) -> list[np.ndarray]:
    return [np.array(mask) == 1 for mask in masks]
