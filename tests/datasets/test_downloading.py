"""What fetches published data, against a web server on this machine."""

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pixsearch.config import DownloadOptions, PathOptions
from pixsearch.datasets import downloading
from pixsearch.datasets.downloading import UNFINISHED, chosen, describe, download, fetch_file
from pixsearch.datasets.published import DATA, PUBLISHED
from pixsearch.datasets.published.records import (
    NOT_VERIFIED,
    ByHand,
    HubFiles,
    Source,
    WebFile,
)
from pixsearch.datasets.questions import hotpotqa, nq_open, popqa
from pixsearch.datasets.questions.textvqa import image_words_file
from tests.commands import ROOT, run_script_here

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CONFIGS = ROOT / "configs"
OF_DATA = "${paths.data}/"
BROUGHT_BY_USERS = ("own", "wikipedia")  # knowledge bases


class Server(ThreadingHTTPServer):
    """Serves /file with ranges, and nothing else.

    Attributes:
        ranges: header of each request, None without one.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = CONTENT[start:]
        if self.path != "/file":
            self.send_error(404)
        elif wanted and not body:
            self.send_error(416)
        else:
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # `make test` sets it
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def web_file(server: Server, *, path: str = "file", sha256: str | None = SHA256) -> WebFile:
    return WebFile(url=f"http://127.0.0.1:{server.server_port}/{path}", folder="set", sha256=sha256)


def test_a_file_is_fetched_once(server, tmp_path):
    path = tmp_path / "set" / "file"
    for _ in range(2):
        fetch_file(web_file(server), path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("there", [1, 4000, len(CONTENT)])
def test_a_fetch_that_was_broken_off_goes_on(server, tmp_path, there):
    (tmp_path / f"file{UNFINISHED}").write_bytes(CONTENT[:there])
    fetch_file(web_file(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == [f"bytes={there}-"]


def test_another_hash_is_refused_and_the_file_bears_no_name(server, tmp_path):
    with pytest.raises(ValueError, match=r"sha256 .* its publisher gives 0000"):
        fetch_file(web_file(server, sha256="0" * 64), tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_file_that_is_not_there_is_named(server, tmp_path):
    with pytest.raises(OSError, match=r"/other: .*404.*the same command goes on"):
        fetch_file(web_file(server, path="other"), tmp_path / "other")


def test_run_fetches_all_and_tells_what_is_left_to_do(server, tmp_path, monkeypatch, caplog):
    source = Source(
        fetches=(web_file(server), ByHand(page="https://example.org", what="the drive's folder")),
        licence="CC0",
        licence_page="https://example.org/licence",
        size="10 kB",
        afterwards="unzip it",
    )
    monkeypatch.setitem(downloading.PUBLISHED, "mine", source)
    options = DownloadOptions(what=["mine"], run=True, paths=PathOptions(data=str(tmp_path)))
    with caplog.at_level("INFO"):
        download(options)
    assert (tmp_path / "set" / "file").read_bytes() == CONTENT
    assert "by hand: the drive's folder (https://example.org)" in caplog.text
    assert "mine: now unzip it" in caplog.text


def test_commands_are_printed_with_licence_size_and_hash():
    lines = list(describe("paco_lvis", PUBLISHED["paco_lvis"], Path("/my data")))
    assert lines[0].startswith("# paco_lvis: GB not stated; images: coco; licence: the repository")
    assert lines[0].endswith("(https://github.com/facebookresearch/paco)")
    assert lines[1].startswith("curl -L -C - --create-dirs -o '/my data/vlpart/paco/annotations/")
    assert lines[2].endswith("/my data/vlpart/paco/annotations/paco_lvis_v1.zip' | sha256sum -c")
    (hub, _) = list(describe("crag_mm", PUBLISHED["crag_mm"], Path("data")))[1:3]
    assert hub == (
        "hf download crag-mm-2025/crag-mm-single-turn-public --repo-type dataset --revision "
        "e3a061380b9e5c7cab76f6001173872fe9149081 --local-dir data/crag_mm_single_turn"
    )


def test_kinds_stand_for_all_of_them():
    assert set(chosen(["data", "sam_h"])) == {*DATA, "sam_h"}
    with pytest.raises(ValueError, match="no source 'refcco'; there are: data, weights, coco"):
        chosen(["refcco"])


def test_the_script_takes_names_with_commas_and_fetches_nothing():
    done = run_script_here("download", "what=crag_mm,sam_h")
    assert done.returncode == 0, done.stderr
    assert "hf download facebook/sam-vit-huge --repo-type model" in done.stdout
    assert "CC BY-NC 4.0" in done.stdout
    assert run_script_here("download", "what=nope").returncode == 2


def test_each_repository_and_file_is_one_that_the_readme_or_a_config_names():
    readme = (ROOT / "data" / "README.md").read_text()
    configs = "".join(path.read_text() for path in (ROOT / "configs").rglob("*.yaml"))
    defaults = (ROOT / "pixsearch" / "config" / "grounding_dino.py").read_text()
    for name, source in PUBLISHED.items():
        for fetch in source.fetches:
            if isinstance(fetch, HubFiles) and not name.startswith("llama_3_2"):
                assert fetch.repo in readme + configs + defaults, f"{name}: {fetch.repo}"


def read(folder: str) -> dict[str, dict[str, Any]]:
    """The configs of a folder by name, as they are written."""
    paths = (CONFIGS / folder).glob("*.yaml")
    return {path.stem: yaml.safe_load(path.read_text()) for path in paths}


def fetches_of(kind: type) -> list[Any]:
    return [one for each in PUBLISHED.values() for one in each.fetches if isinstance(one, kind)]


def folders() -> set[str]:
    return {folder for source in DATA.values() for folder in source.folders}


def test_every_benchmark_reads_a_folder_that_a_source_fills():
    roots = {name: each["root"] for name, each in read("benchmark").items()}
    assert roots.pop("miniature").startswith("${paths.miniature}/")
    assert len(roots) > 20
    lacking = {name for name, root in roots.items() if root.removeprefix(OF_DATA) not in folders()}
    assert lacking == set()


def test_files_that_only_a_benchmark_needs_are_fetched():
    names = {file.name for file in fetches_of(WebFile)}
    assert image_words_file(Path(), read("benchmark")["textvqa_ocr"]["split"]).name in names
    (titles,) = re.findall(r"\w+\.jsonl", (CONFIGS / "benchmark" / "oven.yaml").read_text())
    assert titles in names


def test_what_is_searched_has_a_source_at_the_revision_that_is_searched():
    revisions = {one.repo: one.revision for one in fetches_of(HubFiles)}
    bases, indexes = set(), {}
    for name, each in read("retrieval").items():
        base, crag = each.get("knowledge_base", ""), each.get("crag_mm", {})
        if base.startswith(OF_DATA) and name not in BROUGHT_BY_USERS:
            bases.add(base.removeprefix(OF_DATA))
        for kind in ("image", "web"):
            if f"{kind}_index" in crag:
                indexes[crag[f"{kind}_index"]] = crag.get(f"{kind}_revision")
    assert {"wiki6m", "encyclopedic_vqa/knowledge_base"} == bases <= folders()
    assert len(indexes) == 4
    assert indexes.items() <= revisions.items()


def test_all_weights_of_the_configs_have_a_source():
    named = set()
    for folder in ("model", "retrieval/text_encoder", "retrieval/image_encoder"):
        for each in read(folder).values():
            named |= {each.get(key) or "" for key in ("language_model", "segmenter", "model")}
    hub = {name.removeprefix("hf-hub:") for name in named if name and not name.startswith("$")}
    assert len(hub) > 10
    assert hub <= {one.repo for one in fetches_of(HubFiles)}


@pytest.mark.parametrize("reader", [hotpotqa, nq_open, popqa])
def test_what_a_reader_takes_from_the_hub_is_fetched_at_its_revision(reader):
    name = reader.__name__.rpartition(".")[2]
    command = list(describe(name, DATA[name], Path("data")))[1]
    assert command.startswith(f"{reader.HUB.command(Path('data') / name)} --include ")
    assert all(pattern in command for pattern in reader.HUB.files.values())


def test_each_licence_names_where_it_was_read_or_says_that_it_was_not():
    for name, source in PUBLISHED.items():
        page = source.licence_page
        assert (page is None) == source.licence.startswith(NOT_VERIFIED), name
        assert page is None or page.startswith(("https://", "http://")), name
