"""Class morphing, and the pictures that tools write."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from explore_models import Styled, conditional, model_from
from PIL import Image
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.explore import morph, traverse, write


class Told(nn.Module):
    """A generator that hears its class in one of several ways."""

    def __init__(self, hear: str) -> None:
        super().__init__()
        self.z_dim, self.hear = 4, hear
        self.table = nn.Embedding(3, 6)
        self.body = nn.Linear(4, 64)
        self.code = nn.Linear(6 if hear == "embedding" else 3, 64)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        ways = {
            "embedding": lambda: self.table(y),
            "one-hot": lambda: F.one_hot(y, 3).to(z.dtype),
            "equal": lambda: (y.unsqueeze(-1) == torch.arange(3)).to(z.dtype),
            "number": lambda: torch.stack([y == 0, y * 0.5, y.float() ** 2], 1).to(z.dtype),
        }
        return torch.tanh(self.body(z) + self.code(ways[self.hear]())).view(-1, 1, 8, 8)


@pytest.mark.parametrize("hear", ["embedding", "one-hot", "equal"])
def test_morphing_begins_and_ends_in_classes_and_goes_straight_between(hear: str) -> None:
    model = conditional(Told(hear))
    made = morph(model, [0, 2, 1], frames=4, n=3)
    assert made.shape == (3, 9, 1, 8, 8)
    for frame, y in ((0, 0), (4, 2), (8, 1)):
        assert torch.allclose(made[:, frame], model.sample(3, classes=[y]), atol=1e-5)
    logits = torch.atanh(made[:, :5].double().clamp(-1 + 1e-7, 1 - 1e-7))
    assert torch.allclose(logits[:, 2], (logits[:, 0] + logits[:, 4]) / 2, atol=1e-3), "half of either class is heard"


def test_a_loop_comes_back() -> None:
    model = conditional(Styled(classes=3))
    made = morph(model, [0, 1], frames=3, n=2, loop=True)
    assert made.shape == (2, 6, 1, 8, 8)
    assert torch.allclose(made[:, 0], model.sample(2, classes=[0]), atol=1e-6)
    assert torch.allclose(made[:, 3], model.sample(2, classes=[1]), atol=1e-6)


def test_a_network_that_hears_otherwise_is_refused() -> None:
    """Its pictures could only be faded into each other."""
    with pytest.raises(InputError, match="embeddings or one-hot codes alone"):
        morph(conditional(Told("number")), [0, 1])
    with pytest.raises(InputError, match="knows no classes"):
        morph(model_from("dcgan"), [0, 1])
    with pytest.raises(InputError, match=r"at least two of 0\.\.2"):
        morph(conditional(Told("embedding")), [0, 3])
    with pytest.raises(InputError, match="at least two"):
        morph(conditional(Told("embedding")), [1])


def test_concatenated_labels_can_be_morphed() -> None:
    changes = ("conditional=true", "tricks.concat-labels={}")
    made = morph(model_from("mlp", *changes), [0, 1, 2], frames=2, n=2)
    assert made.shape == (2, 5, 1, 8, 8) and not torch.equal(made[:, 0], made[:, 1])


def test_a_traversal_is_of_codes() -> None:
    with pytest.raises(InputError, match="codes"):
        traverse(model_from("dcgan"))


# ---- pictures -----------------------------------------------------------------------------------------------------

ROWS = torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 1, 8, 8)


def test_a_strip_an_animation_and_what_is_neither(tmp_path: Path) -> None:
    with Image.open(write(ROWS, tmp_path / "a.png")) as strip:
        tile = (strip.width + 2) // 3
        assert strip.size == (3 * tile - 2, 2 * tile - 2)
    with Image.open(write(ROWS, tmp_path / "sub" / "a.gif", fps=20)) as film:
        assert film.n_frames == 3 and film.info["duration"] == 50 and film.info["loop"] == 0
    with pytest.raises(InputError, match=r"give a \.png"):
        write(ROWS, tmp_path / "a.jpg")


def test_films_are_written_or_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        with pytest.raises(InputError, match=r'pip install "gantlet\[video\]"'):
            write(ROWS, tmp_path / "a.mp4")
    av = pytest.importorskip("av")
    path = write(ROWS.repeat(1, 4, 1, 1, 1), tmp_path / "a.mp4", fps=10)
    with av.open(str(path)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 12 and all(side % 2 == 0 for side in frames[0].shape[:2])
