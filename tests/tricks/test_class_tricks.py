"""Tricks that tell networks the class, by hand; every other trick and every penalty in a game that is told it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Critics, Evidence, Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.when import Now
from gantlet.nets.cnn import CNNCritic
from gantlet.nets.dcgan import DCGANCritic, DCGANGenerator
from gantlet.nets.maxout import MaxoutCritic
from gantlet.nets.mlp import MLPCritic, MLPGenerator
from gantlet.tricks.classifier import ACGAN
from gantlet.tricks.concat_labels import ConcatLabels
from gantlet.tricks.packing import Packing
from gantlet.tricks.projection import Projection
from gantlet.tricks.reacgan import ReACGAN, d2d_ce
from gantlet.tricks.stddev import MinibatchStddev
from gantlet.tricks.virtual import VirtualBatchNorm
from helpers import Play, Rows, play, same, tensors

IMAGE = Spec((1, 16, 16), classes=3)
VECTOR = Spec((4,), classes=3)
Y = torch.tensor([2, 0, 1, 0, 2, 2])
X = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def dressed(trick: Any, net: nn.Module, role: str = "D", spec: Spec = IMAGE, seen: Spec | None = None) -> nn.Module:
    found: nn.Module = trick.dress(
        role, net, (trick.critic_spec(spec) if seen is None else seen) if role == "D" else spec
    )
    return found


def onehot(y: Tensor) -> Tensor:
    return F.one_hot(y, 3).float()


# ---- labels beside the inputs -------------------------------------------------------------------------------------


def test_a_perceptron_reads_x_and_y_side_by_side() -> None:
    """The first layer is W [x, onehot(y)] + b, its columns for y drawn as large as the others, less their mean."""
    net = MLPCritic(VECTOR, hidden=(400,))
    first = net.body[0]
    D = dressed(ConcatLabels(), net, spec=VECTOR)
    x = torch.randn(6, 4)
    layer = net.body[0]
    whole = torch.cat([first.weight, layer.more.weight], 1)
    drawn, like = layer.more.weight.detach(), first.weight.detach()
    assert float(drawn.std() * (3 / 2) ** 0.5) == pytest.approx(float(like.square().mean().sqrt()), rel=0.1)
    want = torch.cat([x, onehot(Y)], 1) @ whole.T + first.bias
    assert torch.allclose(D(x, Y).features[0], F.leaky_relu(want, 0.2), atol=1e-6)
    assert not torch.equal(D(x, Y).logits, D(x, (Y + 1) % 3).logits)


def test_a_convolution_reads_planes_beside_the_channels() -> None:
    net = DCGANCritic(IMAGE, width=4)
    first = net.body[0]
    D = dressed(ConcatLabels(), net)
    planes = onehot(Y).view(6, 3, 1, 1).expand(6, 3, 16, 16)
    weight = torch.cat([first.weight, net.body[0].more.weight], 1)
    want = F.conv2d(torch.cat([X, planes], 1), weight, first.bias, stride=2, padding=1)
    assert torch.allclose(D(X, Y).features[0], F.leaky_relu(want, 0.2), atol=1e-6)


@pytest.mark.parametrize("embed", [None, 5])
def test_a_generator_reads_z_and_y(embed: int | None) -> None:
    G = dressed(ConcatLabels(embed=embed), DCGANGenerator(IMAGE, z=6, width=4), "G").eval()
    z = torch.randn(6, 6)
    assert G.z_dim == 6
    x = G(z, Y)
    assert torch.allclose(G(z[2:4], Y[2:4]), x[2:4], atol=1e-6)
    assert not torch.allclose(G(z, (Y + 1) % 3), x)
    x.square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in G.parameters())
    assert G.code[0].told == []  # nothing of a step outlives it


def test_a_side_alone_and_spectral_weights() -> None:
    trick = ConcatLabels(role="G")
    D = DCGANCritic(IMAGE, width=4, spectral=True)
    assert dressed(trick, D) is D
    assert "parametrizations.weight.original" in " ".join(dict(dressed(ConcatLabels(), D).named_parameters()))
    more = D.body[0].more
    for _ in range(60):
        D.body[0].more(torch.zeros(1, 3, 4, 4))
    assert float(torch.linalg.matrix_norm(more.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.02)


class Hears(nn.Module):
    """D(x, y) = sum x + 10 y, with a linear layer to stand beside."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.last(x).squeeze(1) + 10 * y


@pytest.mark.parametrize("trick", [ConcatLabels(), Projection()])
def test_labels_go_on_to_a_network_that_takes_them(trick: Any) -> None:
    net = Hears()
    said = dressed(trick, net, spec=VECTOR)
    with torch.no_grad():
        for weight in said.parameters():
            weight.zero_()
    answer = said(torch.randn(6, 4), Y)
    assert torch.allclose(answer.logits if isinstance(answer, Verdict) else answer, 10.0 * Y)


# ---- projection, classifiers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "net", [DCGANCritic(IMAGE, width=4), CNNCritic(IMAGE, width=4), MaxoutCritic(IMAGE, hidden=(8,))]
)
def test_projection_adds_the_inner_product_with_what_the_last_layer_reads(net: nn.Module) -> None:
    net.eval()
    before = net(X)
    D = dressed(Projection(), net).eval()
    said = D(X, Y)
    h = before.features[-1].flatten(1)
    assert torch.allclose(said.logits, before.logits + (D.embed.weight[Y] * h).sum(1), atol=1e-5)
    assert len(said.features) == len(before.features)
    last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    drawn, like = D.embed.weight.detach(), last.weight.detach()
    assert float(drawn.std()) == pytest.approx(float(like.square().mean().sqrt()), rel=0.5)


def test_projection_is_normalised_with_the_critic_and_stands_beside_a_statistic() -> None:
    for tricks in ([Projection(), MinibatchStddev(group=2)], [MinibatchStddev(group=2), Projection()]):
        net: nn.Module = MLPCritic(VECTOR, hidden=(8,), spectral=True)
        for trick in tricks:
            net = dressed(trick, net, spec=VECTOR)
        x = torch.randn(6, 4)
        h = net(x, Y).features[-1]
        projected = next(m for m in net.modules() if hasattr(m, "embed"))
        plain, other = net.eval()(x, Y).logits, net(x, (Y + 1) % 3).logits
        v = projected.embed.weight
        assert torch.allclose(plain - other, ((v[Y] - v[(Y + 1) % 3]) * h).sum(1), atol=1e-5)
        assert hasattr(projected.embed, "parametrizations")


def seen_by(D: nn.Module, y: Tensor = Y) -> Evidence:
    critics = Critics({"D": D})
    fake = 2 * X.flip(0)
    return Evidence(critics, X, fake, (y,), critics(X, y), critics(fake, y), Now())


def test_an_auxiliary_classifier_by_hand() -> None:
    trick = ACGAN(weight=2.0)
    net = CNNCritic(IMAGE, width=4)
    D = dressed(trick, net)
    seen = seen_by(D)

    def cost(x: Tensor) -> Tensor:
        logits = D.classifier(net(x).features[-1].flatten(1))
        return -logits.log_softmax(1)[torch.arange(6), Y].mean()

    assert seen.on_real[0].classes.shape == (6, 3)
    assert torch.allclose(trick.d_terms(seen)[""], 2 * (cost(X) + cost(seen.fake)))
    assert torch.allclose(trick.g_terms(seen)[""], 2 * cost(seen.fake))
    alone = ACGAN(fakes=False)
    assert torch.allclose(alone.d_terms(seen)[""], cost(X))
    assert torch.equal(D(X, Y).logits, D(X, (Y + 1) % 3).logits)  # the critic is not told


def test_data_to_data_cross_entropy_by_hand() -> None:
    """Two samples at 60 degrees, of two classes; one's proxy is at 0, the other's at 90 degrees."""
    f = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    toward = torch.tensor([1.0, 0.25], dtype=torch.float64)
    y = torch.tensor([0, 1])
    t, m_p, m_n = 0.5, 0.9, 0.1
    n = (0.5 - m_n) / t
    p = torch.tensor([0.0, (0.25 - m_p) / t], dtype=torch.float64)  # beyond its margin the first is near enough
    want = -torch.log(p.exp() / (p.exp() + math.exp(n))).mean()
    how = {"temperature": t, "positive": m_p, "negative": m_n}
    assert torch.allclose(d2d_ce(f, toward, y, **how), want)
    assert float(d2d_ce(f, toward, torch.zeros(2, dtype=torch.int64), **how)) == 0  # nobody to be told apart from
    away = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)  # farther than m_n: exp(0) each
    assert torch.allclose(d2d_ce(away, torch.ones(2), y, **how), torch.tensor(math.log(2.0)).double())


def test_reacgan_s_head_is_on_the_unit_sphere() -> None:
    trick = ReACGAN(weight=3.0, embed=7)
    D = dressed(trick, DCGANCritic(IMAGE, width=4, batch_norm=False))
    seen = seen_by(D)
    f, cosines = seen.on_real[0].features[-1], seen.on_real[0].classes
    assert torch.allclose(f.norm(dim=1), torch.ones(6))
    proxies = F.normalize(D.proxies, dim=1)
    assert torch.allclose(cosines, f @ proxies.T, atol=1e-6)
    how = {"temperature": 0.5, "positive": 0.98, "negative": 0.02}
    assert torch.allclose(trick.d_terms(seen)[""], 3 * d2d_ce(f, cosines[torch.arange(6), Y], Y, **how))
    fake = seen.on_fake[0]
    assert torch.allclose(
        trick.g_terms(seen)[""], 3 * d2d_ce(fake.features[-1], fake.classes[torch.arange(6), Y], Y, **how)
    )


# ---- everything else in a game that is told -----------------------------------------------------------------------

TOLD = ["conditional=true", "tricks.concat-labels={}"]
OPTIONS = {
    "image-pool": "{size: 32}",
    "minibatch-stddev": "{group: 2}",
    "minibatch-discrimination": "{kernels: 3, width: 2}",
    "virtual-batch-norm": "{size: 4, role: both}",
    "reacgan": "{embed: 8}",
}
REFUSE = {"image-pool", "growing", "self-supervised"}  # other fakes, other networks
OTHERS = [n for n in sorted(registry.trick.parts) if n != "concat-labels"]


def conditional(*changes: str, **options: Any) -> Play:
    return play("dcgan", *TOLD, *changes, data=Rows(IMAGE), **options)


@pytest.mark.parametrize("name", OTHERS)
def test_every_trick_plays_or_refuses(name: str) -> None:
    change = f"tricks.{name}={OPTIONS.get(name, '{}')}"
    try:
        made = conditional(change)
    except InputError as error:
        assert ";" in str(error)  # the way out
        assert name in REFUSE
        return
    made.run(2).state.check_finite()
    assert made.state.game.labelled


@pytest.mark.parametrize("name", sorted(registry.penalty.parts))
def test_every_penalty_plays(name: str) -> None:
    conditional("tricks.projection={}", f"penalties.{name}={{}}").run(2).state.check_finite()


def test_lenses_leave_labels_alone() -> None:
    """int64 labels go through every lens as they are; packing puts them side by side."""
    for name in ("ada", "apa", "diffaugment", "instance-noise", "virtual-batch-norm"):
        _, (y,) = registry.trick.parts[name].fn().shown(X, (Y,), Now(), "real")
        assert y is Y
    _, (y,) = Packing(m=2).shown(X, (Y,), Now(), "real")
    assert y.tolist() == [[2, 0], [1, 0], [2, 2]]


def test_packed_samples_bear_all_their_labels() -> None:
    trick, pack = ConcatLabels(), Packing(m=2)
    net = MLPCritic(VECTOR._replace(shape=(8,)), hidden=(6,))
    D = dressed(trick, net, spec=VECTOR, seen=pack.critic_spec(trick.critic_spec(VECTOR)))
    x, (y,) = pack.shown(torch.randn(6, 4), (Y,), Now(), "real")
    assert D(x, y).logits.shape == (3,)
    code = torch.cat([onehot(y[:, 0]), onehot(y[:, 1])], 1)
    layer = net.body[0]
    assert torch.allclose(layer.layer(x) + code @ layer.more.weight.T, layer.layer(x) + layer.more(code), atol=1e-6)
    assert not torch.equal(D(x, y).logits, D(x, y.flip(1)).logits)


def test_packs_told_all_their_labels_can_be_frozen() -> None:
    """The layer that reads labels beside the pixels is one layer, with the table of their codes."""
    changes = ("conditional=true", "tricks.concat-labels.embed=3", "tricks.packing={}", "tricks.freeze-d.layers=1")
    made = play("dcgan", *changes, data=Rows(Spec((1, 16, 16), classes=3)))
    D = made.state.game.arena.critics.critics["D"]
    still = [w for w in D.parameters() if not w.requires_grad]
    assert {id(w) for w in still} == {id(w) for w in D.net.body[0].parameters()} and len(still) == 4
    before = [w.detach().clone() for w in D.parameters()]
    made.run(1)
    assert [torch.equal(a, b) for a, b in zip(before, D.parameters())] == [not w.requires_grad for w in D.parameters()]


def test_a_critic_that_can_grow_is_not_told_beside_its_first_layer() -> None:
    spec = Spec((1, 16, 16), classes=3)
    with pytest.raises(InputError, match=r"'concat-labels': ProGANCritic can grow, .*role=G"):
        play("progan", "conditional=true", "tricks.concat-labels.role=D", "tricks.ac-gan={}", data=Rows(spec))
    play("progan", "conditional=true", "tricks.ac-gan={}", data=Rows(spec)).run(1).state.check_finite()


def test_what_cannot_be_packed_says_so() -> None:
    for trick in ("projection", "ac-gan", "reacgan"):
        with pytest.raises(
            InputError, match=r"packed samples are of several classes at once; leave tricks.packing out"
        ):
            play(
                "dcgan", "conditional=true", "tricks.concat-labels.role=G", f"tricks.{trick}={{}}", "tricks.packing={}"
            )
    seen = Packing(m=2).critic_spec(VECTOR)
    with pytest.raises(InputError, match=r"a row is of 2 classes and Hears is told one; use a (network|critic)"):
        Packing(m=2).dress("D", Hears(), seen)
    trick = ConcatLabels()
    with pytest.raises(InputError, match=r"a row is of 2 classes and Hears is told one"):
        dressed(trick, Hears(), spec=VECTOR, seen=Packing(m=2).critic_spec(trick.critic_spec(VECTOR)))


@pytest.mark.parametrize("name", ["concat-labels", "projection", "ac-gan", "reacgan"])
def test_a_game_without_classes_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"trick '{name}': .* not told the class; use game=classic with conditional="):
        play("dcgan", f"tricks.{name}={{}}")
    with pytest.raises(InputError, match=r"no last linear layer with one output"):
        registry.trick.parts["projection"].fn().critic_spec(IMAGE)
        dressed(Projection(), nn.Conv2d(1, 1, 3))


def test_order_and_deafness_say_what_to_do() -> None:
    with pytest.raises(InputError, match=r"list it before ac-gan"):
        play("dcgan", "conditional=true", "tricks.ac-gan={}", "tricks.concat-labels={}")
    with pytest.raises(InputError, match=r"G: DCGANGenerator is not told the class; add tricks.concat-labels"):
        play("dcgan", "conditional=true", "tricks.virtual-batch-norm.size=4", "tricks.projection={}", data=Rows(IMAGE))


def test_a_reference_batch_has_labels_too() -> None:
    """Virtual batch norm: the classes in turn beside fixed latents, so a sample depends on its latent and class alone."""
    told, virtual = ConcatLabels(), VirtualBatchNorm(size=4)
    G = dressed(virtual, dressed(told, DCGANGenerator(IMAGE, z=6, width=2), "G"), "G")
    z = torch.randn(6, 6)
    assert G.labels.rows(torch.arange(4), torch.int64).tolist() == [0, 1, 2, 0]
    assert torch.allclose(G(z, Y)[1:3], G(z[1:3], Y[1:3]), atol=1e-5)
    made = conditional("tricks.virtual-batch-norm={size: 4, role: D}").run(1)
    (D,) = made.state.game.arena.critics.critics.values()
    first = made.data.take(0, 4, torch.device("cpu"))
    assert torch.equal(D.labels.rows(torch.arange(4), torch.int64), first.y)


@pytest.mark.parametrize("name", ["projection", "ac-gan", "reacgan"])
def test_told_games_resume_to_the_bit(name: str) -> None:
    change = f"tricks.{name}={OPTIONS.get(name, '{}')}"
    whole, first, again = (conditional(change, seed=seed) for seed in (0, 0, 5))
    whole.run(4), first.run(2)
    again.state.load_state_dict(copied(first.state.state_dict()))
    again.run(4)
    a, b = tensors(whole.state.state_dict()), tensors(again.state.state_dict())
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
    assert not same(first.weights(), whole.weights())


def copied(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    return {str(k): copied(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def test_several_at_once() -> None:
    made = conditional("tricks.projection={}", "tricks.minibatch-stddev={group: 2}", "tricks.ac-gan={}").run(2)
    made.state.check_finite()
    reports = made.step()
    assert list(reports["D"].terms) == ["D", "ac-gan"]
    assert list(reports["G"].terms) == ["G", "ac-gan"]


def test_perceptrons_are_told_too() -> None:
    net = dressed(ConcatLabels(), MLPGenerator(VECTOR, z=3, hidden=(8,), bits=2), "G", spec=VECTOR)
    assert net(torch.randn(6, 3), Y).shape == (6, 4)
