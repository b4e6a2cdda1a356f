"""What style generators have in common: mapping, style mixing, noise; and how their critics hear the class."""

from __future__ import annotations

import itertools
import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core.held import Drawing
from gantlet.core.noise import normal_of
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
    around which styles are truncated, moves with each image in training mode and stays otherwise.
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
        half_life_images: float = 11_000.0,  # of w_mean: 0.998 a batch of 32 (Karras et al. 2021)
    ) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.classes, self.half_life_images = z, w, classes, half_life_images
        self.embed = nn.Embedding(classes, w) if classes else None
        widths = [z + (w if classes else 0), *[w] * layers]
        self.body = _mapped(widths, lr_multiplier)
        self.register_buffer("w_mean", torch.zeros(widths[-1]))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        w = self.mapped(z, y)
        self.remember(w)
        return w

    def mapped(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The style alone."""
        h, y = pixel_norm(z), known(y, self.classes)
        if self.embed is not None and y is not None:
            h = torch.cat([h, pixel_norm(self.embed(y)).to(h.dtype)], 1)
        w: Tensor = self.body(h)
        return w

    def remember(self, w: Tensor) -> None:
        """The running mean of styles, moved by these images' [N, w]."""
        if self.training and torch.is_grad_enabled():  # once for a scene, shared or staged again
            with torch.no_grad():
                mean = w.detach().to(self.w_mean.dtype).mean(0)
                self.w_mean.lerp_(mean, 1 - 0.5 ** (w.shape[0] / self.half_life_images))


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


def styles(
    mapping: MappingNetwork, z: Tensor, y: Tensor | None, *, layers: int, mixing: float, used: int | None = None
) -> Tensor:
    """The style of each layer, [N, layers, w]. While training a share `mixing` of the rows takes another latent's style
    from a random layer on (Karras et al. 2019, section 3.1): which latent and layer follows from z. The layer is among
    the first `used`, those that a generator still growing has; null: all.
    """
    used = used or layers
    if not mixing or not mapping.training:
        w: Tensor = mapping(z, y)
        return w.unsqueeze(1).expand(-1, layers, -1)
    other = normal_of(z, (z.shape[1],), key=("style-mixing", "z")).to(z.dtype)
    both = mapping.mapped(torch.cat([z, other]), None if y is None else torch.cat([y, y]))
    w, v = both.unsqueeze(1).chunk(2)
    mapping.remember(w.squeeze(1))  # the others are no images of their own
    u = 0.5 * (1 + torch.erf(normal_of(z, (2,), key=("style-mixing", "where")) / math.sqrt(2)))  # uniform
    first = torch.where(u[:, 0] < mixing, 1 + torch.floor(u[:, 1] * (used - 1)), layers)  # layer of the other's
    own = torch.arange(layers, device=z.device) < first.unsqueeze(1)
    return torch.where(own.unsqueeze(2), w, v)


def demodulation(style: Tensor, weight: Tensor) -> Tensor:
    """1 / sqrt(sum over i, k of (s_i W_oik)^2 + 1e-8), [N, o] (Karras et al. 2020, eq. 3); s [N, i], W [o, i, k, k].

    In at least float32: in half precision the square of a style of 256 is infinite, and what is divided by it nothing.
    """
    kind = style.device.type
    with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
        s, w = (t.to(torch.promote_types(t.dtype, torch.float32)) for t in (style, weight))
        return torch.rsqrt(F.linear(s.square(), w.square().sum((2, 3))) + 1e-8)


class Noise(Drawing):
    """x + a n, n one standard normal map for all channels, a learnt (Karras et al. 2019, figure 1b).

    n follows from z [N, z]; without z, and where it is held, it is the same for every row and call. `channels`: how many
    a; one is a scalar.
    """

    def __init__(self, layer: int, channels: int = 1) -> None:
        super().__init__()
        self.key = ("style-noise", layer)
        self.strength = nn.Parameter(torch.zeros(channels, 1, 1) if channels > 1 else torch.zeros(()))

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        shape = (1, x.shape[2], x.shape[3])
        drawn = self.drawn(z, shape, self.key, x.device)
        return x + (self.strength * drawn.to(self.strength.dtype)).to(x.dtype)
