"""What style generators have in common: mapping, style mixing, noise; and how their critics hear the class."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from gantlet.core.noise import normal, normal_of
from gantlet.nets.equalised import EqualLinear, Leaky, pixel_norm
from gantlet.nets.layers import known


def _mapped(widths: list[int], lr_multiplier: float) -> nn.Sequential:
    body: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        body += [EqualLinear(a, b, lr_multiplier=lr_multiplier), Leaky()]
    return nn.Sequential(*body)


class MappingNetwork(nn.Module):
    """z, pixel-normed, through equalised layers to a style w (Karras et al. 2019, figure 1b).

    `forward(z [N, z], y=None) -> w [N, w]`. With classes an embedding of y int64 [N] is pixel-normed too and concatenated
    to z (Karras et al. 2020, "Training generative adversarial networks with limited data"). The buffer `w_mean` [w],
    around which styles are truncated, moves by `decay` at each forward in training mode and stays otherwise.
    """

    w_mean: Tensor

    def __init__(
        self,
        z: int,
        w: int,
        *,
        layers: int,
        classes: int = 0,
        lr_multiplier: float = 0.01,  # the papers': the mapping would run away from what it feeds
        decay: float = 0.995,  # the papers': a memory of two hundred batches
    ) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.classes, self.decay = z, w, classes, decay
        self.embed = nn.Embedding(classes, w) if classes else None
        widths = [z + (w if classes else 0), *[w] * layers]
        self.body = _mapped(widths, lr_multiplier)
        self.register_buffer("w_mean", torch.zeros(widths[-1]))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h, y = pixel_norm(z), known(y, self.classes)
        if self.embed is not None and y is not None:
            h = torch.cat([h, pixel_norm(self.embed(y)).to(h.dtype)], 1)
        w: Tensor = self.body(h)
        if self.training and torch.is_grad_enabled():  # once for a scene, shared or staged again
            with torch.no_grad():
                self.w_mean.lerp_(w.detach().to(self.w_mean.dtype).mean(0), 1 - self.decay)
        return w


class ClassHead(nn.Module):
    """f -> a logit; told the class, f W e(y) / sqrt(d), e an embedding [K, d] through mapping layers (projection: Miyato
    and Koyama 2018, in the form of Karras et al. 2020, "Training ... with limited data").

    `forward(f [N, inputs], y=None) -> [N]`.
    """

    def __init__(self, inputs: int, *, classes: int, layers: int) -> None:
        super().__init__()
        self.classes = classes
        if classes:
            self.embed = nn.Embedding(classes, inputs)
            self.body = _mapped([inputs] * (layers + 1), 0.01)
        self.out = EqualLinear(inputs, inputs if classes else 1)  # the last layer there is: tricks stand beside it

    def forward(self, f: Tensor, y: Tensor | None = None) -> Tensor:
        said: Tensor = self.out(f)
        y = known(y, self.classes)
        if y is None:
            return said.squeeze(1)
        e: Tensor = self.body(pixel_norm(self.embed(y)))
        return (said * e).sum(1) / math.sqrt(e.shape[1])


def styles(mapping: MappingNetwork, z: Tensor, y: Tensor | None, *, layers: int, mixing: float) -> Tensor:
    """The style of each layer, [N, layers, w]. While training a share `mixing` of the rows takes another latent's style
    from a random layer on (Karras et al. 2019, section 3.1): which latent and layer follows from z.
    """
    if not mixing or not mapping.training:
        w: Tensor = mapping(z, y)
        return w.unsqueeze(1).expand(-1, layers, -1)
    other = normal_of(z, (z.shape[1],), key=("style-mixing", "z")).to(z.dtype)
    w, v = mapping(torch.cat([z, other]), None if y is None else torch.cat([y, y])).unsqueeze(1).chunk(2)
    u = 0.5 * (1 + torch.erf(normal_of(z, (2,), key=("style-mixing", "where")) / math.sqrt(2)))  # uniform
    first = torch.where(u[:, 0] < mixing, 1 + torch.floor(u[:, 1] * (layers - 1)), layers)  # layer of the other's
    own = torch.arange(layers, device=z.device) < first.unsqueeze(1)
    return torch.where(own.unsqueeze(2), w, v)


class Noise(nn.Module):
    """x + a n, n one standard normal map for all channels, a learnt (Karras et al. 2019, figure 1b).

    n follows from z [N, z]; without z it is the same for every row and call. `channels`: how many a; one is a scalar.
    """

    def __init__(self, layer: int, channels: int = 1) -> None:
        super().__init__()
        self.key = ("style-noise", layer)
        self.strength = nn.Parameter(torch.zeros(channels, 1, 1) if channels > 1 else torch.zeros(()))

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        shape = (1, x.shape[2], x.shape[3])
        drawn = normal(shape, 1, key=self.key, device=x.device) if z is None else normal_of(z, shape, key=self.key)
        return x + (self.strength * drawn.to(self.strength.dtype)).to(x.dtype)
