"""The protocol card: what a reader must know of how a table's figures came about."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pixsearch.config import OF_ONE_POLICY
from pixsearch.evaluation.paper_tables.folders import ResultFolder

Card = list[tuple[str, str]]
COUNTS = {
    "num_missing_predictions": "predictions missing",
    "num_failed": "samples failed",
    "num_empty_answers": "answers empty",
    "num_failed_searches": "searches failed",
}
"""Counts of a policy's results that are told where they are not zero."""


def protocol_of(folders: Sequence[ResultFolder]) -> Card:
    """Each folder with what it was made by, counts that lower a score, then the protocol.

    What all folders say alike is said once; what they do not is said with each value's folders.
    """
    card: Card = [(str(folder.path), _made_by(folder)) for folder in folders]
    for folder in folders:
        card += [(f"{folder.path}, {name}", told) for name, told in _counts(folder)]
    return card + _shared(folders)


def _made_by(folder: ResultFolder) -> str:
    identity = folder.benchmark
    parts = [f"{identity['name']} v{identity.get('version', '?')}"]
    parts += [f"split {identity['split']}"] if "split" in identity else []
    parts += [f"{identity['num_samples']} samples"] if "num_samples" in identity else []
    parts += [
        f"{name} {identity[name]}" for name in ("prompt", "preparation") if identity.get(name)
    ]
    for name, value in (("files", identity.get("fingerprint")), *_digests(folder.run)):
        parts += [f"{name} {value[:12]}"] if isinstance(value, str) else []
    seed = folder.results.get("seed")
    parts += [] if seed is None else [f"seed {seed}"]
    return ", ".join(parts)


def _digests(run: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, run.get(name)) for name in ("checkpoint", "index")]


def _counts(folder: ResultFolder) -> Iterable[tuple[str, str]]:
    masks = folder.results.get("segmentation") or {}
    for name, section in [*folder.sections.items(), ("masks", masks)]:
        counted = {**section.get("searches", {}), **section}
        found = [f"{counted[key]} {what}" for key, what in COUNTS.items() if counted.get(key)]
        unscored = section.get("overall", {}).get("unscored")
        found += [f"{100 * unscored:.1f} % unscored"] if unscored else []
        if found:
            yield name, ", ".join(found)


def _shared(folders: Sequence[ResultFolder]) -> Card:
    said: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for folder in folders:
        for name, value in (folder.protocol | _options(folder)).items():
            if name != "run":
                said[name][_plain(value)].append(str(folder.path))
    card = []
    for name, values in said.items():
        if len(values) == 1:
            card.append((name, next(iter(values))))
        else:
            told = (f"{value} ({', '.join(paths)})" for value, paths in values.items())
            card.append((name, "; ".join(told)))
    return card


def _plain(value: Any) -> str:
    """
    >>> _plain({"name": "rules", "version": 1})
    'name rules, version 1'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return str(value)


def _options(folder: ResultFolder) -> dict[str, str]:
    """What all policies should share, with every value that occurs, so that odd ones are seen."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for section in folder.sections.values():
        for name, value in section.get("options", {}).items():
            if name not in OF_ONE_POLICY:
                found[f"policy.{name}"][str(value)] = None
    return {name: " and ".join(values) for name, values in found.items()}
