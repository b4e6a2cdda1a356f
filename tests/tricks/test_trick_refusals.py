"""Where a trick would do harm: losses whose logits say something else, pieces of a batch, labels upside down."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gantlet.core import registry
from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.when import Now
from gantlet.games.bigan import exchanged
from gantlet.games.d2gan import rewards_fakes, rewards_reals
from gantlet.tricks.virtual import VirtualBatchNorm
from helpers import POINTS, Rows, largest_gap, number, play

PAIRS = sorted(registry.adversarial.parts)
RANKING = ["top-k", "latent-optimization", "ada", "apa"]  # a higher logit is a better sample to them
WIDE = Spec((1, 16, 16))


def made(name: str, **options: Any) -> Any:
    return registry.trick.parts[name].fn(**options)


@pytest.mark.parametrize("name", sorted(registry.trick.parts))
@pytest.mark.parametrize("loss", PAIRS)
def test_tricks_that_rank_refuse_losses_without_an_order(name: str, loss: str) -> None:
    pair = registry.adversarial.parts[loss].fn()
    why = made(name).refuse(pair)
    if name in RANKING:
        assert (why is None) == pair.ordered
    assert why is None or "leave the trick out" in why


@pytest.mark.parametrize("name", RANKING)
def test_a_critic_that_rewards_fakes_is_not_followed(name: str) -> None:
    """The second critic of d2gan is sure of a fake where its logit is high."""
    assert made(name).refuse(rewards_reals(0.1)) is None
    with pytest.raises(InputError, match=rf"tricks\.{name}: under this loss a higher logit does not mean a better"):
        play("d2gan", f"tricks.{name}={{}}")
    with pytest.raises(InputError, match=rf"tricks\.{name}: .*use another adversarial loss"):
        play("mlp", "adversarial=mmd", f"tricks.{name}={{}}")


def test_ada_with_a_probability_of_its_own_follows_nobody() -> None:
    assert "p=0.3" in str(made("ada").refuse(rewards_fakes(0.1)))
    assert made("ada", p=0.3).refuse(rewards_fakes(0.1)) is None
    play("d2gan", "tricks.ada.p=0.3").run(2).state.check_finite()


@pytest.mark.parametrize("name", ["label-smoothing"])
def test_labels_are_not_upside_down(name: str) -> None:
    for real, fake in ((0.1, 0.9), (0.5, 0.5)):
        with pytest.raises(InputError, match=rf"real={real} is not above fake={fake}.*use real=0.9 and fake=0"):
            made(name, real=real, fake=fake)
    assert made(name, real=0.6, fake=0.5).real == 0.6


def test_flipped_labels_are_the_fewer_ones() -> None:
    """Where more than half are wrong, D learns that fakes are real."""
    assert "p: 0.6" in registry.check("trick", {"use": "label-flipping", "p": 0.6})[1][0]
    assert registry.check("trick", {"use": "label-flipping", "p": 0.5})[1] == []


LABELLED = [n for n in PAIRS if registry.adversarial.parts[n].fn().as_real is not None]


@pytest.mark.parametrize("loss", LABELLED)
def test_soft_labels_leave_d_s_loss_a_minimum_in_what_logits_have_in_common(loss: str) -> None:
    """Moved far enough, up or down, all logits together cost D more, or no less; or the pair is refused.

    Logits of energies end at 0.
    """
    pair, trick = registry.adversarial.parts[loss].fn(), made("label-smoothing")
    label = trick.labels(torch.ones(1), torch.zeros(1), Now())
    x = torch.zeros(1, dtype=torch.float64)

    def cost(by: float) -> float:
        return sum(number(s * pair.as_real(x + by) + (1 - s) * pair.as_fake(x + by)) for s in label)

    bounded = min(cost(-900) - cost(-800), cost(900) - cost(800) if loss != "ebgan" else 0) >= -1e-9
    assert bounded == (trick.refuse(pair) is None)


def test_soft_labels_are_refused_where_steepness_pays_and_nobody_sends_there() -> None:
    with pytest.raises(InputError, match=r"tricks\.label-smoothing: .*use adversarial=non-saturating") as refused:
        play("mlp", "adversarial=wasserstein", "tricks.label-smoothing={}")
    assert "wasserstein" not in str(refused.value)
    assert "wasserstein" not in str(made("label-smoothing").refuse(registry.adversarial.parts["mmd"].fn()))


# ---- pseudo-reals ---------------------------------------------------------------------------------------------------

COMPARES = {n: (p := registry.adversarial.parts[n].fn()).paired and not p.couples_batch for n in PAIRS}


@pytest.mark.parametrize("loss", [n for n in PAIRS if made("apa").refuse(registry.adversarial.parts[n].fn()) is None])
def test_no_pseudo_real_is_compared_with_itself(loss: str) -> None:
    """Were all reals pseudo, a loss that compares rows would still tell D something; the others take a row's own fake."""
    net = {"ebgan": "autoencoder", "began": "autoencoder"}.get(loss, "mlp")
    one = play("mlp", f"D={net}", f"adversarial={loss}", "tricks.apa={}", data=Rows(POINTS, torch.float64))
    one.state.game.arena.tricks["apa"].control.p.fill_(1.0)
    batch, now = one.engine.draw(one.state, one.data)
    scene = one.engine.stage(one.state.game, batch, now, grad=False)
    trick, rows = one.state.game.arena.tricks["apa"], torch.arange(8.0).unsqueeze(1)
    shown = trick.judged(-rows - 1, rows, now)[0]
    assert bool((shown >= 0).all())  # all of them are fakes
    assert bool((shown != rows).all()) == COMPARES[loss] == trick.couples_batch
    if COMPARES[loss]:
        term, (*_, last, bias) = one.state.game.d_wants(scene).terms["D"], one.state.players["D"].weights
        assert bias.numel() == 1
        assert float(torch.autograd.grad(term, last)[0].abs().max()) > 1e-4


def test_pseudo_reals_of_another_row_are_of_the_whole_batch_and_of_no_condition() -> None:
    with pytest.raises(InputError, match=r"micro_batch 4: .*apa \(APA\) looks at the whole batch"):
        play("mlp", "adversarial=relativistic", "tricks.apa={}", "micro_batch=4")
    play("mlp", "tricks.apa={}", "micro_batch=4")
    told = ["conditional=true", "tricks.concat-labels={}", "tricks.apa={}"]
    with pytest.raises(InputError, match=r"trick 'apa': .*other conditions; use adversarial=non-saturating"):
        play("mlp", "adversarial=relativistic", *told)
    play("mlp", *told)
    exchanges = made("apa")  # its G looks at reals, but D costs each logit alone
    assert exchanges.refuse(exchanged(registry.adversarial.parts["non-saturating"].fn())) is None
    assert not exchanges.couples_batch


# ---- what a batch's statistic does to D at the start -----------------------------------------------------------------


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("net", ["mlp", "cnn", "dcgan"])
@pytest.mark.parametrize("seed", range(3))
def test_d_begins_with_minibatch_discrimination_as_without_it(net: str, spectral: bool, seed: int) -> None:
    """Its first loss at a batch of 64 is near that of the plain critic, 2 log 2 where the logits are small."""

    def first(tricks: dict[str, Any]) -> float:
        torch.manual_seed(seed)
        sizes: dict[str, Any] = {"hidden": [32, 32]} if net == "mlp" else {"width": 8}
        D = {"use": net, "spectral": spectral, **sizes}
        G = {"use": "mlp", "hidden": [32], "z": 8}
        game = registry.game.parts["classic"].fn(WIDE, G=G, D=D, tricks=tricks)
        scene = game.stage(Batch(Rows(WIDE).take(0, 64, torch.device("cpu")).x), Now(seed=seed))
        return number(game.d_wants(scene).total)

    assert first({"t": made("minibatch-discrimination")}) == pytest.approx(first({}), rel=0.2)


def test_what_kernels_have_in_common_moves_no_logit() -> None:
    trick = made("minibatch-discrimination", kernels=7)
    layer = trick.dress("D", torch.nn.Linear(5, 3), Spec((5,)))
    assert layer.more.weight.sum(1).tolist() == pytest.approx([0] * 3, abs=1e-6)
    x: Tensor = torch.randn(1, 5).expand(9, 5)  # all alike: every kernel says 1
    assert layer.statistic(x).unique().tolist() == [1]
    assert torch.allclose(layer(x), layer.layer(x), atol=1e-6)


# ---- pieces of a batch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["G", "D", "both"])
def test_a_reference_batch_is_a_whole_one(role: str) -> None:
    changes = [f"tricks.virtual-batch-norm={{size: 4, role: {role}}}", "G.width=2", "D.width=2", "D.batch_norm=false"]
    if role != "G":
        changes[-1] = "D.batch_norm=true"
    game = play("dcgan", *changes, data=Rows(WIDE)).state.game
    (trick,) = game.arena.tricks.values()
    assert trick.couples_batch == (role != "G")
    if role != "G":
        with pytest.raises(InputError, match=r"micro_batch 4: .*looks at the whole batch"):
            Engine(batch=8, micro_batch=4).settle(play("dcgan", *changes, data=Rows(WIDE)).state)


def test_conditions_of_a_reference_are_of_a_whole_batch() -> None:
    for given, couples in (((), False), (((3,),), True)):
        trick = VirtualBatchNorm(size=4)
        net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
        net.z_dim = 2  # type: ignore[assignment]
        trick.dress("G", net, Spec((3,), given=given))
        assert trick.couples_batch is couples


def test_a_pool_holds_the_joint_batch() -> None:
    """Else two of its rows would meet in one place, which a whole batch refuses."""
    trick = made("image-pool", size=8)
    trick.critic_spec(POINTS)
    x = torch.randn(4, 2)
    for first in (0, 4):
        trick.judged(x, x, Now(first=first))
    with pytest.raises(InputError, match=r"a batch with 12 rows is more than its 8 places; use size=96"):
        trick.judged(x, x, Now(first=8))
    with pytest.raises(InputError, match=r"a batch with 8 rows is more than its 6 places"):
        play("mlp", "tricks.image-pool.size=6", "micro_batch=4").step()
    play("mlp", "tricks.image-pool.size=8", "micro_batch=4").step()


def test_a_generator_s_reference_of_latents_plays_in_pieces() -> None:
    """Its reference is a fixed draw: two pieces of four are one batch of eight."""
    changes = ["tricks.virtual-batch-norm.size=4", "G.width=2", "D.width=2", "G.z=2", "D.batch_norm=false"]
    changes += [f"players.{p}={{use: sgd, lr: 0.1}}" for p in "GD"]
    whole = play("dcgan", *changes, data=Rows(WIDE, torch.float64)).run(2)
    parts = play("dcgan", *changes, "micro_batch=4", data=Rows(WIDE, torch.float64)).run(2)
    assert largest_gap(whole.weights(), parts.weights()) < 1e-9
