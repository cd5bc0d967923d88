"""Fetches the images of a source into a knowledge base's folder; killed at any point it goes on."""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from pixsearch.config import ImageSourceOptions
from pixsearch.retrieval.image_decoding import UnusableImageError
from pixsearch.retrieval.sources.article import Article
from pixsearch.retrieval.sources.fetching import (
    MEGA,
    DoubtfulError,
    Fetched,
    Fetcher,
    TemporaryError,
)
from pixsearch.retrieval.sources.image_files import ImageFile, image_file
from pixsearch.retrieval.sources.image_manifest import (
    ImageManifest,
    ImageRecord,
    Status,
    image_path,
)

logger = logging.getLogger(__name__)

AHEAD = 8  # images in work for each connection, so that none waits while lines are read
LOG_EVERY = 1000
FOLDER_CHARACTERS = 4  # of an article's id, in OVEN's tar


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """A record to be written.

    Attributes:
        is_doubtful: the network or the server may be to blame, and not the image.
        is_fetched: a server was asked for it.
    """

    record: ImageRecord
    is_doubtful: bool = False
    is_fetched: bool = True


def collect_images(articles: Iterable[Article], options: ImageSourceOptions, folder: Path) -> None:
    """Store the image of every article under `folder`, or its reason in the manifest.

    What an earlier run stored or quarantined is not asked for again, and an address that several
    articles share is asked for once. A kill loses no more than the requests under way. What a
    server put off (HTTP 429, 5xx) is deferred: no run quarantines it, the next one asks again.

    Raises:
        ValueError: no contact, another process at work, a broken manifest; or the network is
            away, or a server bars us or wants to be left alone, after which the same command goes
            on.
    """
    with (
        closing(_Collector(options, folder)) as collector,
        ImageManifest.open(folder, retry_quarantined=options.retry_quarantined) as manifest,
    ):
        wanted = (
            article
            for article in articles
            if article.image_url
            and collector.can_have(article)
            and manifest.claim(article.image_url)
        )
        with closing(collector.collect(wanted)) as outcomes:
            most = options.failures_in_a_row
            num_deferred = 0
            for number, record in enumerate(_refuse_outage(outcomes, most), start=1):
                manifest.append(record)
                num_deferred += record.status is Status.deferred
                if number % LOG_EVERY == 0:
                    logger.info("%d images looked at in this run", number)
        if num_deferred:
            logger.warning(
                "%d images were put off by their servers: the same command asks again", num_deferred
            )


def _refuse_outage(outcomes: Iterator[_Outcome], most: int) -> Iterator[ImageRecord]:
    """All records; doubtful ones are held back until a server has said what became of another.

    Raises:
        ValueError: `most` of them in a row.
    """
    doubtful: list[ImageRecord] = []
    for outcome in outcomes:
        if outcome.is_doubtful:
            doubtful.append(outcome.record)
            if len(doubtful) == most:
                raise ValueError(
                    f"{doubtful[-1].url}: {doubtful[-1].reason}; the {most - 1} images before it "
                    "failed too: see to the network and whether the server bars you, and run the "
                    "same command, it goes on; if it is the images, raise images.failures_in_a_row"
                )
            continue
        if outcome.is_fetched:
            yield from doubtful
            doubtful.clear()
        yield outcome.record
    yield from (replace(record, status=Status.deferred) for record in doubtful)


class _Collector:
    """Images from the folder at hand or from the network, in several threads."""

    def __init__(self, options: ImageSourceOptions, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._fetcher = Fetcher(options) if options.download else None

    def close(self) -> None:
        if self._fetcher is not None:
            self._fetcher.close()

    def can_have(self, article: Article) -> bool:
        """False for an image that is not at hand where nothing is downloaded."""
        return self._fetcher is not None or self._at_hand(article.id) is not None

    def collect(self, articles: Iterator[Article]) -> Iterator[_Outcome]:
        """What became of each article's image, as they come."""
        most = AHEAD * self._options.connections
        with ThreadPoolExecutor(self._options.connections) as pool:
            under_way: set[Future[_Outcome]] = set()
            try:
                for article in articles:
                    under_way.add(pool.submit(self._outcome, article))
                    if len(under_way) == most:
                        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                        yield from (future.result() for future in done)
                yield from (future.result() for future in as_completed(under_way))
            finally:
                if self._fetcher is not None:
                    self._fetcher.stop()
                pool.shutdown(cancel_futures=True)

    def _outcome(self, article: Article) -> _Outcome:
        url = str(article.image_url)
        path = self._folder / image_path(url)
        is_fetched = False
        try:
            if (record := self._found(path, url)) is None:
                is_fetched = self._at_hand(article.id) is None
                record = self._stored(article, path)
            return _Outcome(record=record, is_fetched=is_fetched)
        except UnusableImageError as error:
            is_temporary = isinstance(error, TemporaryError)
            status = Status.deferred if is_temporary else Status.quarantined
            record = ImageRecord(url=url, status=status, reason=str(error))
            is_doubtful = isinstance(error, DoubtfulError)
            return _Outcome(record=record, is_doubtful=is_doubtful, is_fetched=is_fetched)

    def _found(self, path: Path, url: str) -> ImageRecord | None:
        """The record of a file that a killed run stored and had not written down yet."""
        if not path.exists():
            return None
        try:
            image = self._checked(path.read_bytes())
        except UnusableImageError:
            logger.warning("%s is broken: its image is fetched again", path)
            return None
        return _record(url, image, attempts=0)

    def _stored(self, article: Article, path: Path) -> ImageRecord:
        fetched = self._fetched(article)
        image = self._checked(fetched.data)
        _write_whole(path, image.data)
        return _record(str(article.image_url), image, attempts=fetched.attempts)

    def _fetched(self, article: Article) -> Fetched:
        at_hand = self._at_hand(article.id)
        if at_hand is not None:
            return Fetched(data=at_hand.read_bytes(), attempts=0)
        assert self._fetcher is not None, "see can_have"
        return self._fetcher.fetch(str(article.image_url))

    def _at_hand(self, id: str) -> Path | None:
        if self._options.folder is None:
            return None
        path = Path(self._options.folder) / id[:FOLDER_CHARACTERS] / f"{id}.jpg"
        return path if path.is_file() else None

    def _checked(self, data: bytes) -> ImageFile:
        return image_file(
            data,
            max_pixels=self._options.max_megapixels * MEGA,
            max_side=self._options.max_side,
        )


def _record(url: str, image: ImageFile, *, attempts: int) -> ImageRecord:
    return ImageRecord(
        url=url,
        status=Status.stored,
        sha256=hashlib.sha256(image.data).hexdigest(),
        bytes=len(image.data),
        width=image.width,
        height=image.height,
        attempts=attempts,
    )


def _write_whole(path: Path, data: bytes) -> None:
    """The file is there as a whole or not at all, even if the machine goes down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
