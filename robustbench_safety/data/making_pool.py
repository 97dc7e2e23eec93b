"""Parts of a generated dataset spread over processes, which end with the one that began them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from robustbench_safety.data.making_parts import Part, Plan, Written, write_part
from robustbench_safety.errors import StorageError

__all__ = ["written_parts"]


def written_parts(plan: Plan, parts: Sequence[Part], workers: int) -> Iterator[Written]:
    """Yield what each part left on disk, in the order in which they are finished.

    Every process has one thread: on small images more only get in each other's way.

    Args:
        plan: Of all parts.
        parts: What there is to do.
        workers: Processes; with one the work is done in this process.

    Raises:
        StorageError: A process was killed, by the system for want of memory for instance.
    """
    if min(workers, len(parts)) <= 1:
        yield from _here(plan, parts)
        return
    before = set(multiprocessing.active_children())
    # Not forked: torch's threads do not survive that.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(parts)), mp_context=context, initializer=_begin)
    try:
        for future in as_completed([pool.submit(write_part, plan, part) for part in parts]):
            yield future.result()
    except BrokenProcessPool as error:
        raise StorageError(
            "a process that made images was killed",
            found=str(error),
            fix="name fewer workers if memory ran out, and run the same command again",
        ) from error
    except BaseException:
        # A part takes a minute, and what it has written is kept: nobody waits for it.
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _here(plan: Plan, parts: Sequence[Part]) -> Iterator[Written]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for part in parts:
            yield write_part(plan, part)
    finally:
        torch.set_num_threads(threads)


def _begin() -> None:
    """Prepare a process: one thread, deaf to the terminal's interrupt, and gone with its parent."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        # A parent that is killed tells nobody, and the queue between the two keeps a child waiting for ever.
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
