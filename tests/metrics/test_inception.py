"""InceptionV3 of FID: what torch-fidelity says of the same weights and files, and how it is named."""

from __future__ import annotations

import json
from pathlib import Path

import inception_rule as rule
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.data import open_source, to_unit
from gantlet.metrics import Features, Kept, fd
from gantlet.metrics.features import build, matrix_of, resized
from gantlet.metrics.inception import InceptionV3, Mixed, pooled

RECORDED = json.loads(rule.RECORD.read_text())
IMAGES = Spec((3, 32, 32))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of random weights, as the oracle was given them."""
    file = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(rule.random_state(0), file)
    return str(file)


@pytest.fixture(scope="module")
def seen(path: str) -> Features:
    return build({"use": "inception", "path": path}, lambda: IMAGES)


def test_the_layout_is_the_public_files() -> None:
    with torch.device("meta"):
        assert rule.layout(InceptionV3().state_dict()) == RECORDED["layout"]


def test_features_and_logits_are_the_oracles(seen: Features, path: str) -> None:
    pool = seen(to_unit(rule.odd_images()))
    assert torch.allclose(pool[:, :: rule.EVERY], torch.tensor(RECORDED["pool"]), rtol=1e-4, atol=1e-5)
    logits = build({"use": "inception-logits", "path": path}, lambda: IMAGES)
    assert (
        logits.after is not None and logits.after.net is seen.net and logits.dimension == 1008
    )  # one network for both
    assert torch.allclose(logits.read(pool)[:, :: rule.EVERY], torch.tensor(RECORDED["logits"]), atol=1e-4)
    assert isinstance(seen.net, InceptionV3)
    few = torch.rand(1, 3, 75, 75) * 255
    assert torch.allclose(logits.net(seen.net(few)), seen.net.logits(few))


def test_fid_from_png_files_is_the_oracles(seen: Features, tmp_path: Path) -> None:
    count = rule.COUNTS[0]
    sets = [open_source(f"{rule.pictures(tmp_path / side, count, **how)}#all") for side, how in rule.SIDES.items()]
    said = fd(*sets, features=seen, batch=2)
    want = RECORDED[f"scores_{count}"]["frechet_inception_distance"]
    assert (said["real_count"], said["fake_count"]) == (count, count)
    assert said["fd"] == pytest.approx(want, rel=1e-3)
    assert said["name"] == f"FD-Inception({seen.hash[:8]})"


def test_titles_are_the_genuine_networks_alone(seen: Features) -> None:
    assert isinstance(seen.net, InceptionV3)
    genuine = pooled(seen.net, name="Inception", genuine=True)
    titles = {"FD": "FID", "KD": "KID", "IS": "IS", "MiFD": "MiFID", "FD-infinity": "FID-infinity"}
    for distance, title in {**titles, "intra-FD": "intra-FID", "MIND": "MIND-Inception"}.items():
        assert genuine.called(distance) == title
        assert seen.called(distance) == f"{distance}-Inception({seen.hash[:8]})"


def test_averages_do_not_count_the_padding() -> None:
    block = Mixed(1, {}, project=1)
    block.branch_pool = nn.Identity()  # type: ignore[assignment]
    assert torch.equal(block(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))
    corner = torch.zeros(1, 1, 3, 3)
    corner[0, 0, 0, 0] = 1
    assert block(corner)[0, 0].tolist() == [
        [pytest.approx(1 / 4), pytest.approx(1 / 6), 0],
        [pytest.approx(1 / 6), pytest.approx(1 / 9), 0],
        [0, 0, 0],
    ]
    block.average = False
    assert block(corner)[0, 0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_a_block_that_strides_drops_the_rest() -> None:
    block = Mixed(2, {"3x3": [(3, 3)], "double": [(4, 1), (5, 3)]}, stride=2)
    assert sorted({name.split(".")[0] for name in block.state_dict()}) == [
        "branch3x3",
        "branchdouble_1",
        "branchdouble_2",
    ]
    assert block(torch.zeros(1, 2, 8, 8)).shape == (1, 3 + 5 + 2, 3, 3)


@pytest.mark.parametrize(
    ("row", "size", "want"),
    [
        ([0, 1], 4, [0, 0.5, 1, 1]),  # pixel i is read at i * 2 / 4: not centred, the end repeated
        ([0, 1, 2, 3], 2, [0, 2]),  # every second pixel is dropped: it aliases
        ([0, 3, 6, 9], 3, [0, 4, 8]),
        ([5], 3, [5, 5, 5]),
    ],
)
def test_tensorflows_bilinear_rule(row: list[float], size: int, want: list[float]) -> None:
    x = torch.tensor(row, dtype=torch.float32).view(1, 1, 1, -1) / 10
    assert torch.allclose(resized(x, (1, size), "tf-bilinear").flatten() * 10, torch.tensor(want).float(), atol=1e-5)
    down = resized(x.transpose(2, 3), (size, 1), "tf-bilinear")
    assert torch.allclose(down.flatten() * 10, torch.tensor(want).float(), atol=1e-5)


def test_the_two_sides_of_an_image_are_resized_alone() -> None:
    x = torch.rand(2, 3, 7, 5)
    both = resized(x, (9, 4), "tf-bilinear")
    assert torch.allclose(both, resized(resized(x, (7, 4), "tf-bilinear"), (9, 4), "tf-bilinear"), atol=1e-6)


def test_images_are_rounded_to_eight_bits() -> None:
    eight = Features("flat", nn.Flatten(), 4, low=0.0, high=255.0, eight_bit=True)
    x = torch.tensor([-1.0, -0.9999, 0.0, 1.2]).view(1, 1, 2, 2)
    assert torch.allclose(eight(x), torch.tensor([[0.0, 0.0, 128.0, 255.0]]), atol=1e-4)
    grid = torch.arange(256, dtype=torch.uint8).view(64, 1, 2, 2)
    assert torch.allclose(eight(to_unit(grid)), grid.flatten(1).float(), atol=1e-4)
    assert eight.key != Features("flat", nn.Flatten(), 4, low=0.0, high=255.0).key


class Counting(nn.Module):
    """x -> the mean of each channel; counts the samples it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return x.mean((2, 3))


def test_a_kept_set_is_shown_to_the_network_once_for_features_and_what_comes_after() -> None:
    first = Features("first", Counting(), 3)
    head = nn.Linear(3, 2, bias=False)
    second = Features("second", head, 2, after=first)
    x = torch.rand(10, 3, 4, 4)
    kept = Kept(x)
    want = x.mean((2, 3)) @ head.weight.T.detach()
    assert torch.allclose(matrix_of(kept, second, batch=4), want)
    assert torch.equal(matrix_of(kept, first), x.mean((2, 3)))
    assert isinstance(first.net, Counting) and first.net.seen == 10
    assert torch.allclose(matrix_of(kept.groups(3)[1], second), want[kept.groups(3)[1].index])
    assert torch.allclose(second(x), want) and first.net.seen == 20
    assert len({first.hash, second.hash, Features("second", head, 2).hash}) == 3


def test_what_it_cannot_see(path: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"images \[C, H, W\]"):
        build({"use": "inception", "path": path}, lambda: Spec((2,)))
    with pytest.raises(InputError, match=r"no weight file .*gone"):
        build({"use": "inception", "path": str(tmp_path / "gone.pth")}, lambda: IMAGES)
    save_file({"fc.weight": torch.zeros(1008, 2048)}, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match="lacks 471 tensors, first Conv2d_1a_3x3"):
        build({"use": "inception-logits", "path": str(tmp_path / "part.safetensors")}, lambda: IMAGES)


def test_large_images_reach_the_network_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gantlet.metrics.features.IN_CACHE", 3 * 8 * 8 * 2)
    most: list[int] = []
    net = Counting()
    net.register_forward_pre_hook(lambda _, given: most.append(len(given[0])))
    x = torch.rand(5, 3, 4, 4)
    small, large = Features("a", net, 3, size=(8, 8)), Features("b", net, 3, size=(2, 2))
    assert torch.allclose(small(x), torch.cat([small(row) for row in x.split(1)])) and most == [2, 2, 1] + [1] * 5
    most.clear()
    assert large(x).shape == (5, 3) and most == [5]
    assert small(x[:0]).shape == (0, 3)
