"""How far a pair of networks has grown, and the grid of maps that any image size is laid on."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.nets.layers import Crop

UNIT = 1 << 16  # a level is kept as a whole number of these: saved, averaged and compared exactly


class Grid(NamedTuple):
    """A size H x W as a start of h x w doubled k times; what that overshoots is shared out to both sides."""

    height: int
    width: int
    doublings: int

    @property
    def start(self) -> tuple[int, int]:
        """Rows and columns of the smallest map."""
        return -(-self.height // 2**self.doublings), -(-self.width // 2**self.doublings)

    def cells(self, x: Tensor, times: int) -> Tensor:
        """Means [N, C, h 2^k / t, w 2^k / t] of squares of `times` pixels; x [N, C, H, W] is repeated beyond its border.

        Cells beyond the border repeat as well, so that an image made of such squares tells nothing more.
        """
        for dim, size in ((2, self.start[0]), (3, self.start[1])):
            over = size * 2**self.doublings - x.shape[dim]
            x = _repeated(x, dim, over // 2, over - over // 2)
        low = x if times == 1 else F.avg_pool2d(x, times)
        for dim, size in ((2, self.height), (3, self.width)):
            over = low.shape[dim] * times - size
            before, after = over // 2 // times, (over - over // 2) // times
            inside = low.narrow(dim, before, low.shape[dim] - before - after)
            low = _repeated(inside, dim, before, after)
        return low

    def squares(self, low: Tensor, times: int) -> Tensor:
        """The image [N, C, H, W] of such cells."""
        made: Tensor = Crop(self.height, self.width)(nearest(low, times))
        return made


def _repeated(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Not F.pad(mode="replicate"), whose gradient is not the same every time on a GPU."""
    first, last = x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)
    return torch.cat([first] * before + [x] + [last] * after, dim) if before or after else x


class Growth(nn.Module):
    """A level in 0..k: that many doublings are in use, the last of them by its fraction (Karras et al. 2018, figure 2).

    The level is a buffer, so that a saved model, an average or a resumed run is as grown as it was. While training the
    number on the host is used and nothing is read back; otherwise the buffer is read, which may have been copied into.
    """

    units: Tensor

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.host = most, 0
        self.register_buffer("units", torch.zeros((), dtype=torch.int64))

    def set(self, level: float) -> None:
        self.host = round(min(max(level, 0.0), float(self.most)) * UNIT)
        self.units.fill_(self.host)

    def forward(self) -> tuple[int, float]:
        """How many doublings are in use, and the share (0, 1] of the last."""
        if not self.training and not torch.compiler.is_compiling():
            self.host = int(self.units)
        top = -(-self.host // UNIT)
        return top, 1 - (top * UNIT - self.host) / UNIT

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        super()._load_from_state_dict(*args, **options)
        if not self.units.is_meta:
            self.host = int(self.units)


def nearest(x: Tensor, times: int = 2) -> Tensor:
    """Every pixel repeated along both axes."""
    return x if times == 1 else F.interpolate(x, scale_factor=times, mode="nearest")


def painted(paints: nn.ModuleDict, h: Tensor, before: Tensor, *, top: int, share: float, doublings: int) -> Tensor:
    """The image of a generator's last map h, `before` it the one of half the size, at the size of all doublings.

    `paints`: to colours, by doublings. In a fade it is share (h's image) + (1 - share) (the other's, repeated).
    """
    x: Tensor = paints[str(top)](h)
    if share < 1:
        x = torch.lerp(nearest(paints[str(top - 1)](before)), x, share)
    return nearest(x, 2 ** (doublings - top))
