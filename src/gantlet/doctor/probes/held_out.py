"""Does the critic tell what it was trained on from what it never saw?"""

from __future__ import annotations

from torch import Tensor

from gantlet.doctor.probes.case import PROBES, Case


def held_out(case: Case) -> dict[str, Tensor]:
    """train_fake_gap = (D(train) - D(fake)) / s, held_gap = (D(train) - D(held)) / s, rv = (D(train) - D(held)) /
    (D(train) - D(fake)) (Karras et al. 2020, eq. 1) of mean logits and their spread s; held_auc: P(D(train) > D(held)).

    Fresh rows have rv and held_gap around 0 and held_auc around .5; at rv = 1 held-out rows are fakes to the critic.
    """
    if not case.judges:
        return {}
    train, fake = case.on_reals, case.on_fake
    gap = train.mean() - fake.mean()
    found = {"train_fake_gap": gap / case.spread}
    if case.held is None:
        return found
    held = case.logits(case.held, y=case.rows.held_y)
    fell = train.mean() - held.mean()
    return {**found, "rv": fell / gap, "held_gap": fell / case.spread, "held_auc": auc(train, held)}


def auc(high: Tensor, low: Tensor) -> Tensor:
    """The share of pairs (a, b) with a > b, ties half; [n], [m] -> 0-d."""
    a, b = high[:, None], low[None, :]
    return ((a > b).float() + 0.5 * (a == b).float()).mean()


PROBES.append(held_out)
