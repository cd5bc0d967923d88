"""Why a question is left out of the trajectories."""

from enum import StrEnum


class Reason(StrEnum):
    """Reasons that are counted; beside them `leak_…` (leaks.py)."""

    broken_record = "broken_record"  # its reader could make no question of it
    duplicated_id = "duplicated_id"
    no_answer = "no_answer"  # none is annotated
    broken_image = "broken_image"
    malformed_answer = "malformed_answer"  # of the teacher, as often as it was asked
    refused_request = "refused_request"  # by the teacher
    unsuited_kind = "unsuited_kind"  # needs a search and is of a kind that is not kept for it
    nothing_to_search = "nothing_to_search"  # no sub-question needs the search that it needs
    too_many_searches = "too_many_searches"
    # Of the first candidate, where none is without fault:
    misplaced_searches = "misplaced_searches"
    answer_not_accepted = "answer_not_accepted"
    answer_before_search = "answer_before_search"
    spelled_token = "spelled_token"
    no_mask = "no_mask"  # nothing is known of where the phrase is
    empty_mask = "empty_mask"
    silent_evidence = "silent_evidence"
    contradicting_evidence = "contradicting_evidence"
    broken_grammar = "broken_grammar"


MENDED_ELSEWHERE = frozenset(
    {
        Reason.broken_record,
        Reason.broken_image,
        Reason.malformed_answer,
        Reason.refused_request,
        Reason.no_mask,
    }
)
"""Reasons that another file, or a mended server, may do away with under the same options."""


class Unusable(Exception):
    """This question cannot be used; the others can."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = str(reason)
        self.detail = detail
