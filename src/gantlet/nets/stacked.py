"""Many networks of one architecture as one: as many seeds as a machine can play at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from gantlet.core.errors import InputError


class Stacked(nn.Module):
    """k networks side by side: of rows [k n, ...], block j of n rows goes through network j.

    Weights and buffers are the networks' own, stacked to [k, ...]; batch norm normalises each block alone.
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        if not nets:
            raise InputError("there are no networks to stack; give at least one")
        weights, buffers = stack_module_state(list(nets))
        self.k = len(nets)
        self.z_dim = getattr(nets[0], "z_dim", None)
        self._plan = (copy.deepcopy(nets[0]).to("meta"),)  # in a tuple: its weights are not ours
        self._names = {name: name.replace(".", "/") for name in (*weights, *buffers)}
        for name, weight in weights.items():
            self.register_parameter(self._names[name], nn.Parameter(weight.detach()))
        for name, buffer in buffers.items():
            self.register_buffer(self._names[name], buffer)
        self._learns, self._carries = tuple(weights), tuple(buffers)
        self.train(nets[0].training)

    def train(self, mode: bool = True) -> Stacked:
        self._plan[0].train(mode)
        return super().train(mode)

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        def of(names: tuple[str, ...]) -> dict[str, Tensor]:
            return {name: getattr(self, self._names[name]) for name in names}

        return of(self._learns), of(self._carries)

    def forward(self, *rows: Tensor) -> Any:
        """What the networks answer, every tensor of it [k n, ...] again."""
        n, over = divmod(len(rows[0]), self.k)
        if over:
            raise InputError(
                f"a batch of {len(rows[0])} does not divide over {self.k} networks; use {self.k * (n + 1)}"
            )
        weights, buffers = self._state()
        plan = self._plan[0]
        others: list[tuple[Any] | None] = []
        form: list[Any] = []

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], *rows: Tensor) -> tuple[Tensor, ...]:
            leaves, tree = tree_flatten(functional_call(plan, (weights, buffers), rows))
            form.append(tree)
            others.extend(None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves)  # a None among them, say
            return tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))

        blocks = [r.reshape(self.k, n, *r.shape[1:]) for r in rows]
        said = iter(vmap(one, randomness="different")(weights, buffers, *blocks))
        leaves = [next(said).flatten(0, 1) if other is None else other[0] for other in others]
        return tree_unflatten(leaves, form[0])

    @torch.no_grad()
    def net(self, j: int) -> nn.Module:
        """Network j with its own copy of its weights and buffers."""
        weights, buffers = self._state()
        made = copy.deepcopy(self._plan[0]).to_empty(device=next(self.parameters()).device)
        made.load_state_dict({name: t[j].clone() for name, t in {**weights, **buffers}.items()}, strict=False)
        return made.to(next(self.parameters()).dtype)
