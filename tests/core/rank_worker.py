"""One process of tests/core/test_ranks.py: plays a recipe on its slice and saves what came of it.

usage: rank_worker.py OUT STEPS CASES     (CASES: JSON, name -> [recipe, change ...])
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

from gantlet.core.machine import Ranks
from helpers import Play, Rows, play


def result(made: Play, steps: int) -> dict[str, object]:
    """Weights, averages and the order of the data after some steps."""
    rows: list[list[int]] = []
    take = made.data.take
    made.data.take = lambda *a: (rows.append((b := take(*a)).index.tolist()), b)[1]  # type: ignore[method-assign]
    made.run(steps)
    made.state.check_finite()
    mean = list(made.state.averages["ema"].copies["G"].parameters())
    return {
        "weights": made.weights(),
        "mean": [w.detach().clone() for w in mean],
        "rows": rows,
        "images": made.state.now.images,
    }


def main(out: str, steps: str, cases: str) -> None:
    torch.set_num_threads(1)
    ranks = Ranks.join(torch.device("cpu"))
    found = {}
    for case, (name, *changes) in json.loads(cases).items():
        made = play(name, *changes, data=Rows(dtype=torch.float64), ranks=ranks)
        found[case] = result(made, int(steps))
    torch.save(found, Path(out) / f"{ranks.rank}.pt")
    ranks.wait()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
