"""States to go back to: what is known to have been healthy, on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gantlet.augment.control import Controller
from gantlet.core.state import State

KEPT = 3


class Snapshot(NamedTuple):
    """A copy of everything that training changes, but for time and watchers."""

    step: int
    certified: bool  # False: where the training began, of which nothing bad is known
    record: dict[str, Any]


class Snapshots:
    """The last three; before there are so many, the first is where training began."""

    def __init__(self, state: State) -> None:
        self.kept = [Snapshot(state.now.step, False, copied(state))]

    def add(self, state: State) -> None:
        self.kept = [*self.kept, Snapshot(state.now.step, True, copied(state))][-KEPT:]

    @property
    def last(self) -> Snapshot:
        return self.kept[-1]

    def restore(self, state: State) -> None:
        """The last one's weights, moments, averages and buffers. Time goes on: later batches and other noise come."""
        own = replace(state, watchers={})
        own.load_state_dict(self.last.record)  # it also clears the alarms, which both share
        with torch.no_grad():
            for module in state.game.modules():
                if isinstance(module, Controller):  # the images in between are not a step to make at once
                    module.since.fill_(state.now.images)

    def state_dict(self) -> dict[str, Any]:
        return {str(i): kept._asdict() for i, kept in enumerate(self.kept)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.kept = [Snapshot(**{**record, "step": int(record["step"])}) for record in state.values()]


def copied(state: State) -> dict[str, Any]:
    """The state as it is saved, copied to the host; without watchers, whose memory is not what went wrong."""
    found: dict[str, Any] = _host(replace(state, watchers={}).state_dict())
    return found


def _host(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    return {k: _host(v) for k, v in tree.items()} if isinstance(tree, Mapping) else tree
