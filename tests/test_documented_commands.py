"""Every command of the documentation composes: its options exist and take the values shown."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_configs import OPTIONS, REQUIRED, composed

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    {ROOT / "README.md", ROOT / "data" / "README.md", *(ROOT / "docs").glob("*.md")}
    - {ROOT / "docs" / "decisions.md"}  # tells of what was
)
SCRIPT = re.compile(r"scripts/(\w+)\.py(.*)")
DEMO = re.compile(r'make demo ARGS="([^"]*)"')


def commands() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Document, script and overrides of each."""
    for path in DOCUMENTS:
        text = path.read_text().replace("\\\n", " ")
        blocks = [line for line in text.splitlines() if line.startswith("    ")]
        inline = [code.replace("\n", " ") for code in re.findall(r"`([^`]*scripts/[^`]*)`", text)]
        for line in [*blocks, *inline]:
            if (found := SCRIPT.search(line)) and found[1] in OPTIONS:
                yield path.name, found[1], overrides(found[1], found[2])
        for found in DEMO.finditer(text):
            yield path.name, "demo", overrides("demo", found[1])


def overrides(script: str, words: str) -> tuple[str, ...]:
    """Without what the shell, the launcher or the script itself takes; of a sweep the first job."""
    told = shlex.split(words.replace("…", "x"), comments=True)
    given = [word for word in told if "=" in word or word.startswith("~")]
    given = [word for word in given if not word.startswith("hydra/")]
    if script == "download":  # which tells Hydra that names are a list
        return tuple(f"what=[{word.removeprefix('what=')}]" for word in given if "what=" in word)
    return tuple(_first(word) if "-m" in told else word for word in given)


def _first(word: str) -> str:
    name, _, value = word.partition("=")
    return word if value.startswith(("[", "'", "{")) else f"{name}={value.split(',')[0]}"


@pytest.mark.parametrize(("document", "script", "given"), sorted({*commands()}))
def test_a_documented_command_composes(document, script, given):
    options = composed(script, *REQUIRED.get(script, []), *given)
    assert isinstance(options, OPTIONS[script])


def test_there_are_commands_of_many_scripts():
    found = [*commands()]
    assert len(found) > 80
    assert len({script for _, script, _ in found}) > 20
