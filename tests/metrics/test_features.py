"""Features: what a network is shown, what it is named, where its weights are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.noise import uniform
from gantlet.metrics import Drawn, Features, Kept, features_of, find_weights
from gantlet.metrics.features import build, hash_of
from gantlet.metrics.mobilenet import FILE
from gantlet.metrics.sources import batches_of, spec_of

SOURCES = {
    "tensor": lambda x: x,
    "list": lambda x: [x[:3], x[3:]],
    "batches": lambda x: [Batch(x[:3]), Batch(x[3:])],
    "batch": Batch,
    "stream": lambda x: (p for p in x.split(2)),
    "drawn": lambda x: Drawn(len(x), lambda first, n: x[first : first + n], batch=4),
    "kept": Kept,
}


def seen(**options: object) -> Features:
    return Features("flat", nn.Flatten(), 12, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(SOURCES))
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_every_source_gives_the_same_rows(kind: str, batch: int) -> None:
    x = torch.rand(10, 3, 2, 2) * 2 - 1
    pieces = list(features_of(SOURCES[kind](x), seen(), batch=batch))
    assert all(len(p) <= batch for p in pieces)
    assert torch.equal(torch.cat(pieces), x.flatten(1))


def test_uint8_becomes_unit_range() -> None:
    (rows,) = batches_of(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    assert rows.x.flatten().tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (torch.zeros(0, 1, 2, 2), "no samples"),
        (torch.zeros(4), "are \\[N, C, H, W\\]"),
        (torch.zeros(4, 1, 2, 2, dtype=torch.int64), "not int64"),
        (torch.full((4, 1, 2, 2), 255.0), "reach 255"),
        (torch.full((4, 2), float("inf")), "infinite"),
        ([torch.zeros(1, 2), torch.zeros(1, 3)], "follow samples of shape \\[2\\]"),
    ],
)
def test_sources_that_cannot_be_read(source: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        list(batches_of(source))  # type: ignore[arg-type]


def test_the_shape_of_a_source() -> None:
    x = torch.zeros(5, 3, 4, 4)
    assert all(spec_of(s).shape == (3, 4, 4) for s in (x, Kept(x), [x], Batch(x)))
    with pytest.raises(InputError, match="stream"):
        spec_of(iter([x]))


def test_range_channels_and_size() -> None:
    x = torch.rand(2, 1, 6, 6) * 2 - 1
    assert torch.allclose(seen(low=0.0, high=255.0).adapt(x), (x + 1) * 127.5)
    assert torch.equal(seen().adapt(2 * x), (2 * x).clamp(-1, 1))
    wide = seen(channels=3).adapt(x)
    assert wide.shape == (2, 3, 6, 6) and torch.equal(wide[:, 2:], x)
    assert torch.allclose(seen(channels=1).adapt(wide), x, atol=1e-6)
    assert seen(size=(3, 9)).adapt(x).shape == (2, 1, 3, 9)
    assert torch.equal(seen(size=(6, 6)).adapt(x), x)
    with pytest.raises(InputError, match="4 channels to a network for 3"):
        seen(channels=3).adapt(torch.zeros(1, 4, 6, 6))
    with pytest.raises(InputError, match="use raw"):
        seen(channels=3).adapt(torch.zeros(1, 2))


def test_shrinking_does_not_alias() -> None:
    stripes = torch.ones(1, 1, 32, 32)
    stripes[..., ::2] = -1
    small = seen(size=(8, 8)).adapt(stripes)
    assert float(small[..., 1:-1, 1:-1].abs().max()) < 0.1
    flat = torch.full((1, 1, 9, 9), 0.3)
    assert torch.allclose(seen(size=(31, 4)).adapt(flat), torch.tensor(0.3), atol=1e-6)


def test_the_hash_is_of_the_weights_alone() -> None:
    a, b = nn.Linear(2, 3), nn.Linear(2, 3)
    assert hash_of(a) != hash_of(b)
    b.load_state_dict(a.state_dict())
    assert hash_of(a) == hash_of(b) and len(hash_of(a)) == 64
    with torch.no_grad():
        b.weight[0, 0] += 1e-6
    assert hash_of(a) != hash_of(b)
    zero = nn.Linear(1, 1)
    nn.init.zeros_(zero.weight)
    nn.init.zeros_(zero.bias)
    assert hash_of(zero).startswith("8c46d13edb9ac0ff")  # the same on every machine and version


def test_networks_are_run_in_evaluation_mode_without_a_graph() -> None:
    f = Features("drop", nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Dropout(0.9)), 4)
    x = torch.rand(3, 1, 2, 2)
    assert torch.equal(f(x), f(x)) and not f(x).requires_grad


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8), (3, 5, 7)])
def test_raw(shape: tuple[int, ...]) -> None:
    f = build("raw", lambda: Spec(shape))
    x = torch.rand(4, *shape)
    assert torch.equal(f(x), x.flatten(1)) and f.name == "raw"


def test_ways_to_name_features() -> None:
    bound = registry.bind("feature", registry.use("raw"), total=0)
    made = [build(f, lambda: Spec((2,))) for f in ("raw", {"use": "raw"}, bound, seen())]
    assert [f.name for f in made] == ["raw", "raw", "raw", "flat"]
    for wrong, says in ((7, "are no features"), ("rwa", "did you mean 'raw'"), (lambda s: s, "not Features")):
        with pytest.raises(InputError, match=says):
            build(wrong, lambda: Spec((2,)))


def test_weights_are_looked_for_in_the_folder_then_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, cache = tmp_path / "given", tmp_path / "cache"
    monkeypatch.setenv("GANTLET_WEIGHTS", str(given))
    monkeypatch.setenv("GANTLET_CACHE", str(cache))
    with pytest.raises(InputError, match=r"net\.npz .*given.*cache"):
        find_weights("net.npz")
    for folder in (cache / "weights", given):
        folder.mkdir(parents=True)
        (folder / "net.npz").touch()
        assert find_weights("net.npz") == folder / "net.npz"
    monkeypatch.delenv("GANTLET_WEIGHTS")
    assert find_weights("net.npz") == cache / "weights" / "net.npz"


def test_foreign_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    (tmp_path / FILE).write_bytes(b"not the network")
    with pytest.raises(InputError, match="damaged or another file"):
        build("mobilenetv2", lambda: Spec((3, 8, 8)))
    with pytest.raises(InputError, match="use raw"):
        build("mobilenetv2", lambda: Spec((2,)))


@pytest.fixture(scope="module")
def mobilenet() -> Features:
    if not (Path(os.environ.get("GANTLET_WEIGHTS", "?")) / FILE).is_file():
        pytest.skip(f"needs {FILE} in GANTLET_WEIGHTS")
    return build("mobilenetv2", lambda: Spec((1, 28, 28)))


def test_mobilenet(mobilenet: Features) -> None:
    x: Tensor = uniform((1, 28, 28), 4, key=("mobilenet",)) * 2 - 1
    y = mobilenet(x)
    assert y.shape == (4, 1280) and y.dtype == torch.float32
    # as the runner that was checked against TensorFlow Lite says
    assert y.sum(1).tolist() == pytest.approx([329.942, 394.689, 360.448, 357.908], rel=1e-4)
    assert mobilenet.hash.startswith("c7403cb054b09ec8")
    assert torch.allclose(mobilenet(x[2:3]), y[2:3], atol=1e-4)
