"""Encoders of other packages: what they are shown, and what is said where package or weights are missing."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.metrics import swav
from gantlet.metrics.encoders import CLIP, IMAGENET, package, seen_by
from gantlet.metrics.features import build
from gantlet.metrics.swav import ResNet50

OF = {"dinov2": "transformers", "clip": "transformers", "timm": "timm"}
IMAGES = Spec((3, 20, 20))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, no weights."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANTLET_WEIGHTS", raising=False)


def transformers() -> Any:
    return pytest.importorskip("transformers", exc_type=ImportError)


@pytest.mark.parametrize("name", sorted(OF))
def test_a_missing_package_is_named(name: str) -> None:
    if find_spec(OF[name]) is not None:
        pytest.skip(f"{OF[name]} is installed")
    with pytest.raises(InputError, match=rf"need {OF[name]}.*pip install 'gantlet\[encoders\]'"):
        build(name, lambda: IMAGES)


@pytest.mark.parametrize("name", [*OF, "swav"])
def test_points_are_refused_before_anything_is_loaded(name: str) -> None:
    with pytest.raises(InputError, match=r"images \[C, H, W\]"):
        build(name, lambda: Spec((2,)))


def test_a_package_that_is_there() -> None:
    assert package("json") is json
    with pytest.raises(InputError, match="no_such_package"):
        package("no_such_package")


@pytest.mark.parametrize("norm", [IMAGENET, CLIP])
def test_what_an_encoder_is_shown(norm: Any) -> None:
    seen = seen_by("flat", nn.Flatten(), norm, (2, 2))
    assert (seen.dimension, seen.channels, seen.size, seen.resize) == (12, 3, (2, 2), "bicubic")
    mean = torch.tensor(norm[0]).repeat_interleave(4)
    std = torch.tensor(norm[1]).repeat_interleave(4)
    grey = torch.zeros(1, 1, 7, 5)  # the middle of -1..1 is the middle of 0..1
    assert torch.allclose(seen(grey)[0], (0.5 - mean) / std, atol=1e-6)
    assert torch.allclose(seen(grey + 1)[0], (1 - mean) / std, atol=1e-6)
    with pytest.raises(InputError, match="one vector a sample"):
        seen_by("maps", nn.Identity(), norm, (2, 2))


@pytest.mark.parametrize("processor", [None, {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5]}])
def test_dinov2(tmp_path: Path, processor: dict[str, Any] | None) -> None:
    t = transformers()
    net = t.Dinov2Model(
        t.Dinov2Config(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=42, mlp_ratio=2)
    ).eval()
    net.save_pretrained(tmp_path)
    if processor:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    seen = build({"use": "dinov2", "model": str(tmp_path), "size": 28}, lambda: IMAGES)
    x = torch.rand(2, 3, 28, 28) * 2 - 1
    mean, std = (processor["image_mean"], processor["image_std"]) if processor else IMAGENET
    shown = ((x + 1) / 2 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        want = net(shown).pooler_output
    assert torch.allclose(seen(x), want, atol=1e-5)
    assert seen.name == f"DINOv2({tmp_path.name})" and seen(torch.rand(3, 1, 9, 9)).shape == (3, 32)


def test_clip(tmp_path: Path) -> None:
    t = transformers()
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = t.CLIPVisionConfig(**small, image_size=28, patch_size=14, projection_dim=16)
    net = t.CLIPVisionModelWithProjection(config).eval()
    net.save_pretrained(tmp_path)
    seen = build({"use": "clip", "model": str(tmp_path)}, lambda: IMAGES)
    x = torch.rand(2, 3, 28, 28) * 2 - 1
    shown = ((x + 1) / 2 - torch.tensor(CLIP[0]).view(3, 1, 1)) / torch.tensor(CLIP[1]).view(3, 1, 1)
    with torch.no_grad():
        want = net(shown).image_embeds
    assert torch.allclose(seen(x), want, atol=1e-5) and seen.dimension == 16 and seen.size == (28, 28)
    assert seen.called("CMMD") == f"CMMD-CLIP({tmp_path.name})"


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_weights_that_cannot_be_had(name: str, tmp_path: Path) -> None:
    transformers()
    for model in ("gantlet-tests/no-such-model", str(tmp_path)):
        with pytest.raises(InputError, match=r"could not be loaded .*`model`"):
            build({"use": name, "model": model}, lambda: IMAGES)


def test_timm_without_weights() -> None:
    pytest.importorskip("timm", exc_type=ImportError)
    with pytest.raises(InputError, match="could not be loaded"):
        build({"use": "timm", "model": "resnet18"}, lambda: IMAGES)


def test_swav_reads_the_published_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=rf"{swav.FILE} .*{swav.URL}"):
        build("swav", lambda: IMAGES)
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    net = ResNet50().eval()
    assert sum(p.numel() for p in net.parameters()) == 25_557_032 - 1000 * 2049  # He et al.: without the classifier
    state = {f"module.{name}": t for name, t in net.state_dict().items()}
    torch.save({**state, "module.prototypes.weight": torch.zeros(3, 128)}, tmp_path / swav.FILE)
    seen = build("swav", lambda: IMAGES)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        shown = (x - torch.tensor(IMAGENET[0]).view(3, 1, 1)) / torch.tensor(IMAGENET[1]).view(3, 1, 1)
        assert torch.allclose(seen.read(x), net(shown), atol=1e-4)
    assert seen.dimension == 2048 and seen.size == (224, 224) and seen.called("FD") == "FD-SwAV"
    torch.save({k: v for k, v in state.items() if "layer" not in k}, tmp_path / swav.FILE)
    with pytest.raises(InputError, match=r"lacks \d+ tensors, first layer1"):
        build("swav", lambda: IMAGES)


def test_resnet50_is_the_one_of_others() -> None:
    t = transformers()
    other = t.ResNetModel(t.ResNetConfig(downsample_in_bottleneck=False)).eval()
    names = {"embedder.embedder.convolution": "conv1", "embedder.embedder.normalization": "bn1"}
    for i, blocks in enumerate((3, 4, 6, 3)):
        for j in range(blocks):
            there, here = f"encoder.stages.{i}.layers.{j}", f"layer{i + 1}.{j}"
            names |= {f"{there}.shortcut.convolution": f"{here}.downsample.0"}
            names |= {f"{there}.shortcut.normalization": f"{here}.downsample.1"}
            for k in range(3):
                names |= {f"{there}.layer.{k}.convolution": f"{here}.conv{k + 1}"}
                names |= {f"{there}.layer.{k}.normalization": f"{here}.bn{k + 1}"}
    net = ResNet50().eval()
    renamed = {f"{names[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": v for k, v in other.state_dict().items()}
    net.load_state_dict(renamed)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(net(x), other(x).pooler_output.flatten(1), rtol=1e-4, atol=1e-5)
