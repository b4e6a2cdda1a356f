"""Two processes on half a batch each are one process on the whole: keyed noise and slices make it so."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from rank_worker import result

import gantlet
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.machine import Ranks
from helpers import Rows, largest_gap, play

WORKER = Path(__file__).with_name("rank_worker.py")
GAMES = {
    "r1 and r2": ("r1gan",),
    "five critic steps with gp": ("wgan-gp", "G.batch_norm=false"),
    "lazy r1 in micro-batches": ("r1gan", "penalties.r1.every=2", "penalties.r2=null", "micro_batch=3"),
    "extragradient": ("r1gan", "dynamics=extragradient", "players.D.clip_norm=1"),
}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks made of every case."""
    out = tmp_path_factory.mktemp("ranks")
    source = str(Path(gantlet.__file__).parents[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2",
              "OMP_NUM_THREADS": "1", "PYTHONPATH": source, "GLOO_SOCKET_IFNAME": "lo"}  # fmt: skip
    command = [sys.executable, str(WORKER), str(out), "3", json.dumps(GAMES)]
    running = [
        subprocess.Popen(command, env={**shared, "RANK": str(r)}, stderr=subprocess.PIPE, text=True) for r in range(2)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return [torch.load(out / f"{r}.pt", weights_only=True) for r in range(2)]


@pytest.mark.skipif(not dist.is_available() or sys.platform == "win32", reason="no gloo here")
@pytest.mark.parametrize("case", GAMES)
def test_two_ranks_are_one(case: str, two_processes: list[dict[str, Any]]) -> None:
    """Weights, averages and the order of the data equal those of one process on the joint batch, to 1e-6."""
    name, *changes = GAMES[case]
    whole = result(play(name, *changes, data=Rows(dtype=torch.float64)), 3)
    first, second = (found[case] for found in two_processes)
    assert largest_gap(first["weights"], second["weights"]) == 0
    assert largest_gap(first["weights"], whole["weights"]) < 1e-6
    assert largest_gap(first["mean"], whole["mean"]) < 1e-6
    assert [a + b for a, b in zip(first["rows"], second["rows"])] == whole["rows"]
    assert first["images"] == second["images"] == whole["images"]


@pytest.mark.parametrize(("batch", "way_out"), [(7, 6), (1, 2)])
def test_a_batch_must_divide_over_the_ranks(batch: int, way_out: int) -> None:
    with pytest.raises(InputError, match=f"batch {batch} does not divide over 2 ranks; use {way_out}"):
        Engine(batch=batch, ranks=Ranks(0, 2))


def test_a_rank_takes_its_slice() -> None:
    made = play("mlp", ranks=Ranks(1, 2))
    batch, now = made.engine.draw(made.state, made.data)
    assert batch.index.tolist() == [4, 5, 6, 7]
    assert (now.rank, now.first, made.state.now.images) == (1, 4, 8)
    assert made.engine.draw(made.state, made.data)[0].index.tolist() == [12, 13, 14, 15]


def test_second_order_is_refused_on_ranks() -> None:
    made = play("mlp", ranks=Ranks(0, 2))
    batch, now = made.engine.draw(made.state, made.data)
    with pytest.raises(InputError, match="second-order dynamics do not run on several ranks"):
        made.engine.gradient(made.state, made.state.turns[0], batch, now, create_graph=True)


def test_one_rank_reduces_nothing() -> None:
    x = torch.ones(2)
    assert Ranks().mean([x])[0] is x
    assert Ranks().first
    Ranks().wait()
