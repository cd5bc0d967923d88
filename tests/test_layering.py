"""Imports point one way: a part may import only the parts in rows above its own."""

import ast
from pathlib import Path

import pytest

ROWS = [
    {"config", "tokens", "images", "chat_templates", "sidecar", "key_table", "markup", "memory"},
    {"chat", "line_store", "precision", "queries", "rendering", "web"},
    {"datasets", "model", "retrieval"},
    {"endpoint"},
    {"training", "generation", "trajectories", "miniature"},
    {"evaluation", "serving"},
]
RANK = {part: rank for rank, row in enumerate(ROWS) for part in row}
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pixsearch"
# part -> other part, each with its reason
EXCEPTIONS = {
    # `model.answer(image, question, searcher)` in Python is worth one import inside the function
    ("model", "generation"),
    # the options, `ImageFit` and `ChatStyle` among them, are all defined in config/
    ("images", "config"),
    ("chat_templates", "config"),
    # a search in a conversation names its `QueryType`
    ("chat", "queries"),
    # a search that failed is a refusal of a kind of its own
    ("web", "queries"),
    # the miniature has a teacher that answers what the builder of trajectories asks
    ("miniature", "trajectories"),
    # what it renders, and the pen for it
    ("chat", "rendering"),
}


def imported_modules(file: Path) -> set[str]:
    """Full names of the modules that `file` imports, wherever in the file it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import; write the absolute one"
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.name))
def test_imports_point_one_way(file):
    part = part_of(file)
    if part == "__init__":
        return
    assert part in RANK, f"{file}: {part} is in no row of tests/test_layering.py"
    modules = [name.split(".") for name in imported_modules(file)]
    others = {name[1] for name in modules if name[0] == "pixsearch" and len(name) > 1} - {part}
    for other in sorted(others):
        allowed = RANK[other] < RANK[part] or (part, other) in EXCEPTIONS
        assert allowed, f"{file.relative_to(ROOT)}: {part} may not import {other}"


def test_only_scripts_import_hydra():
    users = [file for file in PACKAGE.rglob("*.py") if _roots(file) & {"hydra"}]
    assert users == []


def _roots(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(file)}
