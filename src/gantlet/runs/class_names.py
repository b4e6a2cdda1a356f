"""Class weights by name: what another run knows of "dog" becomes this one's of "dog", whatever its number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gantlet.core.game import Game
from gantlet.tricks.beside import Beside
from gantlet.tricks.classifier import Classifying
from gantlet.tricks.concat_labels import Code

# what is learned, also where it is normalised by its largest singular value, and that one's vector on the side of rows
ROWS = ("weight", "bias", "original", "_u")


class Order(NamedTuple):
    """Which class there each class here starts from."""

    there: list[int]  # by number here
    stands_in: dict[str, str]  # names that are not there -> the class that each starts from

    @property
    def same(self) -> bool:
        return self.there == list(range(len(self.there)))

    def of(self, tensor: Tensor, dim: int) -> Tensor:
        """The tensor with its classes as they are numbered here; several codes side by side each."""
        k = len(self.there)
        index = [k * block + i for block in range(tensor.shape[dim] // k) for i in self.there]
        return tensor.index_select(dim, torch.tensor(index, device=tensor.device))


def order_of(here: Sequence[str], there: Sequence[str]) -> Order | None:
    """By name; a class that is not there starts from one that is not here, in order. None where numbers differ or names
    are not known."""
    if not here or len(here) != len(there) or len(set(here)) < len(here) or len(set(there)) < len(there):
        return None
    left = iter([name for name in there if name not in set(here)])
    stands_in = {name: next(left) for name in here if name not in set(there)}
    number = {name: i for i, name in enumerate(there)}
    return Order([number[stands_in.get(name, name)] for name in here], stands_in)


def by_class(game: Game, classes: int) -> dict[str, int]:
    """Names of weights -> the dimension that counts classes, where a module's kind says so: embeddings, classifiers,
    layers that read one-hot codes."""
    found = {}
    for name, module in game.named_modules(remove_duplicate=False):
        inner, dim = _counted(module, classes)
        if inner is None:
            continue
        for key, tensor in inner.state_dict().items():
            many = tensor.dim() > dim and tensor.shape[dim] % classes == 0
            if many and key.rpartition(".")[2] in ROWS:
                found[".".join(part for part in (name, _name_in(module, inner), key) if part)] = dim
    return found


def _counted(module: nn.Module, classes: int) -> tuple[nn.Module | None, int]:
    if isinstance(module, nn.Embedding) and module.num_embeddings == classes:
        return module, 0
    if isinstance(module, Classifying):
        return module.classifier, 0
    if isinstance(module, Beside) and isinstance(module.statistic, Code) and module.statistic.table is None:
        return module.more, 1
    return None, 0


def _name_in(module: nn.Module, inner: nn.Module) -> str:
    names: dict[int, str] = {id(m): name for name, m in module.named_modules()}
    return names[id(inner)]
