"""The one thread that holds the searcher: it gathers what was asked at about the same time."""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from pixsearch.config import RegionCrop, ServerOptions
from pixsearch.queries import Passage
from pixsearch.retrieval.caching import CachingSearcher
from pixsearch.retrieval.info import KnowledgeSource, SourceInfo
from pixsearch.retrieval.opening import close_searcher, layers
from pixsearch.retrieval.searcher import AnyReranker
from pixsearch.retrieval.server.metrics import Metrics
from pixsearch.retrieval.server.requests import Reranking, Retrieval
from pixsearch.web.refusals import Busy, NotConfigured, NotReady

logger = logging.getLogger(__name__)

Ranking = list[tuple[int, float]]
"""Places of documents with their scores, best first."""


class OwnerState(StrEnum):
    """What the owner can do."""

    loading = "loading"
    ready = "ready"
    failed = "failed"  # `error` says why
    stopped = "stopped"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """A request on its way; whoever cancels its future no longer waits for it."""

    work: Retrieval | Reranking
    arrived: float = field(default_factory=time.monotonic)
    future: Future[Any] = field(default_factory=Future)


class Owner:
    """Opens searcher and reranker in a thread of its own, the only one that ever uses them.

    Requests that arrive within `window_milliseconds` of the first are searched in one call, if
    they ask for the same number of passages and the same crop. A request whose queries the
    searcher refuses fails alone: the others of its batch are searched again without it.

    Args:
        open_searcher: called in the thread.
        open_reranker: likewise, with the searcher, which may have one to share; None: there is
            none.

    Attributes:
        state: where it stands.
        info: what is searched, once it is ready.
        error: why it could not be opened.
    """

    def __init__(
        self,
        open_searcher: Callable[[], KnowledgeSource],
        options: ServerOptions,
        metrics: Metrics,
        *,
        open_reranker: Callable[[KnowledgeSource], AnyReranker] | None = None,
    ) -> None:
        self.state = OwnerState.loading
        self.info: SourceInfo | None = None
        self.error: Exception | None = None
        self._open_searcher = open_searcher
        self._open_reranker = open_reranker
        self._window = options.window_milliseconds / 1000
        self._max_batch = options.max_batch
        self._metrics = metrics
        self._places = threading.BoundedSemaphore(options.queue_size)
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._on_failure: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name="owner of the searcher", daemon=True)

    def start(self, *, on_failure: Callable[[], None] | None = None) -> None:
        """Begin to load.

        Args:
            on_failure: called, in the thread, when loading has failed.
        """
        self._on_failure = on_failure
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Answer what is in the queue, then end; what takes longer than `timeout` is given up."""
        self._tasks.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            logger.warning("the searcher is still at work after %.0f s: it is given up", timeout)

    def take_place(self) -> None:
        """Take one of the queue's places, before the work of reading a request begins.

        Raises:
            Busy: there is none.
            NotReady: nothing can be searched yet, or any more.
        """
        if self.state is not OwnerState.ready:
            raise NotReady(f"the server is {self.state}: ask again later")
        if not self._places.acquire(blocking=False):
            raise Busy("the queue is full: ask again later")
        self._metrics.queue.inc()

    def leave_place(self) -> None:
        """Give back the place of a request that is not submitted."""
        self._metrics.queue.dec()
        self._places.release()

    def submit(self, work: Retrieval | Reranking) -> Future[Any]:
        """Queue a request that has a place, which it keeps until the thread is done with it.

        Returns:
            A future of the passages of each query (`Retrieval`), or of a `Ranking` of each query's
            documents (`Reranking`).
        """
        task = _Task(work=work)
        self._tasks.put(task)
        return task.future

    def _run(self) -> None:
        if self._open():
            while (first := self._tasks.get()) is not None:
                self._answer(self._gather(first))
            self.state = OwnerState.stopped
            close_searcher(self._searcher)
        self._refuse_rest()

    def _open(self) -> bool:
        """Whether searcher and reranker could be opened."""
        try:
            self._searcher = self._open_searcher()
            self._reranker = self._open_reranker(self._searcher) if self._open_reranker else None
            self.info = self._searcher.info()
            for layer in layers(self._searcher):
                if isinstance(layer, CachingSearcher):
                    self._metrics.watch(layer.cache)
        except Exception as error:  # told by whoever started the server
            self.error, self.state = error, OwnerState.failed
            if self._on_failure is not None:
                self._on_failure()
            return False
        self.state = OwnerState.ready
        logger.info("ready: %d documents", self.info.num_documents)
        return True

    def _gather(self, first: _Task) -> list[_Task]:
        """The first task and those that come within its window, or have come before."""
        tasks, count = [first], _size(first)
        deadline = first.arrived + self._window
        while count < self._max_batch:
            try:
                task = self._tasks.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if task is None:
                self._tasks.put(None)  # the end comes behind this batch
                break
            tasks.append(task)
            count += _size(task)
        return tasks

    def _answer(self, tasks: list[_Task]) -> None:
        wanted = [task for task in tasks if task.future.set_running_or_notify_cancel()]
        groups: dict[tuple[int, RegionCrop], list[_Task]] = {}
        for task in wanted:
            if isinstance(task.work, Reranking):
                self._settle([task], self._rerank)
            else:
                groups.setdefault((task.work.k, task.work.region_crop), []).append(task)
        for group in groups.values():
            self._settle(group, self._search)
        for _ in tasks:
            self.leave_place()

    def _settle(self, tasks: list[_Task], work: Callable[[list[_Task]], list[Any]]) -> None:
        """Give each task its result or its error; where several fail together, each goes alone."""
        try:
            results = work(tasks)
        except Exception as error:  # whatever it is, the server lives on
            if len(tasks) > 1:
                for task in tasks:
                    self._settle([task], work)
            else:
                tasks[0].future.set_exception(error)
            return
        for task, result in zip(tasks, results, strict=True):
            task.future.set_result(result)

    def _search(self, tasks: list[_Task]) -> list[list[list[Passage]]]:
        """The passages of each query of each task, all asked in one call."""
        queries = [query for task in tasks for query in task.work.queries]
        first = tasks[0].work
        with self._metrics.search_seconds.time():
            found = self._searcher.search(queries, first.k, region_crop=first.region_crop)
        assert len(found) == len(queries), f"{len(found)} results for {len(queries)} queries"
        self._metrics.batch_queries.observe(len(queries))
        for type, count in Counter(query.type for query in queries).items():
            self._metrics.queries.labels(type.value).inc(count)
        rest = iter(found)
        return [[next(rest) for _ in task.work.queries] for task in tasks]

    def _rerank(self, tasks: list[_Task]) -> list[list[Ranking]]:
        """The documents of each query, compared with that query alone."""
        if self._reranker is None:
            raise NotConfigured("this server was started without a reranker")
        work = tasks[0].work
        return [
            [
                self._ranking(query, passages)[: work.k]
                for query, passages in zip(work.queries, work.passages, strict=True)
            ]
        ]

    def _ranking(self, query: str, passages: Sequence[str]) -> Ranking:
        if not passages:
            return []
        scores = self._reranker.scores(query, passages)
        if not np.isfinite(scores).all():
            raise ArithmeticError(f"the reranker's scores of {query!r} are not finite")
        order = np.lexsort((np.arange(len(scores)), -scores))  # equal ones as they came
        return [(int(place), float(scores[place])) for place in order]

    def _refuse_rest(self) -> None:
        """Whoever still waits is told that nothing comes."""
        while not self._tasks.empty():
            task = self._tasks.get()
            if task is not None and task.future.set_running_or_notify_cancel():
                task.future.set_exception(NotReady("the server is being stopped"))


def _size(task: _Task) -> int:
    return len(task.work.queries)
