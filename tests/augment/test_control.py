"""The controller of ADA and APA: it follows overfitting, within its bounds, between batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gantlet.augment.control import Controller, Signal
from gantlet.core import registry
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.when import Now
from helpers import IMAGES, Rows, play

ABOVE = torch.tensor([3.0, 4.0, 5.0, 6.0]), torch.tensor([-1.0, 0.0, 1.0, 2.0])
MIXED = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 3.0, 2.0])
BATCH = 4


def fed(control: Controller, sides: tuple[Tensor, Tensor], batches: int, start: int = 0) -> list[float]:
    """p at the beginning of every batch."""
    seen = []
    for i in range(start, start + batches):
        control.settle(Now(step=i, images=i * BATCH))
        seen.append(float(control.p))
        control.observe(*sides)
    return seen


def made(signal: Signal = "auc", interval: int = 2, speed: float = 40.0, cap: float = 0.8) -> Controller:
    return Controller(signal=signal, target=0.6, interval=interval, speed=speed, cap=cap)


@pytest.mark.parametrize("signal", ["auc", "centred"])
def test_p_rises_while_d_tells_all_apart_and_falls_when_it_cannot(signal: Signal) -> None:
    """8 images of 40 are a fifth, every second batch; never above the cap, never under zero."""
    control = made(signal)
    up = fed(control, ABOVE, 12)
    assert up == pytest.approx([0, 0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8, 0.8, 0.8])
    down = fed(control, MIXED, 12, start=12)
    assert down == pytest.approx([0.8, 0.8, 0.6, 0.6, 0.4, 0.4, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0], abs=1e-6)


def test_the_cap_holds() -> None:
    assert max(fed(made(cap=0.3, speed=10.0), ABOVE, 9)) == pytest.approx(0.3)


def test_auc_is_that_of_pairs() -> None:
    """The mean sign of real less fake over pairs of a normal and one a shift away is 2 AUC - 1 = erf(shift / 2)."""
    control = made()
    real, fake = torch.randn(40_000) + 0.8, torch.randn(40_000)
    control.observe(real, fake)
    assert float(control.total / control.rows) == pytest.approx(float(torch.erf(torch.tensor(0.4))), abs=0.02)


@pytest.mark.parametrize("signal", ["auc", "centred"])
def test_a_loss_without_a_zero_of_its_own_changes_nothing(signal: Signal) -> None:
    """Relativistic and hinge critics may drift: adding a number to all logits leaves r as it is."""
    ends = []
    for drift in (0.0, 100.0, -7.0):
        control = made(signal)
        control.observe(ABOVE[0] + drift, ABOVE[1] + drift)
        control.observe(MIXED[0] + drift, MIXED[1] + drift)
        ends.append(float(control.total))
    assert ends[0] == ends[1] == ends[2]


def test_patch_maps_and_pieces_count_as_the_whole() -> None:
    whole, parts = made(), made()
    real, fake = torch.randn(8, 1, 3, 3), torch.randn(8, 1, 3, 3)
    now = Now(images=16)
    whole.settle(now), whole.observe(real, fake)
    for i in (0, 4):
        parts.settle(now._replace(first=i)), parts.observe(real[i : i + 4], fake[i : i + 4])
    assert all(torch.equal(a, b) for a, b in zip(whole.buffers(), parts.buffers()))
    assert int(whole.batches) == 1


def test_a_centre_is_of_the_whole_batch() -> None:
    with pytest.raises(InputError, match=r"micro_batch 4: arena.tricks.ada.control \(Controller\) looks at the whole"):
        play("mlp", "tricks.ada.signal=centred", "micro_batch=4")
    Engine(batch=8, micro_batch=4).settle(play("mlp", "tricks.ada={}").state)


@pytest.mark.parametrize("part", ["ada={policy: [brightness], ", "apa={"])
def test_in_a_game_p_follows_the_critic(part: str) -> None:
    """A critic that learns fixed fakes drives p up to its cap; one that says the same of all lets it fall to zero."""
    tight = f"tricks.{part}interval: 1, speed_images: 100, cap: 0.5}}"
    made_ = play("mlp", tight, "players.G.lr=0.0", "players.D.lr=0.01", data=Rows(IMAGES)).run(60)
    (trick,) = made_.state.game.arena.tricks.values()
    assert float(trick.control.p) == pytest.approx(0.5)
    made_ = play("mlp", tight, "players.G.lr=0.0", "players.D.lr=0.0", data=Rows(IMAGES))
    (trick,) = made_.state.game.arena.tricks.values()
    trick.control.p.fill_(0.5)
    for w in made_.state.players["D"].weights:
        torch.nn.init.zeros_(w)
    made_.run(9)
    assert float(trick.control.p) == 0


def test_p_is_saved_and_logged_nowhere_else() -> None:
    """All the controller knows is in its buffers."""
    state = play("mlp", "tricks.ada={}").state.game.state_dict()
    names = {k.rsplit(".", 1)[1] for k in state if ".control." in k}
    assert names == {"p", "total", "rows", "batches", "since", "counted"}


def test_rows_that_do_not_count_are_not_seen() -> None:
    """Of rows 3 > -1, 0 < 9 and 4 > 0 the middle one is left out; without any row p stays where it is."""
    real, fake = torch.tensor([3.0, 0.0, 4.0]), torch.tensor([-1.0, 9.0, 0.0])
    some, all_ = made(), made()
    some.observe(real, fake, torch.tensor([True, False, True])), all_.observe(real, fake)
    assert (float(some.total), float(some.rows)) == (2, 2)
    assert (float(all_.total), float(all_.rows)) == (1, 3)
    maps = made()
    maps.observe(real.view(3, 1, 1).expand(3, 2, 2), fake.view(3, 1, 1).expand(3, 2, 2), torch.tensor([1, 0, 1]).bool())
    assert (float(maps.total), float(maps.rows)) == (8, 8)
    centred = made("centred")  # the centre is (3.5 + 8 / 3) / 2: 3 is under it, 4 above
    centred.observe(real, fake, torch.tensor([True, False, True]))
    assert (float(centred.total), float(centred.rows)) == (0, 2)
    still = made(interval=1)
    still.p.fill_(0.5)
    for i in range(5):
        still.settle(Now(step=i, images=i * BATCH))
        still.observe(real, fake, torch.zeros(3, dtype=torch.bool))
    assert float(still.p) == 0.5


@pytest.mark.parametrize("signal", ["auc", "centred"])
@pytest.mark.parametrize("pack", [1, 2])
def test_apa_reaches_its_cap_where_d_tells_all_apart(signal: Signal, pack: int) -> None:
    """Pseudo rows say as much of fakes as of reals: they are not what D overfits on."""
    apa = registry.trick.parts["apa"].fn(signal=signal, interval=1, speed_images=3200, cap=0.8)
    critic = torch.tensor([2.0, 1.0])  # any critic that says more of ones than of minus ones
    ones = torch.ones(64, 2)
    for i in range(120):
        now = Now(step=i, images=64 * i)
        apa.begin(now)
        real, fake = ((x @ critic).view(-1, pack).mean(1) for x in apa.judged(ones, -ones, now))
        apa.observe(real, fake, now)
    assert float(apa.control.p) == pytest.approx(0.8)


def test_a_cap_of_apa_leaves_reals() -> None:
    with pytest.raises(InputError, match="cap"):
        play("mlp", "tricks.apa.cap=1.0")
