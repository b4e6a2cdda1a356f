"""Which generator makes a row: each gets its turn, nobody trades a sample's generator, tricks that do not may play."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Batch
from gantlet.core.when import Now
from helpers import IMAGES, POINTS, number, play, same

EXACT = torch.float64
OPTIONS = {"G": {"use": "mlp", "z": 3, "hidden": [8]}, "D": {"use": "mlp", "hidden": [8]}}


def game(**options: Any) -> Any:
    torch.manual_seed(0)
    return registry.game.parts["mad-gan"].fn(POINTS, **{**OPTIONS, **options})


@pytest.mark.parametrize(("rows", "count"), [(8, 4), (8, 3), (2, 5), (1, 3)])
def test_every_generator_gets_its_turn(rows: int, count: int) -> None:
    """Over K steps each makes as many rows as any other, also where a batch has none for some of them."""
    made = game(generators=count).double()
    made_rows = [0] * count
    for step in range(count):
        now = Now(step=step)
        seen = made.stage(Batch(torch.zeros(rows, 2, dtype=EXACT)), now)
        numbers = made.arena.tricks["which"].numbers(rows, now, torch.device("cpu"))
        by_latent = (count * 0.5 * (1 + torch.erf(seen.z[:, -1] / math.sqrt(2)))).long()
        assert numbers.tolist() == by_latent.tolist() == [(i + step) % count for i in range(rows)]
        for i, k in enumerate(numbers.tolist()):
            made_rows[k] += 1
            assert torch.allclose(seen.fake[i : i + 1], made.G.generators[k](seen.z[i : i + 1, :-1]), atol=1e-12)
        assert torch.allclose(made.generate(seen.z), seen.fake, atol=1e-12)
        (said,) = made.arena.critics(seen.fake, now=now, side="fake")
        which = made.d_wants(seen).terms["which"]
        assert number(which) == pytest.approx(number(F.cross_entropy(said.classes, numbers)), abs=1e-12)
    assert made_rows == [rows] * count


def test_no_generator_stays_as_it_began() -> None:
    made = play("mad-gan", "generators=5", "batch=2")
    generators = list(made.state.game.G.generators)
    before = [[w.detach().clone() for w in g.parameters()] for g in generators]
    made.run(5)
    assert not any(same(g.parameters(), old) for g, old in zip(generators, before))


class Says(nn.Module):
    """A generator that says its number."""

    z_dim = 3

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = nn.Parameter(torch.tensor(float(k)))

    def forward(self, z: Tensor) -> Tensor:
        return self.k.expand(len(z), 2) + 0 * z[:, :2]


def test_zcr_does_not_move_what_chooses_a_generator() -> None:
    """Generators that say 0, 1, 2, ... whatever z is: no sample differs from its neighbour in z."""
    count = iter(range(50))
    zcr = registry.penalty.parts["zcr"].fn(sigma=10.0)
    made = game(G=lambda spec: Says(next(count)), generators=50, penalties={"zcr": zcr})
    seen = made.stage(Batch(torch.zeros(50, 2)), Now())
    assert sorted(seen.fake[:, 0].tolist()) == list(range(50))
    assert number(made.g_wants(seen).terms["zcr"]) == 0
    assert number(made.d_wants(seen).terms["zcr"]) == 0
    other = game(penalties={"zcr": zcr})  # the other coordinates do move
    assert number(other.g_wants(other.stage(Batch(torch.zeros(8, 2)), Now())).terms["zcr"]) < 0


@pytest.mark.parametrize("trick", ["ada", "apa"])
def test_controllers_settle_without_replacing_a_fake(trick: str) -> None:
    made = play("mad-gan", f"tricks.{trick}={{interval: 1, speed_images: 30, target: -0.9}}")
    made.run(6).state.check_finite()
    assert float(made.state.game.arena.tricks[trick].control.p) > 0
    assert made.data.spec == IMAGES


def test_fakes_of_other_steps_are_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r"tricks\.image-pool: it shows D other fakes.*tricks\.image-pool=null"):
        play("mad-gan", "tricks.image-pool={}")
    for name, part in registry.trick.parts.items():  # who judges other fakes says so
        trick = part.fn()
        if name == "image-pool":
            assert trick.replaces_fakes
            continue
        x = torch.randn(4, 2)
        assert trick.judged(-x, x, Now())[1] is x
        assert not trick.replaces_fakes
