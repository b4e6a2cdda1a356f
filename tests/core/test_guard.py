"""A step that is not finite moves nothing, and is named: the first step, the player, the term."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError, NonFiniteError
from gantlet.core.game import Loss, Spec
from gantlet.core.guard import rescale, warn_of_coupling
from helpers import DYNAMICS, OPTIMIZERS, Play, Rows, play, same, spoil, tensors

STEPPERS = [(o, "") for o in OPTIMIZERS]
STEPPERS += [
    ("sgd", ", momentum: 0.9"),
    ("sgd", ", momentum: -0.5"),
    ("adam", ", amsgrad: true"),
    ("adam", ", weight_decay: 0.1"),
]
STEPPERS += [(o, ", clip_norm: 0.5") for o in OPTIMIZERS] + [(o, ", clip_weights: 0.02") for o in OPTIMIZERS]
STEPPERS += [(o, ", max_norm: 0.1") for o in OPTIMIZERS]


def stepped_by(optimizer: str, options: str, *changes: str) -> Play:
    return play("r1gan", *(f"players.{p}={{use: {optimizer}{options}}}" for p in "DG"), *changes)


def snapshot(made: Play) -> dict[str, Tensor]:
    """Every tensor of the networks and the optimisers (averages go on towards the weights that stand still)."""
    state = made.state.state_dict()
    return {k: t.clone() for k, t in tensors({k: state[k] for k in ("game", "players", "dynamics")}).items()}


def ill(made: Play, turn: str, step: int, term: str, value: float = float("nan")) -> None:
    """From `step` on, add a term that is not finite."""

    def wrap(scene: Any, loss: Loss) -> Loss:
        bad = value if scene.now.step >= step else 0.0
        return Loss({**loss.terms, term: loss.terms[turn] * 0 + bad}, loss.stats, loss.views)

    spoil(made.state, turn, wrap)


@pytest.mark.parametrize(("optimizer", "options"), STEPPERS)
@pytest.mark.parametrize("step", [0, 2])
def test_a_step_that_is_not_finite_is_no_step(optimizer: str, options: str, step: int) -> None:
    """Weights and moments are bit-identical afterwards, fused or not, also when it is the very first step."""
    made = stepped_by(optimizer, options)
    for turn in ("D", "G"):
        ill(made, turn, step, "ill")
    made.run(step)
    before = snapshot(made)
    made.run(step + 2)
    after = snapshot(made)
    assert {k for k in before if not torch.equal(before[k], after[k])} == set()
    fresh = [t for k, t in after.items() if k not in before]
    assert all(not t.any() for t in fresh)  # moments that began here are zeros


@pytest.mark.parametrize(("optimizer", "options"), STEPPERS)
def test_after_a_bad_step_play_goes_on_as_if_it_had_not_been(optimizer: str, options: str) -> None:
    """One skipped first step for both, then two: the weights of two steps without it (noise is the step's)."""
    ailing, sound = stepped_by(optimizer, options), stepped_by(optimizer, options)
    for turn in ("D", "G"):
        spoil(
            ailing.state,
            turn,
            lambda s, l: Loss({"x": sum(l.terms.values()) * (float("nan") if not s.now.step else 1)}),
        )
    ailing.run(3)
    sound.state.now = sound.state.now._replace(step=1, images=sound.engine.batch)
    sound.run(3)
    for a, b in zip(ailing.weights(), sound.weights()):
        assert torch.allclose(a, b, atol=1e-7)
    assert all(torch.isfinite(w).all() for w in ailing.weights())


def test_averages_are_unaffected() -> None:
    made = play("r1gan").run(2)
    ill(made, "G", 2, "ill")
    made.run(4)
    copies = list(made.state.averages["ema"].copies["G"].parameters())
    assert all(torch.isfinite(w).all() for w in copies)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_bad_step_is_named(dynamics: str, value: float) -> None:
    """Step, player and term; later ones do not overwrite the first, and one player's trouble does not move it."""
    made = play("r1gan", f"dynamics={dynamics}")
    ill(made, "G", 3, "late", value)
    ill(made, "D", 2, "early", value)
    made.run(2)
    made.state.check_finite()
    weights = made.weights("D")
    made.run(3)
    assert same(weights, made.weights("D"))
    made.run(6)
    with pytest.raises(NonFiniteError, match=r"step 2: player 'D': 'early' became NaN or infinite") as caught:
        made.state.check_finite()
    assert caught.value.status == 1
    assert "late" not in str(caught.value)


def test_all_bad_terms_of_the_step_are_named() -> None:
    made = play("r1gan")
    spoil(made.state, "D", lambda s, loss: Loss({k: v * float("inf") for k, v in loss.terms.items()}))
    made.run(1)
    with pytest.raises(NonFiniteError, match="step 0: player 'D': 'D' and 'r1' and 'r2' became"):
        made.state.check_finite()


class Cliff(torch.autograd.Function):
    """A finite value with an infinite slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * float("inf")


@pytest.mark.parametrize(("optimizer", "options"), STEPPERS)
def test_a_gradient_that_is_not_finite_is_caught_behind_a_finite_loss(optimizer: str, options: str) -> None:
    made = stepped_by(optimizer, options).run(2)
    before = snapshot(made)
    spoil(made.state, "D", lambda s, loss: Loss({"cliff": Cliff.apply(loss.terms["D"])}))
    made.run(3)
    after = snapshot(made)
    assert [k for k in before if k.startswith("players.D") and not torch.equal(before[k], after[k])] == []
    with pytest.raises(NonFiniteError, match="step 2: player 'D': 'gradient'"):
        made.state.check_finite()


def test_a_loaded_state_has_no_alarms() -> None:
    """Going back to before the trouble ends it."""
    made = play("r1gan").run(1)
    good = copy.deepcopy(made.state.state_dict())
    ill(made, "D", 1, "ill")
    made.run(2)
    made.state.load_state_dict(good)
    made.state.check_finite()


def test_lazy_terms_are_watched_where_they_are_due() -> None:
    """A term that comes and goes has an alarm of its own; the first step is the least of them."""
    made = play("r1gan", "penalties.r1.every=3", "penalties.r2=null")

    def wrap(scene: Any, loss: Loss) -> Loss:
        bad = float("nan") if scene.now.step >= 2 else 1.0
        return Loss({k: v * bad if k == "r1" else v for k, v in loss.terms.items()})

    spoil(made.state, "D", wrap)
    made.run(3)
    made.state.check_finite()
    made.run(5)
    with pytest.raises(NonFiniteError, match="step 3: player 'D': 'r1' became"):
        made.state.check_finite()


# ---- clipping -----------------------------------------------------------------------------------------------------


def test_a_clipped_gradient_has_the_wanted_length() -> None:
    """With plain descent the step is lr times the clip, in the gradient's direction; small gradients are left alone."""
    plain, clipped, loose = (
        play("r1gan", f"players.D={{use: sgd, lr: 1.0{c}}}", data=None)
        for c in ("", ", clip_norm: 0.01", ", clip_norm: 1e6")
    )
    start = plain.weights("D")
    steps = []
    for made in (plain, clipped, loose):
        batch, now = made.engine.draw(made.state, made.data)
        made.engine.move(made.state, "D", made.engine.gradient(made.state, made.state.turns[0], batch, now))
        steps.append(torch.cat([(a - b).flatten() for a, b in zip(start, made.weights("D"))]))
    assert float(steps[0].norm()) > 0.02
    assert float(steps[1].norm()) == pytest.approx(0.01, rel=1e-3)
    assert float(torch.cosine_similarity(steps[0], steps[1], dim=0)) > 0.9999
    assert torch.equal(steps[0], steps[2])


def test_the_norm_that_is_reported_is_that_before_the_clip() -> None:
    reports = []
    for clip in ("null", "0.01"):
        made = play("r1gan", f"players.D.clip_norm={clip}")
        reports.append(made.step()["D"].gradient)
    assert torch.equal(*reports)


def test_weights_are_clipped_after_every_step() -> None:
    made = play("wgan", "players.D.clip_weights=0.003")
    assert max(float(w.abs().max()) for w in made.weights("D")) > 0.003
    made.run(2)
    assert max(float(w.abs().max()) for w in made.weights("D")) <= 0.003 + 1e-9
    assert max(float(w.abs().max()) for w in made.weights("G")) > 0.003


def test_rows_longer_than_the_bound_are_cut_to_it_and_keep_their_direction() -> None:
    made = play("r1gan", "players.D={use: sgd, lr: 1e-9, max_norm: 0.3}")
    before = [w.detach().clone() for w in made.weights("D")]
    made.run(1)
    cut = 0
    for was, now in zip(before, made.weights("D")):
        if was.dim() < 2:  # a bias is no row of inputs
            assert torch.allclose(was, now, atol=1e-6)
            continue
        lengths = was.flatten(1).norm(dim=1).view(-1, *[1] * (was.dim() - 1))
        cut += int((lengths > 0.3).sum())
        assert torch.allclose(now, was * (0.3 / lengths).clamp(max=1), atol=1e-6)
    assert cut > 0


# ---- the loss scale -----------------------------------------------------------------------------------------------


def test_the_scale_halves_after_an_overflow_and_doubles_after_2000_good_steps() -> None:
    scale, grown = torch.tensor(1024.0), torch.tensor(0)
    rescale(scale, grown, torch.tensor(False))
    assert (float(scale), int(grown)) == (512.0, 0)
    for _ in range(1999):
        rescale(scale, grown, torch.tensor(True))
    assert (float(scale), int(grown)) == (512.0, 1999)
    rescale(scale, grown, torch.tensor(True))
    assert (float(scale), int(grown)) == (1024.0, 0)
    for _ in range(20):
        rescale(scale, grown, torch.tensor(False))
    assert float(scale) == 1.0


def test_a_scaled_step_is_the_unscaled_step() -> None:
    """Powers of two scale without rounding: the weights are the same to the bit."""
    plain, scaled = play("mlp"), play("mlp")
    for player in scaled.state.players.values():
        player.use_scaler()
    plain.run(3), scaled.run(3)
    assert same(plain.weights(), scaled.weights())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_overflow_only_lowers_the_scale(optimizer: str) -> None:
    """The scaled loss overflows, the loss does not: nothing moves, nobody is alarmed, and play recovers."""
    made = stepped_by(optimizer, "")
    for player in made.state.players.values():
        player.use_scaler()
        player.scale.fill_(2.0**127)
    before = made.weights("G")
    spoil(made.state, "G", lambda s, loss: Loss({"G": 8 * loss.terms["G"]}))
    made.run(1)
    assert same(before, made.weights("G"))
    assert float(made.state.players["G"].scale) == 2.0**126
    made.run(12)
    made.state.check_finite()
    assert not same(before, made.weights("G"))
    assert float(made.state.players["G"].scale) > 2.0**110
    assert "players.G.scale" in {k.rstrip(".") for k in tensors(made.state.state_dict())}


def test_every_optimiser_is_in_this_file() -> None:
    assert {o for o, _ in STEPPERS} == set(registry.optimizer.parts)


@pytest.mark.parametrize("name", [n for n, p in registry.penalty.parts.items() if p.fn().couples_batch])
def test_a_penalty_that_looks_at_the_whole_batch_is_named_by_its_label(name: str) -> None:
    with pytest.raises(InputError, match=r"micro_batch 4: penalties\.mine looks at the whole batch"):
        play("mlp", f"penalties.mine={{use: {name}}}", "micro_batch=4")


@pytest.mark.parametrize("name", [n for n, p in registry.adversarial.parts.items() if p.fn().couples_batch])
def test_a_loss_that_looks_at_the_whole_batch_is_named_by_its_critic(name: str) -> None:
    net = "autoencoder" if registry.adversarial.parts[name].fn().of_energies else "mlp"
    with pytest.raises(InputError, match=r"micro_batch 4: adversarial of D looks at the whole batch"):
        play("mlp", f"adversarial={name}", f"D={net}", "micro_batch=4")


@pytest.mark.parametrize("name", sorted(registry.penalty.parts))
def test_a_slope_of_one_row_under_batch_norm_is_told_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a critic with batch norm; one that judges rows alone is told nothing, and nothing is told twice."""
    play("dcgan", f"penalties.{name}={{}}", data=Rows(Spec((1, 16, 16)))).run(2)
    told = [r.getMessage() for r in caplog.records if r.name == "gantlet"]
    assert [t.partition(" ")[0] for t in told] == ([f"penalties.{name}"] if name in ("gp", "gp-one-sided") else [])
    assert all("D has BatchNorm2d" in t and "use D.batch_norm=false" in t for t in told)
    caplog.clear()
    play("dcgan", f"penalties.{name}={{}}", "D.batch_norm=false", data=Rows(Spec((1, 16, 16)))).run(1)
    assert [r for r in caplog.records if r.name == "gantlet"] == []


def test_what_looks_at_the_whole_batch_is_named_on_several_ranks() -> None:
    with pytest.warns(UserWarning, match=r"BatchNorm2d\)( and \d+ more)?: looks at the whole batch, .* 2 ranks"):
        warn_of_coupling(play("dcgan").state.game, 2)
    warn_of_coupling(play("dcgan").state.game, 1)
    warn_of_coupling(play("r1gan").state.game, 2)
