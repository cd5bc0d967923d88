"""The scores that several benchmarks have, of a question and the answer to it."""

from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.metrics.text_qa import exact_match, token_f1
from pixsearch.evaluation.metrics.vqa import evalai_accuracy, vqa_accuracy

SQUAD = "SQuAD's: case, punctuation and articles aside; the accepted answer that fits best counts"


def em(question: AnnotatedQuestion, answer: str) -> float:
    """Exact match with any accepted answer, by SQuAD's normaliser."""
    return float(exact_match(answer, question.answers))


def f1(question: AnnotatedQuestion, answer: str) -> float:
    """F1 of the words with the accepted answer that fits best, by SQuAD's normaliser."""
    return token_f1(answer, question.answers)


def soft_accuracy(question: AnnotatedQuestion, answer: str) -> float:
    """VQA's, with what the official scorer compares."""
    return vqa_accuracy(answer, question.official.compared_answers or question.answers)


def soft_accuracy_as_given(question: AnnotatedQuestion, answer: str) -> float:
    """VQA's, with the answers as annotators gave them."""
    return vqa_accuracy(answer, question.answers)


def evalai(question: AnnotatedQuestion, answer: str) -> float:
    """That of TextVQA's server."""
    return evalai_accuracy(answer, question.answers)


def label_of(question: AnnotatedQuestion, label: str) -> str | None:
    """A label's value; None where the question has no such label."""
    return dict(question.labels).get(label)
