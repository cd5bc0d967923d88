"""What options of benchmarks of masks choose from."""

from enum import StrEnum


class MaskMode(StrEnum):
    """Whose words lead to the masks that are scored; the two are not comparable."""

    free_running = "free_running"  # the model's own
    teacher_forced = "teacher_forced"  # given to it (LISA, GLaMM, PLUM)


class UncoveredPixels(StrEnum):
    """Of a label map: what a pixel becomes where every class's mask is less likely than not."""

    likeliest = "likeliest"  # the class of the likeliest mask all the same
    no_class = "no_class"  # wrong


class CocoStuffClasses(StrEnum):
    """Which classes of COCO-Stuff are asked for; pixels of the others are ignored."""

    all171 = "all171"
    lisa143 = "lisa143"  # those that LISA and PLUM keep: no name with a hyphen
