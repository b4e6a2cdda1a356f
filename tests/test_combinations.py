"""Every part alone and every pair of parts that may meet: it trains, everybody moves, it resumes to the bit."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from combos import Row, covering
from helpers import Play, same, tensors
from parts import PARTS, Part, meets, refused

STEPS = 30
CHUNKS = 12


def trained(row: Row, steps: int = STEPS) -> Play:
    """Finite all the way, and every player elsewhere than it began."""
    made = row.play()
    before = {name: made.weights(name) for name in made.state.players}
    made.run(steps)
    made.state.check_finite()
    for name, was in before.items():
        now = made.weights(name)
        assert all(bool(torch.isfinite(w).all()) for w in now), (row.name, name)
        assert not same(was, now), (row.name, name)
    assert all(bool(torch.isfinite(b).all()) for b in made.state.game.buffers() if b.is_floating_point()), row.name
    return made


def resumes(row: Row) -> None:
    """Six steps are three, a save, a load into another beginning, and three."""
    whole, first, again = row.play().run(6), row.play().run(3), row.play(seed=9)
    saved = copied(first.state.state_dict())
    again.state.load_state_dict(saved)
    again.run(6)
    a, b = tensors(whole.state.state_dict()), tensors(again.state.state_dict())
    assert a.keys() == b.keys(), row.name
    assert [k for k in a if not torch.equal(a[k], b[k])] == [], row.name


def copied(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    return {str(k): copied(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def spread(made: Play, n: int = 512) -> float:
    """Squared distance of the first two moments of samples and data: what 30 steps can mend."""
    game = made.state.best_game()
    game.eval()
    with torch.no_grad():
        fake = game.generate(game.latent(n, seed=0)).flatten(1).double()
    game.train()
    real = made.data.take(0, n, torch.device("cpu")).x.flatten(1).double()
    return float((real.mean(0) - fake.mean(0)).square().sum() + (real.std(0) - fake.std(0)).square().sum())


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_part_alone_beats_the_untrained_generator(kind: str, name: str) -> None:
    row = Row(((kind, name),))
    assert refused(row.parts) is None
    begun = spread(row.play())
    made = trained(row)
    assert spread(made) < begun
    resumes(row)


@cache
def rows() -> list[Row]:
    return covering()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_parts_train_together(chunk: int) -> None:
    """A covering array of strength 2: every two parts that do not refuse each other share a row."""
    mine = rows()[chunk::CHUNKS]
    assert mine
    for row in mine:
        trained(row)
    resumes(mine[0])


def test_what_is_refused_says_why() -> None:
    """Few pairs, each for a reason that names the way out; the plainest loss meets everything."""
    found: dict[tuple[Part, ...], str] = {}
    for pair in itertools.combinations(PARTS, 2):
        why = refused(pair) if meets(*pair) else None
        if why is not None:
            found[pair] = why
    assert all(";" in why or "use " in why for why in found.values()), found
    assert 0 < len(found) < 60
    assert not any(("adversarial", "non-saturating") in pair for pair in found)
