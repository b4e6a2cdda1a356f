"""Numbers of many steps that stay on the device until a block of them is fetched, which nobody waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Row(NamedTuple):
    """What was put down after one step."""

    step: int
    values: dict[str, float]


class _Block:
    """Rows with the same names: one device tensor [size, names], filled from the top."""

    def __init__(self, names: tuple[str, ...], size: int, device: torch.device) -> None:
        self.names, self.steps = names, list[int]()
        self.values = torch.empty(size, len(names), device=device)


class Ring:
    """Rows go in on the device; `fetch` begins to copy those that are there, `arrived` answers the ones that have come.

    `size` rows are kept between two fetches; more are a ValueError. Rows may have different names.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.blocks: dict[tuple[str, ...], _Block] = {}
        self.coming: list[tuple[tuple[str, ...], list[int], Tensor, torch.cuda.Event | None]] = []

    @torch.no_grad()
    def put(self, step: int, values: Mapping[str, Tensor]) -> None:
        """One row of 0-d tensors; nothing is read back."""
        if not values:
            return
        names = tuple(values)
        row = torch.stack([v.detach().to(torch.float32) for v in values.values()])
        block = self.blocks.get(names)
        if block is None:
            block = self.blocks[names] = _Block(names, self.size, row.device)
        if len(block.steps) == self.size:
            raise ValueError(f"more than {self.size} rows between two fetches")
        block.values[len(block.steps)] = row
        block.steps.append(step)

    def fetch(self) -> None:
        """Begin to copy everything that was put down to the host, and start over."""
        for block in self.blocks.values():
            if not block.steps:
                continue
            used, event = block.values[: len(block.steps)], None
            if used.device.type == "cuda":
                host = torch.empty(used.shape, pin_memory=True)
                host.copy_(used, non_blocking=True)
                event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                event.record()
            else:
                host = used.cpu().clone()
            self.coming.append((block.names, block.steps, host, event))
            block.steps = []

    def arrived(self, *, wait: bool = False) -> list[Row]:
        """The rows that have come since the last call, in order of their steps; `wait`: all that are on the way."""
        there, still = [], []
        for names, steps, host, event in self.coming:
            if event is not None and wait:
                event.synchronize()
            done = event is None or event.query()  # type: ignore[no-untyped-call]
            if done:
                there += [Row(s, dict(zip(names, v))) for s, v in zip(steps, host.tolist())]
            else:
                still.append((names, steps, host, event))
        self.coming = still
        return sorted(there, key=lambda row: row.step)
