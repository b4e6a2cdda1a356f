"""The networks of semi-supervised learning with GANs: weight norm and Gaussian noise in a critic that classifies."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gantlet.core.critics import Verdict
from gantlet.core.game import Spec
from gantlet.core.registry import critic, generator
from gantlet.nets.layers import Crop, halvings, image_shape, initialise, judged

Width = Annotated[int, Field(ge=1)]
Hidden = Annotated[tuple[Width, ...], Field(min_length=1, max_length=64)]
Noise = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class GaussianNoise(nn.Module):
    """Adds std n while training; nothing afterwards. [N, ...] -> [N, ...]"""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn_like(x) if self.training else x


def uniform(z: Tensor) -> Tensor:
    """Standard normal latents as uniform ones in -1..1."""
    return torch.erf(z / math.sqrt(2))


@generator.named("semi-mlp")
class SemiMLPGenerator(nn.Module):
    """Uniform latents -> (linear, batch norm, softplus)* -> linear -> tanh, 100-500-500-784 (Salimans et al. 2016)."""

    def __init__(self, spec: Spec, *, z: Width = 100, hidden: Hidden = (500, 500)) -> None:
        super().__init__()
        self.z_dim, self.shape = z, image_shape(spec, "semi-mlp")
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise([z, *hidden]):
            layers += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.Softplus()]
        # halved, so that tanh is their sigmoid in -1..1
        self.body = nn.Sequential(*layers, nn.Linear(hidden[-1], math.prod(self.shape)))

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.body(uniform(z)).view(len(z), *self.shape)
        return torch.tanh(x / 2)


@critic.named("semi-mlp")
class SemiMLPCritic(nn.Module):
    """Sample -> (weight-normalised linear, rectifier, noise)* -> one logit [N], 784-1000-500-250-250-250
    (Salimans et al. 2016).

    It sees pixels in 0..1: a large rate on many inputs that are all -1 would only move biases.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        hidden: Hidden = (1000, 500, 250, 250, 250),
        input_noise: Noise = 0.0,  # theirs 0.3 and 0.5: a judge that draws is for a recipe to choose
        noise: Noise = 0.0,  # after each hidden layer
        weight_norm: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = _noise(input_noise)
        for a, b in itertools.pairwise([math.prod(image_shape(spec, "semi-mlp")), *hidden]):
            layers += [nn.Linear(a, b), nn.ReLU(), *_noise(noise)]
        # the last layer stays plain: a game may want it wider
        self.body = nn.Sequential(*layers, nn.Linear(hidden[-1], 1))
        initialise(self, partial(nn.init.kaiming_normal_, nonlinearity="relu"))
        if weight_norm:
            _weight_normalised(self.body[:-1])

    def forward(self, x: Tensor) -> Verdict:
        return judged(self.body, (x.flatten(1) + 1) / 2)


@generator.named("semi-conv")
class SemiConvGenerator(nn.Module):
    """Uniform latents -> a small map -> strided 5 x 5 transposed convolutions with batch norm -> tanh
    (Salimans et al. 2016: 4 x 4 x 512, 256, 128, 32 x 32 x 3).
    """

    def __init__(self, spec: Spec, *, z: Width = 100, width: Width = 128) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "semi-conv")
        k = halvings(h, w)
        self.z_dim = z
        widths = [width * 2 ** (k - 1 - i) for i in range(k)]
        self.start = (widths[0], -(-h // 2**k), -(-w // 2**k))
        self.project = nn.Linear(z, math.prod(self.start), bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for a, b in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(a, b, 5, 2, 2, output_padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], c, 5, 2, 2, output_padding=1), Crop(h, w))
        initialise(self, partial(nn.init.normal_, std=0.05))

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.body(self.project(uniform(z)).view(-1, *self.start)))


@critic.named("semi-conv")
class SemiConvCritic(nn.Module):
    """3 x 3 convolutions w-w-w(stride 2)-2w-2w-2w(stride 2)-2w, two 1 x 1, a mean over places, one logit [N], all
    weight-normalised (Salimans et al. 2016: w = 96).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: Width = 96,
        input_dropout: Share = 0.0,  # theirs 0.2, and 0.5 after each stride: a judge that draws is for a recipe to choose
        dropout: Share = 0.0,
        slope: float = 0.2,
        weight_norm: bool = True,
    ) -> None:
        super().__init__()
        c, h, w = image_shape(spec, "semi-conv")
        valid = min(-(-h // 4), -(-w // 4)) >= 3  # smaller maps keep their size, as a 3 x 3 window does not fit
        layers: list[nn.Module] = _dropout(input_dropout)
        plan = [(width, 1, 1), (width, 1, 1), (width, 2, 1), (2 * width, 1, 1), (2 * width, 1, 1), (2 * width, 2, 1)]
        for i, (b, stride, padding) in enumerate([*plan, (2 * width, 1, int(not valid))]):
            a = c if i == 0 else [*plan][i - 1][0]
            drop = _dropout(dropout) if stride == 2 else []
            layers += [nn.Conv2d(a, b, 3, stride, padding), nn.LeakyReLU(slope), *drop]
        for _ in range(2):
            layers += [nn.Conv2d(2 * width, 2 * width, 1), nn.LeakyReLU(slope)]
        # the last layer stays plain: a game may want it wider
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 1))
        initialise(self, partial(nn.init.kaiming_normal_, a=slope, nonlinearity="leaky_relu"))
        if weight_norm:
            _weight_normalised(self.body[:-1])

    def forward(self, x: Tensor) -> Verdict:
        return judged(self.body, x)


def _noise(std: float) -> list[nn.Module]:
    return [GaussianNoise(std)] if std else []


def _dropout(share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if share else []


def _weight_normalised(body: nn.Module) -> None:
    """Each output's weights become g v / |v| (Salimans and Kingma 2016); initialise before this."""
    for m in list(body.modules()):
        if isinstance(m, nn.Linear | nn.Conv2d):
            parametrizations.weight_norm(m)
