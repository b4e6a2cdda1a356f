"""Out of memory: recognise it, and find a batch that fits."""

from __future__ import annotations

import gc

import torch

from gantlet.core.engine import Engine
from gantlet.core.game import Data
from gantlet.core.state import State


def out_of_memory(error: BaseException) -> bool:
    """Did an allocation fail, on the host or on the device?"""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def rows_that_fit(state: State, engine: Engine, data: Data) -> int:
    """The largest batch of half, a quarter, ... the rows for which every turn has a gradient; 0 if none. The state is
    not used afterwards.
    """
    rows = engine.rows
    while rows > 1:
        rows //= 2
        gc.collect()
        if engine.device.type == "cuda":
            torch.cuda.empty_cache()
        if _fits(state, engine, data, rows):
            return rows * engine.ranks.world
    return 0


def _fits(state: State, engine: Engine, data: Data, rows: int) -> bool:
    engine.rows, engine.micro = rows, None
    engine.forget()
    now = state.now
    try:
        batch = data.take(now.images, rows, engine.device)
        for turn in state.turns:
            engine.gradient(state, turn, batch, now, again=True)
    except Exception as error:
        if not out_of_memory(error):
            raise
        return False
    return True
