"""k networks as one are the k networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.noise import normal, uniform
from gantlet.nets.maxout import Maxout
from gantlet.nets.stacked import Stacked

POINTS, IMAGES = Spec((2,)), Spec((1, 8, 8))
NETS = [
    ("generator", {"use": "mlp", "z": 3, "hidden": [5, 4], "batch_norm": True}, POINTS),
    ("generator", {"use": "dcgan", "z": 3, "width": 2}, IMAGES),
    ("critic", {"use": "maxout", "hidden": [4, 3], "pieces": 3}, POINTS),
    ("critic", {"use": "mlp", "hidden": [4]}, POINTS),
    ("critic", {"use": "cnn", "width": 2}, IMAGES),
]


def made(kind: str, tree: dict[str, object], spec: Spec, k: int = 3) -> list[nn.Module]:
    checked, faults = registry.check(kind, tree)
    assert not faults
    return [registry.bind(kind, checked, total=1)(spec).double() for _ in range(k)]


def tensors(said: Tensor | Verdict) -> list[Tensor]:
    return [said.logits, *said.features] if isinstance(said, Verdict) else [said]


@pytest.mark.parametrize(("kind", "tree", "spec"), NETS, ids=lambda v: v["use"] if isinstance(v, dict) else None)
@pytest.mark.parametrize("training", [True, False])
def test_answers_gradients_and_buffers_are_those_of_the_networks(kind, tree, spec, training: bool) -> None:
    nets = made(kind, tree, spec)
    for net in nets:
        net.train(training)
    whole = Stacked(nets)
    shape = (nets[0].z_dim,) if kind == "generator" else spec.shape
    x = torch.randn(12, *shape, dtype=torch.float64, requires_grad=True)
    parts = [tensors(net(block)) for net, block in zip(nets, x.chunk(3))]
    for together, *alone in zip(tensors(whole(x)), *parts, strict=True):
        torch.testing.assert_close(together, torch.cat(alone))
    (slope,) = torch.autograd.grad(tensors(whole(x))[0].square().sum(), x, create_graph=True)
    (own,) = torch.autograd.grad(sum(tensors(n(b))[0].square().sum() for n, b in zip(nets, x.chunk(3))), x)
    torch.testing.assert_close(slope, own)
    wanted = [n(b) for n, b in zip(nets, x.chunk(3))]  # as often as `whole` was asked
    assert len(wanted) == 3
    whole(x)
    weights = torch.autograd.grad(slope.square().sum(), list(whole.parameters()), allow_unused=True)
    assert any(w is not None and bool(w.abs().sum() > 0) for w in weights), "the slope can be differentiated again"
    for j, net in enumerate(nets):
        for (name, mine), theirs in zip(whole.net(j).state_dict().items(), net.state_dict().values(), strict=True):
            torch.testing.assert_close(mine, theirs, msg=lambda text, name=name: f"{name}: {text}")


def test_train_and_eval_reach_the_plan() -> None:
    whole = Stacked(made(*NETS[0]))
    x = torch.randn(12, 3, dtype=torch.float64)
    whole.eval()
    before = [b.clone() for b in whole.buffers()]
    whole(x)
    assert all(torch.equal(a, b) for a, b in zip(before, whole.buffers()))
    whole.train()
    whole(x)
    assert not all(torch.equal(a, b) for a, b in zip(before, whole.buffers()))


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="10 does not divide over 3 networks"):
        Stacked(made(*NETS[3]))(torch.zeros(10, 2, dtype=torch.float64))
    with pytest.raises(InputError, match="at least one"):
        Stacked([])


def test_maxout_by_hand() -> None:
    """max(x, -2 x) of one input, max(x + 1, 1) of the other unit."""
    layer = Maxout(1, 2, 2)
    with torch.no_grad():
        layer.maps.weight.copy_(torch.tensor([[1.0], [-2.0], [1.0], [0.0]]))
        layer.maps.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]))
    torch.testing.assert_close(layer(torch.tensor([[3.0], [-3.0]])), torch.tensor([[3.0, 4.0], [6.0, 1.0]]))


@pytest.mark.parametrize("draw", [uniform, normal])
def test_many_seeds_draw_what_each_draws_alone(draw) -> None:
    """Block j of the rows is seed j's, from row `first` // k on."""
    seeds = (7, 0, 3)
    whole = draw((5,), 12, key=(seeds, 4, "z"), first=30)
    alone = [draw((5,), 4, key=(seed, 4, "z"), first=10) for seed in seeds]
    assert torch.equal(whole, torch.cat(alone))
    with pytest.raises(ValueError, match="10 rows do not divide over 3 seeds"):
        draw((5,), 10, key=(seeds, "z"))
