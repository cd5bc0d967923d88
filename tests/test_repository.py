"""Rules that hold for the repository as a whole."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from pixsearch.tokens import SPECIAL_TOKENS

ROOT = Path(__file__).parents[1]

TEXT = {".py", ".yaml", ".toml", ".txt", ".md", ".svg", ""}
PRIVATE = re.compile(r"(?<![\w.])/(?:work|home|root|Users|mnt|scratch/\w+)/\w")
HOSTS = re.compile(r"https?://[^\s)>\"']+")


def tracked() -> list[Path]:
    """What git has or would take; all that matters for a checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    files = [path for path in tracked() if path.suffix in TEXT]
    return [(path, path.read_text(encoding="utf-8", errors="ignore")) for path in files]


def test_no_private_paths():
    found = {str(path.relative_to(ROOT)) for path, text in texts() if PRIVATE.search(text)}
    assert found - {"tests/test_repository.py"} == set()


def test_packages_come_from_no_named_host():
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run"):
        assert not HOSTS.search((ROOT / name).read_text()), name


def test_constraints_are_exact_versions_alone():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    names = [_normal(pin.split("==")[0]) for pin in pins]
    assert len(names) == len(set(names))


def test_what_is_required_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    required = [*project["dependencies"], *extras["cpu"], *extras["dev"]]
    pinned = {
        _normal(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    assert {_normal(re.split(r"[<>=\[]", line)[0]) for line in required} <= pinned


def test_extras_are_spelled_as_every_pip_finds_them():
    """pip 23 passes over an extra with an underscore: the wheel's metadata have a hyphen there."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert [name for name in extras if name != _normal(name)] == []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_scripts_are_short():
    for path in (ROOT / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 40, path


def test_special_tokens_are_spelled_in_one_module():
    """As strings of the code: docstrings and comments may show them."""
    for path in (ROOT / "pixsearch").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        strings = {node.value for node in nodes if isinstance(node, ast.Constant)}
        assert path.name == "tokens.py" or not strings & set(SPECIAL_TOKENS), path


def test_no_file_is_large():
    assert sum(path.stat().st_size for path in tracked()) < 30e6
    for path in tracked():
        assert path.stat().st_size < 10e6, path


def test_files_can_be_read_in_one_go():
    for path in (ROOT / "pixsearch").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 350, path


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_ci_calls_make_test():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
