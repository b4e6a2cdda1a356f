"""A small classifier of the data's own classes: the judge of samples and a feature space; `learn` trains one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError, StateError
from gantlet.core.game import Spec
from gantlet.metrics.features import Features
from gantlet.nets.layers import halvings

_WEIGHTS, _CARD = "classifier.safetensors", "classifier.json"
VERSION = 1


class LeNet(nn.Module):
    """5x5 convolutions, each pooled by 2, then two linear layers (LeCun et al. 1998), with batch norm and dropout.

    x [N, C, H, W] in -1..1 -> class logits [N, classes]; two stages up to 31 pixels, one more for each doubling.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, width: int = 16, hidden: int = 128, dropout: float = 0.3
    ) -> None:
        super().__init__()
        c, h, w = shape
        stages: list[nn.Module] = []
        for i in range(max(2, halvings(h, w))):
            outs = width << i
            stages += [nn.Conv2d(c, outs, 5, padding=2, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(outs), nn.ReLU()]
            c, h, w = outs, h // 2, w // 2
        self.body = nn.Sequential(*stages, nn.Flatten())
        self.neck = nn.Sequential(nn.Linear(c * h * w, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, classes))

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer [N, hidden], after its ReLU."""
        y: Tensor = self.neck(self.body(x))
        return y

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.features(x))
        return y


class _Penultimate(nn.Module):
    def __init__(self, net: LeNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.features(x)


@dataclass(frozen=True)
class Card:
    """What a classifier is and how good: the json beside its weights."""

    shape: tuple[int, int, int]
    classes: int
    width: int
    hidden: int
    accuracy: float | None = None  # share of the test set that it gets right; None: never tested
    tested_on: int = 0
    trained_on: int = 0
    data: str = ""  # fingerprint or name of the training set
    recipe: dict[str, Any] | None = None


class Classifier:
    """A trained LeNet: `logits` to judge classes, `features` to measure distances (FD-LeNet)."""

    def __init__(self, net: LeNet, card: Card) -> None:
        self.net, self.card = net.eval().requires_grad_(False), card
        c, h, w = card.shape
        self.features = Features("LeNet", _Penultimate(net), card.hidden, size=(h, w), channels=c,
                                 origin="classifier")  # fmt: skip

    @property
    def hash(self) -> str:
        return self.features.hash

    @property
    def classes(self) -> int:
        return self.card.classes

    @property
    def accuracy(self) -> float | None:
        return self.card.accuracy

    @property
    def device(self) -> torch.device | None:
        return self.features.device

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Samples [N, C, H, W] in -1..1, of any size -> class logits [N, classes]."""
        y: Tensor = self.net(self.features.adapt(x.to(self.device)))
        return y

    def save(self, folder: Path | str) -> Path:
        """Write weights (safetensors) and card (json, with the hash of the weights) into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {k: t.detach().cpu().contiguous() for k, t in self.net.state_dict().items()}
        save_file(weights, folder / _WEIGHTS)
        card = {"version": VERSION, "name": "LeNet", "hash": self.hash, **asdict(self.card)}
        (folder / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | None = None) -> Classifier:
        """The classifier of a folder; InputError when there is none, StateError when it is damaged."""
        folder = Path(folder)
        missing = [f for f in (_CARD, _WEIGHTS) if not (folder / f).is_file()]
        if missing:
            raise InputError(f"{folder} is no classifier: it has no {' and no '.join(missing)}")
        try:
            card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
            version, want = card.pop("version"), card.pop("hash")
            if version != VERSION or card.pop("name") != "LeNet":
                raise InputError(f"{folder} is of another version of gantlet ({version}); train it again")
            card = Card(**{**card, "shape": tuple(card["shape"])})
            with torch.random.fork_rng(devices=[]):  # its first weights are thrown away: nobody's numbers move
                net = LeNet(card.shape, card.classes, width=card.width, hidden=card.hidden)
            net.load_state_dict(load_file(folder / _WEIGHTS))
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            raise StateError(f"{folder} is damaged ({' '.join(str(error).split())[:200]}); train it again") from error
        found = cls(net.to(device), card)
        if found.hash != want:
            raise StateError(f"{folder} is damaged: its weights are not those its card names; train it again")
        return found


@registry.feature
def lenet(
    spec: Spec,
    *,
    path: str,  # the folder of a saved classifier
) -> Features:
    """The penultimate layer of a LeNet trained on the data's own classes (LeCun et al. 1998)."""
    return Classifier.load(path).features
