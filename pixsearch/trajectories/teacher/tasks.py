"""What the teacher is asked for."""

from enum import StrEnum


class Task(StrEnum):
    """What a request is for; each has a prompt of its name in `prompts/`."""

    select = "select"
    decompose = "decompose"
    respond = "respond"
    refine = "refine"
    check = "check"
    choose = "choose"
    assign = "assign"
    judge = "judge"
