"""Samples drawn once and kept in a file while they are measured, as saving them as pictures would keep them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from gantlet.core.game import Batch, Spec
from gantlet.data.dataset import to_uint, to_unit


class Stored:
    """Rows in a temporary file, read by number: images as 8 bits (what every saved sample goes through), others float32.

    The file has no name and is gone with the object, so that memory does not grow with the number of samples.
    """

    def __init__(self, batches: Iterable[Tensor], count: int, spec: Spec) -> None:
        image = len(spec.shape) == 3
        kind = np.dtype(np.uint8 if image else np.float32)
        size = count * math.prod(spec.shape) * kind.itemsize
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            self.data = np.memmap(file, kind, "r+", shape=(count, *spec.shape))
        first = 0
        for x in batches:
            self.data[first : first + len(x)] = (to_uint(x.clamp(-1, 1)) if image else x.float()).cpu().numpy()
            first += len(x)
        assert first == count, f"{first} samples came where {count} were promised"
        self.spec = spec._replace(count=count, classes=0)

    def __len__(self) -> int:
        return len(self.data)

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        """These rows, images as float32 in -1..1."""
        x = torch.from_numpy(self.data[index.cpu().numpy()])
        return Batch(to_unit(x if device is None else x.to(device)))
