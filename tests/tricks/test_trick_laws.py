"""What every trick keeps: it plays, resumes to the bit, does not care how a batch is cut, and cuts no derivative."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.dynamics import buffers_kept
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.guard import couples_batch
from gantlet.core.trick import Trick
from gantlet.core.when import Now
from helpers import IMAGES, POINTS, Play, Rows, largest_gap, play, same, tensors

TRICKS = sorted(registry.trick.parts)
OPTIONS = {  # small, and strong enough to be seen within a few steps
    "ada": "{interval: 1, speed_images: 30, target: -0.9}",
    "apa": "{interval: 1, speed_images: 30, target: -0.9}",
    "growing": "{stage_images: 16, fade_images: 32}",
    "historical-averaging": "{weight: 1}",
    "image-pool": "{size: 12}",
    "label-flipping": "{p: 0.4}",
    "minibatch-stddev": "{group: 2}",
    "minibatch-discrimination": "{kernels: 3, width: 2}",
    "reacgan": "{embed: 3}",
    "self-supervised": "{width: 4}",
    "virtual-batch-norm": "{size: 4, role: both}",
}
WIDE = Spec((1, 16, 16))
ON = {
    "ada": ("mlp", IMAGES),
    "blurring": ("mlp", IMAGES),
    "diffaugment": ("mlp", IMAGES),
    "growing": ("progan", WIDE),
    "self-supervised": ("r3gan", WIDE),  # a critic that names what to decode
    "virtual-batch-norm": ("dcgan", WIDE),
}
DRAW_NOTHING = {"blurring"}  # what they show follows from the sample and the time
NARROW = ["G.z=2", "G.hidden=[6]", "D.hidden=[6]"]
# tricks of games that are told the class, and what these need besides
TOLD = {"concat-labels": ["conditional=true"]}
TOLD |= {key: ["conditional=true", "tricks.concat-labels.role=G"] for key in ("projection", "ac-gan", "reacgan")}


def with_trick(name: str, *changes: str, dtype: torch.dtype = torch.float32, **options: Any) -> Play:
    recipe, spec = ON.get(name, ("mlp", POINTS._replace(classes=3) if name in TOLD else POINTS))
    sizes = NARROW if recipe == "mlp" else ["G.z=2", "G.width=2", "D.width=2"]
    sizes = [*TOLD.get(name, []), f"tricks.{name}={OPTIONS.get(name, '{}')}", *sizes]
    return play(recipe, *sizes, *changes, data=Rows(spec, dtype), **options)


def trick_of(made: Play) -> Trick:
    *_, trick = made.state.game.arena.tricks.values()
    return trick


@pytest.mark.parametrize("name", TRICKS)
def test_thirty_steps_are_finite(name: str) -> None:
    made = with_trick(name)
    before = made.weights()
    made.run(30).state.check_finite()
    assert all(bool(torch.isfinite(t.float()).all()) for t in tensors(made.state.state_dict()).values())
    assert all(not torch.equal(a, b) for a, b in zip(before, made.weights()))


@pytest.mark.parametrize("name", [n for n in TRICKS if n not in ON])
def test_convolutions_and_batch_norm_play(name: str) -> None:
    changes = [*TOLD.get(name, []), f"tricks.{name}={OPTIONS.get(name, '{}')}"]
    play("dcgan", *changes, "G.width=2", "D.width=2").run(3).state.check_finite()


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_changes_the_play(name: str) -> None:
    plain = with_trick(name, f"tricks.{name}=null") if name in ON else play("mlp", *NARROW, data=Rows(POINTS))
    changes = ("tricks.top-k.gamma=0.8", "tricks.top-k.every=1") if name == "top-k" else ()
    made = with_trick(name, *changes)
    plain.run(4), made.run(4)
    a, b = plain.weights("G"), made.weights("G")
    assert len(a) != len(b) or not same(a, b)


@pytest.mark.parametrize("name", TRICKS)
def test_ten_steps_are_five_and_five(name: str) -> None:
    """Law 5, with what the trick remembers."""
    whole, first = with_trick(name).run(10), with_trick(name).run(5)
    again = with_trick(name, seed=7)
    saved = first.state.state_dict()
    again.state.load_state_dict(_copied(saved))
    again.run(10)
    a, b = tensors(whole.state.state_dict()), tensors(again.state.state_dict())
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


def _copied(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    return {str(k): _copied(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


@pytest.mark.parametrize("name", TRICKS)
def test_pieces_are_the_whole_batch_or_refused(name: str) -> None:
    """Four steps in float64: one batch of 8, or two pieces of 4."""
    descent = [f"players.{p}={{use: sgd, lr: 0.1}}" for p in "GD"]
    whole = with_trick(name, *descent, dtype=torch.float64)
    if any(couples_batch(m) for m in whole.state.game.modules()):
        with pytest.raises(InputError, match=r"micro_batch 4: .* looks at the whole batch"):
            with_trick(name, *descent, "micro_batch=4", dtype=torch.float64)
        return
    parts = with_trick(name, *descent, "micro_batch=4", dtype=torch.float64)
    whole.run(4), parts.run(4)
    assert largest_gap(whole.weights(), parts.weights()) < 1e-6
    for a, b in zip(whole.state.game.buffers(), parts.state.game.buffers(), strict=True):
        assert torch.allclose(a.double(), b.double(), atol=1e-6)


class Soft(nn.LeakyReLU):
    """A rectifier without a kink, which differences need."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.softplus(x)


def softened(net: nn.Module) -> None:
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.LeakyReLU | nn.ReLU):
                setattr(module, name, Soft())


@pytest.mark.parametrize("name", TRICKS)
@pytest.mark.parametrize("dynamics", ["consensus", "lookahead"])
def test_dynamics_of_second_order_and_of_rounds_play(name: str, dynamics: str) -> None:
    made = with_trick(name, f"dynamics={dynamics}").run(3)
    made.state.check_finite()


@pytest.mark.parametrize("mover", ["D", "G"])
@pytest.mark.parametrize("name", TRICKS)
def test_the_mixed_derivative_is_there(name: str, mover: str) -> None:
    """Law 1: d v_D / d theta_G and d v_G / d theta_D along a direction, by autodiff and by central differences."""
    made = with_trick(name, dtype=torch.float64)
    softened(made.state.game)
    made.run(2)
    if hasattr(trick_of(made), "control"):
        trick_of(made).control.p.fill_(0.4)
    turn = next(t for t in made.state.turns if t.name == mover)
    mine = made.state.players[mover].weights
    other = made.state.players["G" if mover == "D" else "D"].weights
    to = [torch.cos(torch.arange(w.numel(), dtype=w.dtype)).view_as(w) for w in mine]
    way = [torch.sin(1 + torch.arange(w.numel(), dtype=w.dtype)).view_as(w) for w in other]
    batch, now = made.engine.draw(made.state, made.data)

    def along(**options: Any) -> Tensor:
        with buffers_kept(made.state.game):
            grads = made.engine.gradient(made.state, turn, batch, now, **options).grads
            return sum((g * u).sum() for g, u in zip(grads, to) if g is not None)

    with buffers_kept(made.state.game):
        grads = made.engine.gradient(made.state, turn, batch, now, create_graph=True).grads
    total = sum((g * u).sum() for g, u in zip(grads, to) if g is not None)
    slopes = torch.autograd.grad(total, other, allow_unused=True)
    by_graph = float(sum((s * w).sum() for s, w in zip(slopes, way) if s is not None))
    h, sides = 1e-5, []
    for sign in (1, -1):
        with torch.no_grad():
            torch._foreach_add_(other, way, alpha=sign * h)
        sides.append(along())
        with torch.no_grad():
            torch._foreach_add_(other, way, alpha=-sign * h)
    by_differences = float(sides[0] - sides[1]) / (2 * h)
    assert abs(by_differences) > 1e-6
    assert by_graph == pytest.approx(by_differences, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", TRICKS)
def test_what_is_shown_depends_on_a_row_s_place_alone(name: str) -> None:
    """The rows of a slice are seen as the joint batch would see them; another step, turn or side draws anew."""
    made = with_trick(name)
    trick = trick_of(made)
    if type(trick).shown is Trick.shown:
        return
    if hasattr(trick, "control"):
        trick.control.p.fill_(0.7)
    x = torch.rand(8, *made.data.spec.shape)
    now = Now(step=3, seed=1)
    whole, _ = trick.shown(x, (), now, "fake")
    parts = torch.cat([trick.shown(x[i : i + 4], (), now._replace(first=i), "fake")[0] for i in (0, 4)])
    assert torch.allclose(whole, parts, atol=1e-6)
    if name not in DRAW_NOTHING and not torch.equal(whole.reshape_as(x), x):
        for other in (now._replace(step=4), now._replace(play=1), now._replace(seed=2)):
            assert not torch.equal(trick.shown(x, (), other, "fake")[0], whole)
        assert not torch.equal(trick.shown(x, (), now, "real")[0], whole)


@pytest.mark.parametrize("name", TRICKS)
def test_float64_stays_float64(name: str) -> None:
    made = with_trick(name, dtype=torch.float64).run(1)
    assert all(w.dtype == torch.float64 for w in made.weights())
    loss = made.state.turns[0].loss(made.state.game.stage(made.data.take(0, 8, made.engine.device), Now()))
    assert loss.total.dtype == torch.float64


@pytest.mark.parametrize("name", TRICKS)
def test_low_precision_plays(name: str) -> None:
    made = with_trick(name, precision="bf16").run(3)
    made.state.check_finite()
    assert all(w.dtype == torch.float32 for w in made.weights())


@pytest.mark.parametrize("name", TRICKS)
def test_the_model_is_saved_and_sampled_with_the_trick(name: str) -> None:
    """Samples come from the averaged generator, whatever the batch."""
    made = with_trick(name).run(2)
    game = made.state.best_game()
    z = game.latent(6, seed=0)
    with torch.no_grad():
        assert torch.allclose(game.generate(z)[2:4], game.generate(z[2:4]), atol=1e-5)


def test_tricks_compose() -> None:
    """Many at once, in the order they are listed."""
    some = ["diffaugment", "ada", "apa", "image-pool", "instance-noise", "label-smoothing", "label-flipping", "top-k"]
    some += ["feature-matching", "minibatch-stddev", "minibatch-discrimination", "latent-optimization", "packing"]
    some += ["freeze-d", "historical-averaging"]
    apart = set(TOLD) | {"virtual-batch-norm", "growing", "blurring", "self-supervised"}  # these want other networks
    assert set(some) | apart == set(TRICKS)
    changes = [f"tricks.{name}={OPTIONS.get(name, '{}')}" for name in some]
    made = play("dcgan", *changes, data=Rows(IMAGES)).run(3)
    made.state.check_finite()
    assert list(made.step()["G"].terms) == ["G", "feature-matching", "historical-averaging"]
