"""Writes tests/metrics/neighbours_recorded.json: what other packages say of the features of neighbour_cases.

    pip install prdc torch-fidelity torchmetrics scipy scikit-learn   (beside torch and this package; no torchvision)
    PYTHONPATH=src:tests/metrics python tests/metrics/oracle/record_neighbours.py

Precision, recall, density and coverage by prdc (with k = 3 and 5) and by torch-fidelity (k = 3); MiFID by torchmetrics;
AuthPct and the rank test by brute force in scipy.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any

import neighbour_cases as rule
import numpy as np
import prdc
import scipy
import scipy.spatial.distance as far
import scipy.stats
import torch
from record_inception import shim
from torch import Tensor


def four(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        found = prdc.compute_prdc(real.numpy(), fake.numpy(), nearest_k=k)
    return {name: float(value) for name, value in found.items()}


def two(real: Tensor, fake: Tensor) -> dict[str, float]:
    from torch_fidelity.metric_prc import calculate_precision_recall_full as fidelity

    precision, recall = fidelity(fake.double(), real.double(), neighborhood=3)
    return {"precision": precision, "recall": recall}


def mifid(real: Tensor, fake: Tensor) -> float:
    """Fakes first: its mean is over the first set, in the paper over the fakes (its own metric class gives reals first)."""
    from torchmetrics.image.mifid import _mifid_compute

    sides = [(x.double().mean(0), torch.cov(x.double().T), x.double()) for x in (fake, real)]
    return float(_mifid_compute(*sides[0], *sides[1], cosine_distance_eps=rule.TAU))


def memorised(real: Tensor, fake: Tensor, held: Tensor) -> dict[str, float]:
    r, f, h = (x.double().numpy() for x in (real, fake, held))
    own = far.cdist(r, r)
    np.fill_diagonal(own, np.inf)
    to = far.cdist(f, r)
    test = scipy.stats.mannwhitneyu(to.min(1), far.cdist(h, r).min(1), method="asymptotic", use_continuity=False)
    mean, spread = len(f) * len(h) / 2, np.sqrt(len(f) * len(h) * (len(f) + len(h) + 1) / 12)
    return {
        "authpct": float(100 * (to.min(1) > own.min(1)[to.argmin(1)]).mean()),
        "ct": float((test.statistic - mean) / spread),
        "nearer": float((to.min(1) < far.cdist(f, h).min(1)).mean()),
    }


def main() -> None:
    shim()
    import torch_fidelity

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # torchmetrics looks for a whole one, and goes without
    import torchmetrics

    record: dict[str, Any] = {
        "by": f"prdc 0.2, torch-fidelity {torch_fidelity.__version__}, torchmetrics {torchmetrics.__version__}, "
        f"scipy {scipy.__version__}",
    }
    for name in rule.CASES:
        real, fake, held = rule.sides(name)
        record[name] = {
            **{f"prdc_{k}": four(real, fake, k) for k in (3, 5)},
            "torch_fidelity_3": two(real, fake),
            "mifid": mifid(real, fake),
            **memorised(real, fake, held),
        }
    record["binomial"] = [float(scipy.stats.binom.sf(hits - 1, n, p)) for hits, n, p in rule.BINOMIAL]
    rule.RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
