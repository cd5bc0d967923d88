"""What a part of an object is called: "dog head", or "the head of the dog"."""

from pixsearch.datasets.templates import pick

_FORMS = ("{object} {part}", "the {part} of the {object}")


def part_phrase(object_name: str, part_name: str, *, key: str) -> str:
    """One of the two forms, by a hash of the key."""
    form = pick(_FORMS, f"part/{key}/{object_name}/{part_name}")
    return form.format(object=object_name, part=part_name)


def category_phrase(category: str, *, key: str) -> str:
    """The phrase of `object` or `object:part`, as PACO and Pascal-Part name their categories.

    Without the meaning in brackets, and with spaces for underscores.

    >>> category_phrase("mouse_(computer_equipment)", key="")
    'mouse'
    >>> category_phrase("trash_can:inner_body", key="1") in (
    ...     "trash can inner body", "the inner body of the trash can")
    True
    """
    object_name, _, part_name = (_words(name) for name in category.strip().partition(":"))
    if not part_name:
        return object_name
    return part_phrase(object_name, part_name, key=key)


def _words(name: str) -> str:
    return name.split("_(")[0].replace("_", " ").strip()
