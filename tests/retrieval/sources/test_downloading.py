"""Images of articles, fetched from a real server, with every record accounted for."""

import hashlib
import json
import logging
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pixsearch.config import ImageSourceOptions
from pixsearch.retrieval.sources.article import Article
from pixsearch.retrieval.sources.downloading import AHEAD, collect_images
from pixsearch.retrieval.sources.image_manifest import ImageManifest, Status, image_path
from tests.retrieval.sources.image_server import ImageServer, picture
from tests.retrieval.sources.test_fetching import OPTIONS

BAD = {
    "/status/404": "HTTP 404",
    "/svg/1": "content of type image/svg+xml",
    "/halved/1": "does not decode (OSError: image file is truncated",
    "/large/2": "larger than 1 MB",
}


def articles(*urls: str | None) -> list[Article]:
    return [
        Article(id=f"Q{number}", title="T", text="t", image_url=url)
        for number, url in enumerate(urls)
    ]


def collect(into: Path, *urls: str | None, **changes: object) -> list[dict]:
    """Collect, and return the lines of the manifest."""
    collect_images(articles(*urls), replace(OPTIONS, **changes), into)
    return lines(into)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "images.jsonl").read_text().splitlines()]


def later(server: ImageServer) -> list[str]:
    """Good images, the last of which are asked for after what was named before them is known."""
    return [f"{server.address}/ok/{number}" for number in range(AHEAD + 2)]


def status_of(found: list[dict], url: str) -> list[str]:
    """All that was written of an address."""
    return [line["status"] for line in found if line["url"] == url]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob("images/**/*") if path.is_file()}


def test_every_image_is_stored_or_quarantined(server, tmp_path):
    good = [f"{server.address}/{kind}/{number}" for number in range(8) for kind in ("ok", "png")]
    bad = {f"{server.address}{path}": reason for path, reason in BAD.items()}
    found = {line["url"]: line for line in collect(tmp_path, *good, None, *bad)}
    assert found.keys() == {*good, *bad}
    assert files(tmp_path) == {image_path(url) for url in good}
    for url in good:
        data = (tmp_path / image_path(url)).read_bytes()
        line = found[url]
        assert line["status"] == "stored"
        assert (line["sha256"], line["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (line["width"], line["height"], line["attempts"]) == (24, 24, 1)
        with Image.open(tmp_path / image_path(url)) as image:
            assert (image.format, image.size) == ("JPEG", (24, 24))
    for url, reason in bad.items():
        assert found[url]["status"] == "quarantined"
        assert reason in found[url]["reason"]
    assert (tmp_path / image_path(good[0])).read_bytes() == picture(0)  # a JPEG as it came
    assert server.most_at_once <= 2


def test_nothing_is_asked_for_twice(server, tmp_path):
    urls = [f"{server.address}{path}" for path in ("/ok/1", "/ok/2", "/status/404", "/ok/1")]
    first = collect(tmp_path, *urls)
    assert collect(tmp_path, *urls) == first
    assert server.asked == Counter({"/ok/1": 1, "/ok/2": 1, "/status/404": 1})


def test_what_was_quarantined_is_asked_for_again_on_demand(server, tmp_path):
    url = f"{server.address}/returned/1"
    assert [line["status"] for line in collect(tmp_path, url)] == ["quarantined"]
    assert len(collect(tmp_path, url)) == 1
    again = collect(tmp_path, url, retry_quarantined=True)
    assert [line["status"] for line in again] == ["quarantined", "stored"]
    assert ImageManifest.read(tmp_path).is_stored(url)
    assert collect(tmp_path, url, retry_quarantined=True) == again


def test_a_file_that_a_kill_left_unrecorded_is_adopted(server, tmp_path):
    url = f"{server.address}/ok/4"
    (before,) = collect(tmp_path, url)
    (tmp_path / "images.jsonl").unlink()
    (after,) = collect(tmp_path, url)
    assert after == before | {"attempts": 0}
    assert server.asked["/ok/4"] == 1


def test_a_broken_file_is_not_adopted(server, tmp_path, caplog):
    url = f"{server.address}/ok/4"
    path = tmp_path / image_path(url)
    path.parent.mkdir(parents=True)
    path.write_bytes(picture(4)[:200])
    collect(tmp_path, url)
    assert path.read_bytes() == picture(4)
    assert "is broken: its image is fetched again" in caplog.text


def test_a_line_that_a_kill_has_cut(server, tmp_path, caplog):
    urls = [f"{server.address}/ok/{number}" for number in range(3)]
    whole = collect(tmp_path, *urls)
    path = tmp_path / "images.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING):
        found = collect(tmp_path, *urls)
    assert "cut by a kill" in caplog.text
    assert {line["sha256"] for line in found} == {line["sha256"] for line in whole}
    assert len(found) == 3
    assert sum(server.asked.values()) == 3


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "images.jsonl").write_text('{"url": "a", "status": "stored"}\n{"url": "b"}\n')
    with pytest.raises(ValueError, match=r"images\.jsonl:2: not a line of an image manifest"):
        collect(tmp_path)


def test_one_process_at_a_time(tmp_path):
    with (
        ImageManifest.open(tmp_path),
        pytest.raises(ValueError, match="another process fetches images there"),
    ):
        collect(tmp_path)


def test_a_network_that_is_away_quarantines_nothing(server, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{unused.getsockname()[1]}"
    first = collect(tmp_path, f"{server.address}/ok/1")
    urls = [f"{away}/{number}" for number in range(20)]
    with pytest.raises(
        ValueError, match=r"no answer .*the 9 images before it failed too: see to the net"
    ):
        collect(tmp_path, *urls, attempts=1)
    assert lines(tmp_path) == first
    manifest = ImageManifest.read(tmp_path)
    assert (manifest.is_stored(urls[1]), manifest.reason(urls[1])) == (False, "not fetched")


def test_one_server_that_is_away_among_others_is_quarantined(server, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{unused.getsockname()[1]}/a"
    found = collect(tmp_path, away, *later(server), attempts=1, connections=1)
    assert status_of(found, away) == ["quarantined"]


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_server_that_bars_or_puts_off_everything_settles_nothing(server, tmp_path, status):
    urls = [f"{server.address}/status/{status}?{number}" for number in range(20)]
    with pytest.raises(ValueError, match=rf"HTTP {status}.*the 9 images before it failed too"):
        collect(tmp_path, *urls, attempts=1)
    assert lines(tmp_path) == []


def test_what_is_put_off_is_asked_for_again_without_being_told(server, tmp_path, caplog):
    url = f"{server.address}/flaky/3"
    found = collect(tmp_path, url, *later(server), connections=1)
    assert status_of(found, url) == ["deferred"]
    assert "1 images were put off" in caplog.text
    assert ImageManifest.read(tmp_path).reason(url) == "HTTP 503, 3 times"
    again = collect(tmp_path, url)
    assert status_of(again, url) == ["deferred", "stored"]
    assert collect(tmp_path, url) == again


def test_a_few_failures_that_no_answer_followed_are_asked_for_again(server, tmp_path):
    url = f"{server.address}/status/403"
    assert status_of(collect(tmp_path, url), url) == ["deferred"]
    after = collect(tmp_path, url, *later(server), connections=1)
    assert status_of(after, url) == ["deferred", "quarantined"]


def test_images_at_hand_say_nothing_about_the_network(server, tmp_path):
    folder = tmp_path / "at_hand" / "Q1"
    folder.mkdir(parents=True)
    (folder / "Q1.jpg").write_bytes(picture(9))
    urls = [f"{server.address}/{path}" for path in ("status/403", "ok/1", "status/403?2")]
    at_hand = {"folder": str(tmp_path / "at_hand"), "connections": 1}
    with pytest.raises(ValueError, match="the 1 images before it failed too"):
        collect(tmp_path / "kb", *urls, **at_hand, failures_in_a_row=2)
    assert {line["url"] for line in lines(tmp_path / "kb")} <= {urls[1]}


def test_a_server_that_wants_to_be_left_alone_ends_the_run(server, tmp_path):
    urls = [f"{server.address}/{path}" for path in ("busy/9999", *(f"ok/{n}" for n in range(20)))]
    with pytest.raises(ValueError, match="run the same command later, it goes on"):
        collect(tmp_path, *urls)
    collect(tmp_path, *urls)
    assert {line["url"] for line in lines(tmp_path)} == set(urls)
    assert all(server.asked[f"/ok/{number}"] == 1 for number in range(20))


def test_images_at_hand_are_not_asked_for(server, tmp_path):
    at_hand = tmp_path / "at_hand" / "Q0"
    at_hand.mkdir(parents=True)
    (at_hand / "Q0.jpg").write_bytes(picture(9))
    urls = [f"{server.address}/ok/{number}" for number in range(2)]
    folder = tmp_path / "kb"
    (only,) = collect(folder, *urls, folder=str(tmp_path / "at_hand"), download=False)
    assert (only["url"], only["attempts"]) == (urls[0], 0)
    assert (folder / image_path(urls[0])).read_bytes() == picture(9)
    assert server.asked == Counter()
    collect(folder, *urls, folder=str(tmp_path / "at_hand"))
    assert server.asked == Counter({"/ok/1": 1})


def test_limits_of_an_image(server, tmp_path):
    url = f"{server.address}/ok/1"
    (line,) = collect(tmp_path / "pixels", url, max_megapixels=0.0005)
    assert (line["status"], line["reason"]) == (Status.quarantined, "24x24 pixels are too many")
    (line,) = collect(tmp_path / "side", url, max_side=12)
    assert (line["width"], line["height"]) == (12, 12)


@pytest.mark.parametrize(
    "wrong", [{"connections": 0}, {"timeout": 0.0}, {"back_off": -1.0}, {"max_megabytes": 0.0}]
)
def test_options_that_make_no_sense(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"images\.{name}={value}: "):
        ImageSourceOptions(**wrong)
