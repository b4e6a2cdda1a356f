"""Encoders and the critic of pairs: any size, any width of code, every weight learns, rows are read alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.nets.joint import JointCritic
from gantlet.nets.maxout import MaxoutCritic
from helpers import POINTS, SMALL

ENCODERS = sorted(registry.encoder.parts)
SHAPES = [(1, 8, 8), (3, 28, 28), (4, 64, 64), (2, 17, 31), (3, 48, 20), (1, 4, 5)]


def encoder(name: str, spec: Spec, outputs: int = 5, **options: Any) -> nn.Module:
    part = registry.encoder.find(name)
    small = {k: v for k, v in SMALL.items() if k in part.options}
    tree, faults = registry.check("encoder", {"use": name, **small, **options})
    assert not faults
    return registry.bind("encoder", tree, total=1)(spec, outputs)


def options(name: str) -> list[dict[str, bool]]:
    return [{}, *({o.name: not o.default} for o in registry.encoder.find(name).options.values() if o.hint is bool)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "switch"), [(n, o) for n in ENCODERS for o in options(n)])
def test_a_row_has_a_code_of_the_width_asked_for(name: str, switch: dict[str, bool], shape: tuple[int, ...]) -> None:
    spec = Spec(shape)
    for outputs in (1, 7):
        made = encoder(name, spec, outputs, **switch)
        x = torch.randn(3, *shape, requires_grad=True)
        code = made(x)
        assert code.shape == (3, outputs)
        code.square().sum().backward()
        assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in made.parameters())
        assert x.grad is not None
        seen = (x.grad != 0).float().mean()
        assert float(seen) > 0.9


@pytest.mark.parametrize("name", ENCODERS)
def test_without_batch_norm_a_row_is_read_alone(name: str) -> None:
    x = torch.randn(6, 2, 9, 8)
    alone, together = (
        encoder(name, Spec((2, 9, 8)), batch_norm=False),
        encoder(name, Spec((2, 16, 16)), batch_norm=True),
    )
    assert torch.allclose(alone(x)[2:4], alone(x[2:4]), atol=1e-6)
    y = torch.randn(6, 2, 16, 16)
    assert not torch.allclose(together(y)[2:4], together(y[2:4]), atol=1e-6)
    assert not any(isinstance(m, nn.modules.dropout._DropoutNd) for m in together.modules())


def test_points_are_for_the_perceptron() -> None:
    assert encoder("mlp", POINTS)(torch.randn(4, 2)).shape == (4, 5)
    with pytest.raises(InputError, match=r"network 'dcgan' is for images .* shape \[2\]; use mlp"):
        encoder("dcgan", POINTS)


def test_widths_double_up_to_the_widest() -> None:
    """64 x 64 at width 64 is DCGAN's critic with a code for a logit: 64-128-256-512, no norm after the first."""
    made = registry.encoder.find("dcgan").fn(Spec((3, 64, 64)), 100)
    widths = [m.out_channels for m in made.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [64, 128, 256, 512]
    assert [m.num_features for m in made.modules() if isinstance(m, nn.BatchNorm2d)] == [128, 256, 512]
    critic = registry.critic.find("dcgan").fn(Spec((3, 64, 64)))
    count = [sum(p.numel() for p in net.parameters()) for net in (made, critic)]
    assert count[0] - count[1] == 99 * (512 * 4 * 4 + 1)


# ---- the critic of pairs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [{}, {"batch_norm": True}, {"spectral": True}, {"dropout": 0.3}])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_pair_has_one_logit(shape: tuple[int, ...], switch: dict[str, Any]) -> None:
    made = JointCritic(Spec(shape, given=((3,), (2,))), width=4, widest=8, **switch)
    x, *given = torch.randn(4, *shape), torch.randn(4, 3), torch.randn(4, 2)
    said = made(x, *given)
    assert said.logits.shape == (4,)
    said.logits.sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in made.parameters())
    assert all(len(f) == 4 for f in said.features)


def test_a_pair_is_judged_by_itself_and_as_a_pair() -> None:
    """Alone among other rows, and neither its sample nor its code decides alone: D(x, z) is no sum of two parts."""
    torch.manual_seed(0)
    made = JointCritic(Spec((1, 8, 8), given=((3,),)), width=8, init_std=0.5)
    x, z = torch.randn(4, 1, 8, 8), torch.randn(4, 3)
    logits = made(x, z).logits
    assert torch.allclose(made(x[1:3], z[1:3]).logits, logits[1:3], atol=1e-5)
    mixed = made(x, z.flip(0)).logits + made(x.flip(0), z).logits
    assert not torch.allclose(mixed, logits + logits.flip(0), atol=1e-3)


def test_without_codes_it_is_a_critic_of_samples() -> None:
    made = JointCritic(Spec((1, 8, 8)), width=4)
    assert made.of_z is None
    assert made(torch.randn(3, 1, 8, 8)).logits.shape == (3,)
    with pytest.raises(InputError, match=r"takes vectors beside x, not \[\[1, 8, 8\]\]"):
        JointCritic(Spec((1, 8, 8), given=((1, 8, 8),)))


# ---- maxout, as the first GAN had it ------------------------------------------------------------------------------


def test_maxout_reads_pixels_as_shares_and_forgets_half() -> None:
    torch.manual_seed(0)
    plain = MaxoutCritic(Spec((1, 4, 4)), hidden=(6,))
    unit = MaxoutCritic(Spec((1, 4, 4)), hidden=(6,), unit=True)
    unit.load_state_dict(plain.state_dict())
    x = torch.rand(5, 1, 4, 4)
    assert torch.allclose(unit(2 * x - 1).logits, plain(x).logits, atol=1e-6)
    half = MaxoutCritic(Spec((1, 4, 4)), hidden=(400,), dropout=0.5, input_dropout=0.2)
    one = torch.rand(1, 1, 4, 4)
    said = torch.cat([half(one).logits for _ in range(400)])
    assert float(said.detach().std()) > 0
    half.eval()
    assert torch.equal(half(one).logits, half(one).logits)


def test_the_first_gan_has_the_weights_it_had() -> None:
    """G: 100-1200-1200-784; D: 784-240-240-1 of five pieces each (the configuration published with the paper)."""
    from gantlet.core.recipe import recipe

    tree, spec = recipe("gan2014").tree["game"], Spec((1, 28, 28))
    G, D = (registry.bind(k, tree[n], total=1)(spec) for k, n in (("generator", "G"), ("critic", "D")))
    count = [sum(p.numel() for p in net.parameters()) for net in (G, D)]
    assert count[0] == 101 * 1200 + 1201 * 1200 + 1201 * 784
    assert count[1] == 785 * 1200 + 241 * 1200 + 241
    drawn = torch.cat([p.detach().flatten() for n, p in G.named_parameters() if n.endswith("weight")])
    assert float(drawn.std()) == pytest.approx(0.05 / 3**0.5, rel=0.01)
    rate = registry.bind_option(
        registry.optimizer.find("sgd").options["lr"], recipe("gan2014")["players.D.lr"], total=1
    )
    from gantlet.core.when import Now

    assert rate(Now(step=50_000)) == pytest.approx(0.1 / 1.000004**50_000, rel=1e-6)


def test_a_joint_critic_is_as_dense_as_it_is_told() -> None:
    """Unsaid, 8 times the width and at most the table's 512."""
    spec = Spec((1, 8, 8), given=((5,),))
    for options, wanted in (({"width": 4}, 32), ({"width": 64}, 512), ({"width": 4, "dense": 100}, 100)):
        assert JointCritic(spec, **options).last[-1].in_features == wanted
