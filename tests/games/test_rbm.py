"""A Boltzmann machine that is small enough to be counted out: energies, gradients, likelihoods, chains."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from gantlet.core.engine import Engine
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.noise import normal, uniform
from gantlet.core.registry import bind, check
from gantlet.core.state import State
from gantlet.core.train import train
from gantlet.core.when import Now
from gantlet.explore.interpolate import interpolate
from gantlet.explore.invert import invert
from gantlet.explore.space import Space
from gantlet.explore.truncation import Truncated
from gantlet.games.autoencoder import Shown
from gantlet.games.rbm import RBM, Machine
from helpers import number, play, same

EXACT = torch.float64
VISIBLE, UNITS = 6, 4
TINY = Spec((1, 2, 3))


def states(width: int) -> Tensor:
    """Every vector of zeros and ones, float64 [2^width, width]."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=width)), dtype=EXACT)


def machine(kind: str = "binary", scale: float = 1.0, size: float = 1.0) -> Machine:
    torch.manual_seed(0)
    made = Machine(VISIBLE, UNITS, kind, scale).double()
    with torch.no_grad():
        for w in made.parameters():
            w.copy_(size * torch.randn(w.shape, dtype=EXACT))
    return made


def log_likelihood(made: Machine, v: Tensor) -> Tensor:
    """log p(v) of rows, every state summed over."""
    return -made.free_energy(v) - torch.logsumexp(-made.free_energy(states(VISIBLE)), 0)


def game(**options: object) -> RBM:
    torch.manual_seed(0)
    made = RBM(TINY, units=UNITS, **options).double()
    with torch.no_grad():
        made.G.W.copy_(machine().W)
        made.G.b.copy_(machine().b)
    return made


# ---- energies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "scale"), [("binary", 1.0), ("gaussian", 0.7)])
def test_free_energy_is_minus_the_log_of_the_sum_over_hidden_states(kind: str, scale: float) -> None:
    made = machine(kind, scale)
    v = states(VISIBLE)[::7] if kind == "binary" else normal((VISIBLE,), 9, key=("v",)).to(EXACT)
    h = states(UNITS)
    every = torch.stack([made.energy(v, one.expand(len(v), -1)) for one in h])
    assert torch.allclose(made.free_energy(v), -torch.logsumexp(-every, 0), atol=1e-10)


def test_conditionals_are_those_of_the_energy() -> None:
    """log-odds of one unit are the fall of energy when it is set, whatever the others are."""
    made = machine()
    v, h = states(VISIBLE)[[5, 40]], states(UNITS)[[3, 9]]
    for j in range(UNITS):
        on, off = h.clone(), h.clone()
        on[:, j], off[:, j] = 1, 0
        assert torch.allclose(made.excited(v)[:, j], made.energy(v, off) - made.energy(v, on))
    for i in range(VISIBLE):
        on, off = v.clone(), v.clone()
        on[:, i], off[:, i] = 1, 0
        assert torch.allclose(torch.logit(made.seen(h))[:, i], made.energy(off, h) - made.energy(on, h))


def test_a_gaussian_visible_unit_is_where_its_energy_is_least() -> None:
    made = machine("gaussian", 0.7)
    h = states(UNITS)[[6]]
    v = made.seen(h).detach().requires_grad_()
    (slope,) = torch.autograd.grad(made.energy(v, h).sum(), v)
    assert float(slope.abs().max()) < 1e-12
    draws = made.visible_of(h.expand(20_000, -1), uniform((VISIBLE,), 20_000, key=("g",)).to(EXACT)).detach()
    assert torch.allclose(draws.mean(0), made.seen(h).detach()[0], atol=0.03)
    assert torch.allclose(draws.std(0), torch.full((VISIBLE,), 0.7, dtype=EXACT), atol=0.02)


def test_grey_levels_are_probabilities_and_come_back() -> None:
    x = torch.tensor([[-1.0, 0.0, 1.0]])
    for kind, v in (("binary", [0, 0.5, 1]), ("gaussian", [-1, 0, 1])):
        made = Machine(3, 2, kind, 0.5)
        assert made.units_of(x).tolist() == [v]
        assert torch.equal(made.images_of(made.units_of(x)), x)


# ---- learning -----------------------------------------------------------------------------------------------------


def test_the_gradient_is_data_less_dream_statistics() -> None:
    """dL/dW = -E[h v | data] + E[h v | dreams], h by its probabilities: contrastive divergence."""
    made = game(persistent=False, k=2)
    x = 2 * states(VISIBLE)[::5].view(-1, 1, 2, 3) - 1
    scene = Shown(Now(step=3), x)
    loss = made.wants(scene)
    grads = torch.autograd.grad(loss.total, [made.G.W, made.G.b, made.G.c])
    v, dreamt = made.G.units_of(x), made.G.units_of(loss.views["fake"])
    p, q = (torch.sigmoid(made.G.excited(side)) for side in (v, dreamt))
    assert not torch.equal(v, dreamt)
    assert torch.allclose(grads[0], (q.T @ dreamt - p.T @ v) / len(v))
    assert torch.allclose(grads[1], dreamt.mean(0) - v.mean(0))
    assert torch.allclose(grads[2], q.mean(0) - p.mean(0))


def test_with_the_model_s_own_draws_it_is_the_likelihood_s_gradient() -> None:
    made = machine()
    v = states(VISIBLE)[::5]
    by_likelihood = torch.autograd.grad(-log_likelihood(made, v).mean(), list(made.parameters()))
    weights = torch.softmax(-made.free_energy(states(VISIBLE)), 0).detach()
    gap = made.free_energy(v).mean() - (weights * made.free_energy(states(VISIBLE))).sum()
    by_energies = torch.autograd.grad(gap, list(made.parameters()))
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(by_likelihood, by_energies, strict=True))


class Stripes:
    """Images of 2 x 3 whose columns are all black or all white."""

    spec = TINY

    def take(self, first: int, n: int, device: torch.device) -> Batch:
        columns = (uniform((3,), n, key=("stripes",), first=first) < 0.5).to(EXACT)
        return Batch((2 * columns - 1).view(n, 1, 1, 3).expand(n, 1, 2, 3).contiguous())


@pytest.mark.parametrize("options", [{"persistent": False, "k": 1}, {"persistent": True, "chains": 64}])
def test_training_raises_the_exact_likelihood(options: dict[str, object]) -> None:
    """From 6 log 2 nats, which knows nothing, well on the way to 3 log 2, which knows all."""
    torch.manual_seed(0)
    made = RBM(TINY, units=8, **options).double()
    tree, _ = check("optimizer", {"use": "sgd", "lr": 0.5})
    state = State.begin(
        made, {"RBM": bind("optimizer", tree, total=1)}, bind("dynamics", {"use": "alternating"}, total=1)()
    )
    v = made.G.units_of(Stripes().take(0, 64, torch.device("cpu")).x)
    begun = number(log_likelihood(made.G, v).mean())
    train(state, Engine(batch=32), Stripes(), 300)
    assert begun == pytest.approx(-6 * 0.6931, abs=0.1)
    assert number(log_likelihood(made.G, v).mean()) > -3.4


def test_no_other_player_is_cut_off() -> None:
    """What is not differentiated is the machine's own draws; second-order dynamics are told that they have no slope."""
    made = game(persistent=False)
    assert list(made.owns()) == ["RBM"]
    assert made.first_order
    with pytest.raises(InputError, match=r"derivative does not exist \(discrete samples\)"):
        play("rbm", "dynamics=consensus")


# ---- chains -------------------------------------------------------------------------------------------------------


def test_persistent_chains_begin_at_data_and_are_driven_once_a_step() -> None:
    made = game(chains=50)
    x = 2 * states(VISIBLE)[[0, 63]].view(-1, 1, 2, 3) - 1
    with torch.no_grad():
        made.G.W.fill_(20.0)  # all hidden units are on where all pixels are white, none where all are black, and back
        made.G.b.fill_(-10.0)
        made.G.c.fill_(-60.0)
        made.wants(Shown(Now(step=0), x))
    on = made.G.fantasies.double().mean(1)
    assert on[::2].tolist() == [0.0] * 25
    assert on[1::2].tolist() == [1.0] * 25
    before = made.G.fantasies.clone()
    made = game(chains=50)
    with torch.no_grad():
        made.G.fantasies.copy_(before)
        first = made.wants(Shown(Now(step=1), x)).views["fake"]
        after = made.G.fantasies.clone()
        assert first.shape == (50, 1, 2, 3)
        assert not torch.equal(before, after)
        made.G.fantasies.copy_(before)
        assert torch.equal(made.wants(Shown(Now(step=1), 0 * x)).views["fake"], first)  # whatever the data is
    assert torch.equal(made.G.fantasies, after)
    with pytest.raises(InputError, match="micro_batch 4: RBM"):
        play("rbm", "micro_batch=4")


def test_a_long_chain_has_the_model_s_marginals() -> None:
    """Samples are means given hidden draws of the model: their mean is the marginal of each visible unit."""
    made = game(chain=60)
    with torch.no_grad():
        weights = torch.softmax(-made.G.free_energy(states(VISIBLE)), 0)
        marginal = weights @ states(VISIBLE)
        x = made.generate(made.latent(8_000, seed=1))
    assert x.shape == (8_000, 1, 2, 3)
    assert torch.allclose(((1 + x) / 2).mean(0).flatten().double(), marginal, atol=0.015)


def test_a_sample_follows_from_its_latent() -> None:
    made = game(chain=30).float()
    z = made.latent(12, seed=2)
    with torch.no_grad():
        whole = made.generate(z)
        assert torch.equal(torch.cat([made.generate(part) for part in z.split([5, 7])]), whole)
        nudged = made.generate(z * (1 + 1e-6))  # another latent, the same beginning: other draws
        assert not torch.equal(whole, nudged)
        assert same([made.generate(z)], [whole])
    assert whole.dtype == torch.float32
    assert number(whole.abs().max()) <= 1


def test_tools_that_move_latents_refuse_a_machine() -> None:
    """A sample follows from the bits of its latent, so one beside it is of another sample."""
    made = game(chain=2)
    model = SimpleNamespace(game=made, spec=Spec((1, 2, 3)))
    say = r"in rbm a latent only begins a chain .* neighbouring ones make unrelated samples"
    with pytest.raises(InputError, match=rf"truncation=0\.5: {say}"):
        Truncated(made, 0.5)
    with pytest.raises(InputError, match=say):
        Space(made)
    with pytest.raises(InputError, match=say):
        interpolate(model)
    with pytest.raises(InputError, match=say):
        invert(model, torch.zeros(1, 1, 2, 3))
