"""The most memory that a function takes, in a process of its own that is watched from here."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 0.01


def peak_of(run: Callable[..., Any], *arguments: Any) -> tuple[Any, int, int]:
    """Call a function in a fresh process and sample its memory until it returns.

    Memory is anonymous memory: what the process holds itself. Pages of mapped files are not in it;
    the system takes them back when it needs them.

    Returns:
        What the function returned; its peak in bytes above the state after imports; that state.

    Raises:
        RuntimeError: the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, run, arguments))
    process.start()
    theirs.close()
    try:
        ours.recv()  # imports are done
        before = peak = anonymous_bytes(process.pid)
        ours.send(None)
        while not ours.poll(SAMPLE_SECONDS):
            peak = max(peak, anonymous_bytes(process.pid))
        answer = ours.recv()
    except EOFError as error:
        raise RuntimeError(f"{run.__name__} ended early, its own message is above") from error
    finally:
        ours.close()
        process.join()
    return answer, peak - before, before


def anonymous_bytes(pid: int | None) -> int:
    """Anonymous resident memory of a process, as Linux counts it; 0 when it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    lines = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def _serve(connection: Connection, run: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """In the new process: unpickling `run` has imported all that it needs."""
    connection.send(None)
    connection.recv()
    connection.send(run(*arguments))
