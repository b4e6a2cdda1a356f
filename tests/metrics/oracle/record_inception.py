"""Writes tests/metrics/inception_recorded.json: what torch-fidelity says of the weights and files of inception_rule.

    pip install torch-fidelity scipy   (in an environment that also sees torch and this package; no torchvision needed)
    PYTHONPATH=src:tests/metrics python tests/metrics/oracle/record_inception.py

torchvision is replaced by a few lines below, because torch-fidelity wants it only to turn a PIL image into a tensor.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch


def shim() -> None:
    """As much of torchvision as torch-fidelity imports and, for Inception, uses."""
    names = ("", ".datasets", ".transforms", ".transforms.functional", ".models", ".models.vgg")
    made = {name: ModuleType(f"torchvision{name}") for name in names}
    for name, module in made.items():
        sys.modules[f"torchvision{name}"] = module
        parent, _, child = name.rpartition(".")
        if child:
            setattr(made[parent], child, module)
    made[""].__version__ = "0.0.0"  # type: ignore[attr-defined]
    for name in ("CIFAR10", "CIFAR100", "STL10"):
        setattr(made[".datasets"], name, object)
    made[".transforms"].Compose = lambda steps: lambda x: reduce(lambda y, step: step(y), steps, x)  # type: ignore[attr-defined]
    made[".transforms.functional"].pil_to_tensor = (  # type: ignore[attr-defined]
        lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1)
    )


def main() -> None:
    shim()
    import inception_rule as rule
    import torch_fidelity
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        weights = folder / "weights.pth"
        torch.save(rule.random_state(0), weights)
        layers = ["2048", "logits_unbiased"]
        net: Any = FeatureExtractorInceptionV3("net", layers, feature_extractor_weights_path=str(weights)).eval()
        x = rule.odd_images()
        with torch.no_grad():
            pool, logits = net(x)
        record: dict[str, Any] = {
            "by": f"torch-fidelity {torch_fidelity.__version__}, torch {torch.__version__}",
            "layout": rule.layout(net.state_dict()),
            "pool": pool[:, :: rule.EVERY].tolist(),
            "logits": logits[:, :: rule.EVERY].tolist(),
        }
        for count in rule.COUNTS:
            sets = [rule.pictures(folder / f"{side}{count}", count, **how) for side, how in rule.SIDES.items()]
            record[f"scores_{count}"] = torch_fidelity.calculate_metrics(
                input1=str(sets[1]),
                input2=str(sets[0]),
                fid=True,
                kid=count > 10,
                isc=count > 10,
                kid_subset_size=count,
                kid_subsets=1,
                isc_splits=1,
                samples_shuffle=False,
                cuda=False,
                cache=False,
                batch_size=4,
                feature_extractor_weights_path=str(weights),
                verbose=False,
            )
    rule.RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print({k: v for k, v in record.items() if k not in ("pool", "logits")})


if __name__ == "__main__":
    main()
