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

    The file has no name and is gone with the object, so that memory does not grow with the number of samples. Where
    every batch bears classes, so do the rows.
    """

    def __init__(self, batches: Iterable[Tensor | Batch], count: int, spec: Spec) -> None:
        image = len(spec.shape) == 3
        kind = np.dtype(np.uint8 if image else np.float32)
        size = count * math.prod(spec.shape) * kind.itemsize
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            self.data = np.memmap(file, kind, "r+", shape=(count, *spec.shape))
        first, labels = 0, []
        for made in batches:
            x, y = (made.x, made.y) if isinstance(made, Batch) else (made, None)
            self.data[first : first + len(x)] = (to_uint(x.clamp(-1, 1)) if image else x.float()).cpu().numpy()
            first += len(x)
            labels += [] if y is None else [y.cpu()]
        assert first == count, f"{first} samples came where {count} were promised"
        self.labels = torch.cat(labels) if labels else None
        assert self.labels is None or len(self.labels) == count, "some of the samples bear no class"
        self.spec = spec._replace(count=count, classes=0 if self.labels is None else spec.classes)

    def __len__(self) -> int:
        return len(self.data)

    def rows(self, index: Tensor, device: torch.device | None = None) -> Batch:
        """These rows, images as float32 in -1..1."""
        index = index.cpu()
        x = torch.from_numpy(self.data[index.numpy()])
        y = None if self.labels is None else self.labels[index].to(device)
        return Batch(to_unit(x if device is None else x.to(device)), y)
