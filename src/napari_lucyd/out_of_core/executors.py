"""Executors of tasks: this process, or the workers of a dask.distributed cluster."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Protocol

from napari_lucyd.compute.device import keeping_memory, visible_gpus
from napari_lucyd.deconvolution import Cancelled, Statistics
from napari_lucyd.deconvolution.image.scan import Accumulator, Part
from napari_lucyd.deconvolution.preprocessing.preparation import Prepared
from napari_lucyd.deconvolution.statistics.measurement import CountPrepared
from napari_lucyd.errors import StoreError
from napari_lucyd.text import count_text

from .region_task import TaskContext, TaskResult, compute, compute_steps, count
from .regions import Region

GPU = "GPU"
"""Name of the resource that workers with a GPU of their own are started with: ``--resources GPU=1``."""
# Tasks that wait at the scheduler for each worker. They keep it busy, and are few enough for any scheduler.
_AHEAD = 2
_POLL_SECONDS = 0.2
# Longest time to wait for the first worker, which may start from a queue.
_PATIENCE_SECONDS = 600


class Executor(Protocol):
    """The interface of an executor of tasks."""

    processes: int

    def counting(self, setting: TaskContext, should_stop: Callable[[], bool] | None) -> CountPrepared | None:
        """Return a function that counts parts of the image for the statistics, or None to count here."""

    def run(
        self,
        setting: TaskContext,
        statistics: Statistics,
        tasks: Sequence[tuple[int, Region]],
        should_stop: Callable[[], bool] | None,
    ) -> Iterator[TaskResult | float]:
        """Do tasks in any order; yield each when its voxels are written.

        An executor that does one task at a time also yields the share of it that is done.
        """


class LocalExecutor:
    """The present process; it uses all cores, or the GPU, for one task at a time."""

    processes = 1

    def counting(self, setting: TaskContext, should_stop: Callable[[], bool] | None) -> CountPrepared | None:
        """See `Executor`."""
        return None

    def run(
        self,
        setting: TaskContext,
        statistics: Statistics,
        tasks: Sequence[tuple[int, Region]],
        should_stop: Callable[[], bool] | None,
    ) -> Iterator[TaskResult | float]:
        """See `Executor`."""
        with keeping_memory():
            for number, region in tasks:
                if should_stop is not None and should_stop():
                    raise Cancelled("Stopped; finished work is kept.")
                yield (yield from compute_steps(setting, statistics, number, region, should_stop))


@contextmanager
def workers_for(jobs: int | None, scheduler: str | None, device: str = "auto") -> Iterator[Executor]:
    """Provide an executor for as long as it is needed.

    Parameters
    ----------
    jobs
        Number of processes to start on this machine; they share its cores, and take turns in getting one of
        its GPUs for themselves.
    scheduler
        Use the workers of the dask.distributed scheduler at this address.
    device
        Device of the run. All processes use the same GPU if it has a number, such as ``"cuda:1"``.

    Raises
    ------
    StoreError
        If dask.distributed is not installed, the processes do not start, or the scheduler does not answer.
    """
    if scheduler is None and (jobs is None or jobs == 1):
        yield LocalExecutor()
        return
    try:
        from distributed import Client
    except ImportError:
        raise StoreError(
            "Several processes need dask.distributed; install it with: pip install 'napari-lucyd[cluster]'"
        ) from None
    gpus = visible_gpus() if scheduler is None and device in ("auto", "cuda") else ()
    with ExitStack() as stack:
        if scheduler is None:
            scheduler = stack.enter_context(_local_cluster(jobs or 1))
        try:
            client = stack.enter_context(Client(scheduler, timeout=10))  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise StoreError(
                f"The scheduler at {scheduler} does not answer ({error}); check the address."
            ) from error
        if len(gpus) > 1:
            _share_gpus(client, gpus)
        yield DaskExecutor(client)


def _share_gpus(client: Any, gpus: Sequence[str]) -> None:
    """Let each process of this machine see one GPU, also a process that replaces another one."""
    from distributed import WorkerPlugin

    class OneGpu(WorkerPlugin):
        """Sets the variable that CUDA reads at its first use, which is in the first task."""

        def setup(self, worker: Any) -> None:
            """Choose by the number of the process, which is its name."""
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[int(worker.name) % len(gpus)]

    client.register_plugin(OneGpu(), name="one-gpu")


@contextmanager
def _local_cluster(jobs: int) -> Iterator[str]:
    """Start a scheduler and this number of processes on this machine; yield the scheduler's address."""
    import dask
    from distributed import LocalCluster

    variable = "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS"
    with dask.config.set({variable: max(1, (os.cpu_count() or 1) // jobs)}):
        try:
            # Tiles are sized by the free memory, so workers need no limit. By default dask's web
            # server would listen on all network interfaces.
            cluster = LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=jobs,
                threads_per_worker=1,
                memory_limit=None,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            )
        except (OSError, RuntimeError) as error:
            reason = str(error) or type(error).__name__
            processes = count_text(jobs, "process", "processes")
            raise StoreError(
                f"{processes} could not be started on this computer ({reason}); give "
                "a smaller --jobs, or try again when the computer is less busy."
            ) from error
        try:
            yield cluster.scheduler_address
        finally:
            # On a busy machine processes may not end in time, and are killed; their work is on the disk.
            with suppress(TimeoutError):
                cluster.close()


class DaskExecutor:
    """The workers of a dask.distributed client.

    Parameters
    ----------
    client
        A ``dask.distributed.Client``. If any of its workers has the resource ``GPU``, tasks go only to those
        workers, one to each GPU.

    Attributes
    ----------
    processes
        The largest number of simultaneous tasks on one machine, as far as known now.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        threads = Counter[str]()
        for worker in workers:
            threads[worker["host"]] += worker["nthreads"]
        self.processes = max(threads.values(), default=1)
        self._resources = {GPU: 1} if any(GPU in worker["resources"] for worker in workers) else None

    def counting(self, setting: TaskContext, should_stop: Callable[[], bool] | None) -> CountPrepared | None:
        """Return a function that lets the workers count parts of the image."""

        def on_workers(prepared: Prepared, tally: Accumulator, parts: Sequence[Part]) -> None:
            share = max(1, -(-len(parts) // (8 * max(1, self._count()))))
            batches = [list(parts[start : start + share]) for start in range(0, len(parts), share)]
            calls = [(tally.fresh(), batch) for batch in batches]
            for counted in self._each(partial(count, setting, prepared), calls, should_stop):
                tally.merge(counted)

        return on_workers

    def run(
        self,
        setting: TaskContext,
        statistics: Statistics,
        tasks: Sequence[tuple[int, Region]],
        should_stop: Callable[[], bool] | None,
    ) -> Iterator[TaskResult]:
        """Do tasks on the workers; yield each when it is done, in any order."""
        yield from self._each(partial(compute, setting, statistics), tasks, should_stop)

    def _each(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        should_stop: Callable[[], bool] | None,
    ) -> Iterator[Any]:
        """Call a function on the workers with each tuple of arguments; yield the values in any order."""
        from distributed import KilledWorker

        self._wait_for_workers(should_stop)
        # Sent once and kept by the scheduler, so that it survives the loss of a worker.
        shared = self._client.submit(_same, function, pure=False)
        waiting = list(reversed(calls))
        running: set[Any] = set()
        try:
            while waiting or running:
                while waiting and len(running) < _AHEAD * max(1, self._count()):
                    arguments = waiting.pop()
                    running.add(
                        self._client.submit(
                            _call, shared, *arguments, pure=False, resources=self._resources, retries=1
                        )
                    )
                done = {future for future in running if future.done()}
                if not done:
                    if should_stop is not None and should_stop():
                        raise Cancelled("Stopped; finished work is kept.")
                    time.sleep(_POLL_SECONDS / 10)
                    continue
                running -= done
                for future in done:
                    try:
                        found = future.result()
                    except KilledWorker as error:
                        raise StoreError(
                            "Every worker that got one part of the work was lost: it ran out of memory (give "
                            "workers more, or choose smaller tiles), or its cluster ended it "
                            f"({error}). Finished work is kept."
                        ) from error
                    yield found
        finally:
            self._client.cancel(list(running))

    def _count(self) -> int:
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def _wait_for_workers(self, should_stop: Callable[[], bool] | None) -> None:
        began = time.monotonic()
        while not self._count():
            if should_stop is not None and should_stop():
                raise Cancelled("Stopped before a worker started.")
            if time.monotonic() - began > _PATIENCE_SECONDS:
                raise StoreError(
                    f"The scheduler at {self._client.scheduler.address} had no worker for "
                    f"{_PATIENCE_SECONDS // 60} minutes; start workers (dask worker ADDRESS) and run again."
                )
            time.sleep(_POLL_SECONDS)


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
