"""Train the classifier that judges, in minutes, on the user's own labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from gantlet.core.errors import InputError
from gantlet.core.noise import key_of, uniform
from gantlet.metrics.classify import Card, Classifier, LeNet
from gantlet.metrics.sources import Rows


def train_classifier(
    dataset: Rows,
    *,
    test: Rows | None = None,  # its accuracy is what the card says
    epochs: int = 8,
    seed: int = 0,
    batch: int = 128,
    lr: float = 4e-3,  # peak of one cycle: a fifth of the steps up, then a cosine down to 0
    dropout: float = 0.3,
    shift: int | None = None,  # pixels, each way, by repeating the border; None: 2, less under 16 pixels
    width: int = 16,
    hidden: int = 128,
    device: torch.device | None = None,
    log: Callable[[str], None] | None = None,  # told a line per epoch
) -> Classifier:
    """A LeNet trained on a labelled set by one-cycle Adam (Smith and Topin 2018) on shifted images.

    On one machine and number of threads the weights are a function of the data and the options. InputError for points,
    missing labels, fewer than two classes.
    """
    shape, classes = _judgeable(dataset)
    shift = min(2, min(shape[1:]) // 8) if shift is None else shift
    batch = min(batch, len(dataset))
    rounds = len(dataset) // batch
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(key_of(seed, "classifier"))
        net = LeNet(shape, classes, width=width, hidden=hidden, dropout=dropout).to(device).train()
        opt = torch.optim.Adam(net.parameters(), betas=(0.9, 0.99), fused=True)
        losses = []
        for step in range(epochs * rounds):
            index = _order(len(dataset), seed, step // rounds)[step % rounds * batch :][:batch]
            x, y = _labelled(dataset, index, device)
            opt.param_groups[0]["lr"] = lr * one_cycle((step + 0.5) / (epochs * rounds))
            loss = F.cross_entropy(net(shifted(x, shift, key=(seed, "shift", step))), y)
            opt.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            opt.step()
            losses.append(loss.detach())
            if log is not None and (step + 1) % rounds == 0:
                mean = float(torch.stack(losses[-rounds:]).mean())
                log(f"classifier: epoch {(step + 1) // rounds} of {epochs}, loss {mean:.4f}")
    recipe = {"epochs": epochs, "seed": seed, "batch": batch, "lr": lr, "dropout": dropout, "shift": shift}
    name = str(getattr(dataset, "fingerprint", "") or getattr(dataset, "name", ""))
    card = Card(shape, classes, width, hidden, trained_on=len(dataset), data=name, recipe=recipe)
    if test is not None:
        share = accuracy(Classifier(net, card), test)
        card = Card(**{**vars(card), "accuracy": share, "tested_on": len(test)})
    return Classifier(net, card)


def _judgeable(dataset: Rows) -> tuple[tuple[int, int, int], int]:
    shape = dataset.spec.shape
    if len(shape) != 3 or min(shape[1:]) < 8 or max(shape[1:]) > 256:
        raise InputError(f"a classifier is of images [C, H, W] of 8 to 256 pixels, the data has shape {list(shape)}")
    if dataset.spec.classes < 2:
        raise InputError(f"a classifier needs labels of at least 2 classes, the data has {dataset.spec.classes}")
    if len(dataset) < 2:
        raise InputError(f"a classifier needs at least 2 samples, the data has {len(dataset)}")
    return (shape[0], shape[1], shape[2]), dataset.spec.classes


@lru_cache(maxsize=1)
def _order(count: int, seed: int, epoch: int) -> Tensor:
    """The rows in the order of this epoch, int64 [count]."""
    return torch.argsort(uniform((), count, key=(seed, "order", epoch)), stable=True)


def _labelled(dataset: Rows, index: Tensor, device: torch.device | None) -> tuple[Tensor, Tensor]:
    rows = dataset.rows(index, device)
    if rows.y is None or bool((rows.y < 0).any()):
        raise InputError("some samples have no label; a classifier needs all of them")
    return rows.x, rows.y


def one_cycle(part: float) -> float:
    """0..1 of the training -> 0..1 of the peak: linear up over a fifth, a half cosine down."""
    return part / 0.2 if part < 0.2 else 0.5 * (1 + math.cos(math.pi * (part - 0.2) / 0.8))


def shifted(x: Tensor, most: int, *, key: tuple[int | str, ...]) -> Tensor:
    """Each image moved by its own -most..most pixels in both directions, the border repeated."""
    if most == 0:
        return x
    n, _, h, w = x.shape
    by = (uniform((2,), n, key=key, device=x.device) * (2 * most + 1)).long()
    image = torch.arange(n, device=x.device).view(n, 1, 1)
    rows = (by[:, :1] + torch.arange(h, device=x.device)).view(n, h, 1)
    columns = (by[:, 1:] + torch.arange(w, device=x.device)).view(n, 1, w)
    padded = F.pad(x, (most,) * 4, mode="replicate")
    return padded.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2).contiguous()


def accuracy(classifier: Classifier, dataset: Rows, *, batch: int = 500) -> float:
    """The share of a labelled set whose class the classifier gets right, 0..1."""
    right = 0
    for first in range(0, len(dataset), batch):
        index = torch.arange(first, min(first + batch, len(dataset)))
        x, y = _labelled(dataset, index, classifier.device)
        right += int((classifier.logits(x).argmax(1) == y).sum())
    return right / len(dataset)
