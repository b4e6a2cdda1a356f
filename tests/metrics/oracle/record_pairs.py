"""What torchmetrics, scipy and torch-fidelity say of the pairs of pair_rows: writes pairs.json beside this file.

    pip install torch-fidelity==0.4.0 torchmetrics==1.9.0 scipy   (in an environment that also sees torch)
    PYTHONPATH=src:tests/metrics python tests/metrics/oracle/record_pairs.py

SSIM is of numbers from 0 on: the oracles are shown images in 0..2. torchmetrics 1.9 averages its map over an image
padded by reflection, where the paper takes the places in which the window fits: `ssim` is its map without the border,
`ssim_padded` what it answers; in its MS-SSIM the last scale is padded too. MS-SSIM is of each channel alone, as images
of one channel. A uniform window is scipy's (torchmetrics takes odd ones only).
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pair_rows import COUNT, EPSILON, IMAGES, PATHS, SEED, Z, far, images_of, made
from record_distances import shim
from torch import Tensor

HERE = Path(__file__).parent


def paired(x: Tensor, y: Tensor) -> dict[str, Any]:
    """Of float64 images in -1..1, a number for each pair."""
    from torchmetrics.functional.image.psnr import peak_signal_noise_ratio
    from torchmetrics.functional.image.ssim import (
        multiscale_structural_similarity_index_measure,
        structural_similarity_index_measure,
    )

    low, high = x + 1, y + 1
    padded, maps = structural_similarity_index_measure(
        high, low, data_range=2.0, reduction="none", return_full_image=True
    )
    found = {
        "psnr": [float(peak_signal_noise_ratio(b[None], a[None], data_range=2.0)) for a, b in zip(x, y)],
        "ssim": maps[..., 5:-5, 5:-5].flatten(1).mean(1).tolist(),
        "ssim_padded": padded.tolist(),
        "ssim_uniform_7": [uniform_ssim(a, b, 7) for a, b in zip(low.numpy(), high.numpy())],
        "ssim_uniform_8": [uniform_ssim(a, b, 8) for a, b in zip(low.numpy(), high.numpy())],
    }
    if min(x.shape[-2:]) >= 176:
        each = [t.flatten(0, 1).unsqueeze(1) for t in (high, low)]
        values = multiscale_structural_similarity_index_measure(*each, data_range=2.0, reduction="none")
        found["ms_ssim_padded"] = values.view(x.shape[:2]).mean(1).tolist()
    return found


def uniform_ssim(x: np.ndarray, y: np.ndarray, side: int) -> float:
    """SSIM [C, H, W] by scipy's uniform filter where it fits, L = 2, variances over n."""
    from scipy.ndimage import uniform_filter

    def mean(v: np.ndarray) -> np.ndarray:
        low, cut = side // 2, (side - 1) // 2
        filtered = uniform_filter(v, size=(0, side, side))
        return filtered[:, low : v.shape[1] - cut, low : v.shape[2] - cut]

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    return float(((2 * mx * my + c1) * (2 * both + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean())


def path(mode: str) -> dict[str, float]:
    """torch-fidelity's path length of `made`, at t = 0, without and with its trimming."""
    from torch_fidelity import GenerativeModelModuleWrapper, register_sample_similarity
    from torch_fidelity.metric_ppl import calculate_ppl
    from torch_fidelity.sample_similarity_base import SampleSimilarityBase

    class Pixels(SampleSimilarityBase):
        def __init__(self, name: str, **_: Any) -> None:
            super().__init__(name)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return far(x, y)

    class Made(torch.nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return made(z)

    percentile = np.percentile  # numpy renamed this argument
    np.percentile = lambda values, q, interpolation: percentile(values, q, method=interpolation)  # type: ignore
    register_sample_similarity(f"pixels-{mode}", Pixels)
    options = {
        "input1": GenerativeModelModuleWrapper(Made(), Z, "normal", 0),
        "input1_model_num_samples": COUNT,
        "ppl_epsilon": EPSILON,
        "ppl_z_interp_mode": mode,
        "ppl_sample_similarity": f"pixels-{mode}",
        "ppl_reduction": "none",
        "rng_seed": SEED,
        "cuda": False,
        "verbose": False,
    }
    cut = calculate_ppl(1, **options)
    whole = calculate_ppl(1, **options, ppl_discard_percentile_lower=None, ppl_discard_percentile_higher=None)
    np.percentile = percentile
    raw = whole["perceptual_path_length_raw"]
    return {
        "trimmed": cut["perceptual_path_length_mean"],
        "kept": len(cut["perceptual_path_length_raw"]),
        "mean": whole["perceptual_path_length_mean"],
        "first": raw[:5].tolist(),
    }


def main() -> None:
    shim()
    table = {
        "versions": {name: version(name) for name in ("torch-fidelity", "torchmetrics", "scipy", "torch", "numpy")},
        "images": {name: paired(*(side.double() for side in images_of(name))) for name in IMAGES},
        "paths": {way: path(mode) for way, mode in PATHS.items()},
    }
    (HERE / "pairs.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
