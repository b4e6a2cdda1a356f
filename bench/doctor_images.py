"""Health of small images: the classes a classifier sees in them, and a Frechet distance in what it looks at."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from cells import Cells
from doctor_sets import Table, opened, tables
from doctor_truth import FEW_IMAGES, KL, Health, Judge, bad, samples
from gantlet.metrics.classify import Classifier
from gantlet.metrics.frechet import frechet
from gantlet.metrics.learn import train_classifier
from gantlet.metrics.moments import Moments

# most Frechet distance; the reference on digits is at 12.8 after 600 steps
LIMIT = {"digits": 16.0, "mnist": 16.0, "strokes": 16.0}
MOST = 5_000  # rows that are compared with
COPIED = 0.5  # most share of samples much nearer to a row that was trained on than held-out rows are


def judge_images(name: str, folder: str, fed: Table) -> Judge:
    """KL of the classes of samples at most 0.1, a limit to their distance from the data, and few copies of rows."""
    return lambda game, unit: _judged(name, folder, fed.x / unit, samples(game, FEW_IMAGES) / unit)


@torch.no_grad()
def _judged(name: str, folder: str, fed: Tensor, fake: Tensor) -> Health:
    if (lost := bad(fake)) is not None:
        return lost
    judge, real = _known(name, folder)
    fake = fake.clamp(-1, 1)
    seen, sure = judge.net.features(fake), judge.logits(fake).argmax(1)
    shares = torch.bincount(sure, minlength=judge.classes).double() / len(sure)
    want = torch.bincount(tables(name, folder)[0].y, minlength=judge.classes).double()  # type: ignore[arg-type]
    want /= want.sum()
    kl = float(torch.xlogy(shares, shares / want).sum())
    far = frechet(_moments(seen), real)
    copied = copies(fake, fed, tables(name, folder)[1].x)
    fine = kl <= KL and far <= LIMIT[name] and copied <= COPIED
    return Health(fine, -far, {"kl": kl, "distance": far, "copied": copied})


def copies(fake: Tensor, fed: Tensor, held: Tensor) -> float:
    """Share of fakes nearer to a row that was trained on than a third of how near held-out rows usually are."""
    sets = (fake, held[:FEW_IMAGES])
    near = [torch.cdist(x.flatten(1), fed[:MOST].flatten(1)).min(1).values for x in sets]
    return float((near[0] < near[1].median() / 3).double().mean())


@cache
def _known(name: str, folder: str) -> tuple[Classifier, Moments]:
    """The classifier of a set, which is kept, and the moments of held-out rows in what it looks at."""
    place = opened(name, folder)
    kept = Cells("doctor").folder / f"judge-{name}"
    if kept.is_dir():
        judge = Classifier.load(kept)
    else:
        with torch.enable_grad():
            judge = train_classifier(place, test=place.with_split("test"), epochs=30 if len(place) < 5_000 else 3)
        judge.save(kept)
    rows = tables(name, folder)[0].x  # held-out rows are too few for a covariance: 90 of the digits
    with torch.no_grad():
        return judge, _moments(judge.net.features(rows[:5_000]))


def _moments(features: Tensor) -> Moments:
    return Moments(features.shape[1], of="judge").add(features)
