"""Encoders of other packages, where they are installed: DINOv2 and CLIP by transformers, everything timm has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.metrics.features import Features
from gantlet.metrics.fetch import first_line

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation, of 0..1
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
DINOV2_MODEL = "facebook/dinov2-large"  # the one of Stein et al. 2023
CLIP_MODEL = "openai/clip-vit-large-patch14-336"  # the one of CMMD

Size = Annotated[int, Field(ge=8, le=4096)]


class Encoder(nn.Module):
    """RGB [N, 3, H, W] in 0..1 -> `pick` of what the network says of (x - mean) / std."""

    def __init__(
        self, net: nn.Module, norm: tuple[Sequence[float], Sequence[float]], pick: Callable[[Any], Tensor]
    ) -> None:
        super().__init__()
        self.net, self.pick = net.float(), pick
        for name, values in zip(("mean", "std"), norm):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.pick(self.net((x - self.get_buffer("mean")) / self.get_buffer("std")))


def seen_by(
    name: str,
    net: nn.Module,
    norm: tuple[Sequence[float], Sequence[float]],
    side: tuple[int, int],
    *,
    pick: Callable[[Any], Tensor] = lambda out: out,
    titles: Mapping[str, str] | None = None,
) -> Features:
    """Features of an encoder of images in 0..1; its dimension is asked of it."""
    encoder = Encoder(net, norm, pick).eval().requires_grad_(False)
    with torch.no_grad():
        out = encoder(torch.zeros(1, 3, *side))
    if out.ndim != 2:
        raise InputError(f"{name} answers {list(out.shape)} where one vector a sample is wanted; take another model")
    return Features(name, encoder, out.shape[1], size=side, channels=3, low=0.0, high=1.0, titles=titles or {})


def package(name: str) -> Any:
    """The package; InputError where it is not installed, or not usable."""
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"these features need {name}, which cannot be imported ({error}); pip install 'gantlet[encoders]'"
        ) from error


def _images(spec: Spec, what: str) -> None:
    if len(spec.shape) != 3:
        raise InputError(f"{what} features are of images [C, H, W], the data has shape {list(spec.shape)}; use raw")


def _pretrained(load: Callable[[str], Any], model: str) -> Any:
    """A model by name or from a folder; InputError where the hub cannot be reached or has no such one."""
    try:
        return load(model)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the encoder {model} could not be loaded ({first_line(error)}); fetch it where there is a network, or give as "
            "`model` the folder of one that was saved"
        ) from error


def _processor(model: str) -> dict[str, Any]:
    """What the model's own processor says of mean, deviation and size; nothing where it has none."""
    base = package("transformers.image_processing_base")
    try:
        found: dict[str, Any] = base.ImageProcessingMixin.get_image_processor_dict(model)[0]
    except (OSError, ValueError):
        return {}
    return found


def _norm_of(said: Mapping[str, Any], usual: tuple[Sequence[float], Sequence[float]]) -> Any:
    return said.get("image_mean", usual[0]), said.get("image_std", usual[1])


def _name(short: str, model: str, usual: str) -> str:
    return short if model == usual else f"{short}({Path(model).name})"


@registry.feature
def dinov2(
    spec: Spec,
    *,
    model: str = DINOV2_MODEL,  # a name on the hub, or a folder of save_pretrained; any encoder with a class token
    size: Size = 224,  # pixels a side: what Stein et al. measured with; a multiple of the patch
) -> Features:
    """DINOv2 (Oquab et al. 2023), the class token: closest to people's judgement (Stein et al. 2023)."""
    _images(spec, "DINOv2")
    transformers = package("transformers")
    net = _pretrained(transformers.AutoModel.from_pretrained, model)
    norm = _norm_of(_processor(model), IMAGENET)
    return seen_by(
        _name("DINOv2", model, DINOV2_MODEL), net, norm, (size, size), pick=lambda out: out.last_hidden_state[:, 0]
    )


@registry.feature
def clip(
    spec: Spec,
    *,
    model: str = CLIP_MODEL,  # a name on the hub, or a folder of save_pretrained
) -> Features:
    """CLIP's image embedding, projected, not of unit length (Radford et al. 2021): what CMMD is measured in."""
    _images(spec, "CLIP")
    transformers = package("transformers")
    net = _pretrained(transformers.CLIPVisionModelWithProjection.from_pretrained, model)
    side = int(net.config.image_size)
    usual = model == CLIP_MODEL
    return seen_by(
        _name("CLIP", model, CLIP_MODEL),
        net,
        _norm_of(_processor(model), CLIP),
        (side, side),
        pick=lambda out: out.image_embeds,
        titles={"CMMD": "CMMD"} if usual else {},
    )


@registry.feature
def timm_(
    spec: Spec,
    *,
    model: str = "regnety_320.seer",  # any name timm has; this one was trained by SwAV
) -> Features:
    """Any encoder of timm, its pooled features before the classifier (Wightman 2019)."""
    _images(spec, "timm")
    timm = package("timm")
    net = _pretrained(lambda name: timm.create_model(name, pretrained=True, num_classes=0), model)
    said = timm.data.resolve_model_data_config(net)
    return seen_by(f"timm({model})", net, (said["mean"], said["std"]), tuple(said["input_size"][1:]))
