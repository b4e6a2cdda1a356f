"""Reading ahead: one background thread prepares the batches that will be asked for next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import torch

from gantlet.core.game import Batch, Data, Spec


@runtime_checkable
class TwoStep(Protocol):
    """Data whose slow half touches no device (CUDA graphs forbid other threads to allocate while one is captured)."""

    def fetch(self, first: int, n: int) -> Any: ...

    def finish(self, fetched: Any, device: torch.device) -> Batch: ...


Call = tuple[int, int, torch.device]


class Prefetch:
    """The same data with the next `ahead` calls computed in the background; results and errors are those without it."""

    def __init__(self, data: Data, *, ahead: int = 2) -> None:
        self.data, self.ahead = data, ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gantlet-data")
        self._waiting: dict[Call, Future[Any]] = {}
        self._last: Call | None = None
        self._stride = 0

    @property
    def spec(self) -> Spec:
        return self.data.spec

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        call = (first, n, device)
        fetch, finish = self._steps()
        waiting = self._waiting.pop(call, None)
        fetched = fetch(*call) if waiting is None else waiting.result()
        self._plan(call, fetch)
        return finish(fetched, device)

    def _steps(self) -> tuple[Callable[..., Any], Callable[..., Batch]]:
        data = self.data
        if isinstance(data, TwoStep):
            return (lambda first, n, device: data.fetch(first, n)), data.finish
        return data.take, (lambda batch, device: batch)

    def _plan(self, call: Call, fetch: Callable[..., Any]) -> None:
        """Guess the next calls from the last step between two (n, or more where ranks share a batch)."""
        first, n, device = call
        if self._last is None or self._last[1:] != call[1:]:
            self._stride = n
        elif first > self._last[0]:
            self._stride = first - self._last[0]
        self._last = call
        wanted = [(first + k * self._stride, n, device) for k in range(1, self.ahead + 1)]
        for old in [c for c in self._waiting if c not in wanted]:
            self._waiting.pop(old).cancel()
        for new in wanted:
            if new not in self._waiting:
                self._waiting[new] = self._pool.submit(fetch, *new)

    def close(self) -> None:
        """Stop reading ahead; a closed Prefetch reads no more."""
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)
