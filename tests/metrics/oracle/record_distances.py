"""What torch-fidelity and torchmetrics say of the same features: writes distances.json beside this file.

    pip install torch-fidelity==0.4.0 torchmetrics==1.9.0 scipy   (in an environment that also sees torch)
    PYTHONPATH=src:tests/metrics python tests/metrics/oracle/record_distances.py

The features come from `features_of`, so that the tests make the same ones. torch-fidelity as it is on PyPI has no MIND.
"""

from __future__ import annotations

import json
import sys
import types
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from distance_rows import CASES, LOGITS, logits_of, rows_of
from torch import Tensor

HERE = Path(__file__).parent
SUBSETS = {"subsets": 7, "size": 60, "seed": 2020}
SPLITS = {"splits": 10, "seed": 2020}


def shim() -> None:
    """Names that torch-fidelity imports of torchvision for what is not used here."""

    class Stand(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    for name in ("", ".datasets", ".transforms", ".transforms.functional", ".models", ".models.vgg"):
        made = sys.modules[f"torchvision{name}"] = Stand(f"torchvision{name}")
        made.__spec__ = ModuleSpec(f"torchvision{name}", None)
        parent, _, child = f"torchvision{name}".rpartition(".")
        if child in ("datasets", "transforms", "functional", "models", "vgg"):
            setattr(sys.modules[parent], child, made)
    sys.modules["torchvision"].__version__ = "0.0.0"  # type: ignore[attr-defined]


class _AsItIs(torch.nn.Module):
    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.num_features = dimension

    def forward(self, x: Tensor) -> Tensor:
        return x


def distances(x: Tensor, y: Tensor) -> dict[str, float]:
    """Of float64 features [n, d] and [m, d]."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import poly_mmd

    stats = [fid_features_to_statistics(t) for t in (x, y)]
    kid = kid_features_to_metric(
        x, y, kid_subsets=SUBSETS["subsets"], kid_subset_size=SUBSETS["size"], rng_seed=SUBSETS["seed"], verbose=False
    )
    fid = FrechetInceptionDistance(feature=_AsItIs(x.shape[1]), input_img_size=(1, 1, x.shape[1])).set_dtype(
        torch.float64
    )
    fid.update(x, real=True)
    fid.update(y, real=False)
    n = min(len(x), len(y))
    return {
        "fid": fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"],
        "kid": kid["kernel_inception_distance_mean"],
        "kid_std": kid["kernel_inception_distance_std"],
        "torchmetrics_fid": float(fid.compute()),
        "torchmetrics_mmd": float(poly_mmd(x[:n], y[:n])),
    }


def scores(logits: Tensor) -> dict[str, float]:
    """The inception score in the oracle's own order."""
    from torch_fidelity.metric_isc import isc_features_to_metric

    shuffled = isc_features_to_metric(logits, SPLITS["splits"], True, SPLITS["seed"])
    plain = isc_features_to_metric(logits, 1, False)
    return {
        "isc": shuffled["inception_score_mean"],
        "isc_std": shuffled["inception_score_std"],
        "isc_whole": plain["inception_score_mean"],
    }


def main() -> None:
    shim()
    oracles = ("torch-fidelity", "torchmetrics", "torch", "numpy")
    table: dict[str, Any] = {
        "versions": {name: version(name) for name in oracles},
        "subsets": SUBSETS,
        "splits": SPLITS,
        "distances": {name: distances(*(side.double() for side in rows_of(name))) for name in CASES},
        "scores": {name: scores(logits_of(name)) for name in LOGITS},
    }
    (HERE / "distances.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
