"""SqueezeNet v1.0: its layout, its stages, and what the published weights say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.noise import uniform
from gantlet.metrics import Features
from gantlet.metrics.features import build
from gantlet.metrics.squeezenet import CHANNELS, FILE, Fire, SqueezeNet


def test_the_layout_of_the_paper() -> None:
    net = SqueezeNet()
    assert sum(p.numel() for p in net.parameters()) == 1_248_424  # table 1: 1,248,424
    with torch.no_grad():
        maps = net.stages(torch.rand(2, 3, 224, 224) * 255)
    assert [m.shape[1] for m in maps] == list(CHANNELS)
    assert [m.shape[2] for m in maps] == [109, 54, 54, 54, 27, 27, 27, 27, 13]
    assert all(float(m.min()) == 0 for m in maps)  # after a ReLU


def test_features_are_the_mean_of_the_last_stage() -> None:
    net = SqueezeNet()
    x = torch.rand(2, 3, 65, 47) * 255
    assert torch.equal(net(x), net.stages(x)[-1].mean((2, 3)))
    assert net.logits(x).shape == (2, 1000)


def test_blue_comes_first() -> None:
    net = SqueezeNet()
    with torch.no_grad():
        net.conv1.weight.zero_()
        net.conv1.bias.zero_()
        net.conv1.weight[0, 0, 3, 3] = 1.0  # looks at the first channel alone, whose mean is 104
        x = torch.zeros(1, 3, 7, 7)
        x[:, 2] = 204.0
        assert net.stages(x.repeat(1, 1, 5, 5))[0][0, 0].unique().tolist() == [100.0]


def test_a_fire_module_by_hand() -> None:
    fire = Fire(2, 16)  # squeezed to 2, expanded to 8 + 8
    with torch.no_grad():
        for p in fire.parameters():
            p.zero_()
        fire.s.weight[0, 0] = 1.0
        fire.e1.weight[0, 0] = 2.0
        fire.e3.weight[1, 0] = 1.0
        fire.e3.bias[7] = -1.0
    x = torch.zeros(1, 2, 3, 3)
    x[0, 0, 1, 1], x[0, 0, 0, 0], x[0, 1] = 3.0, -5.0, 9.0  # the negative one is lost in the squeeze
    y = fire(x)[0].detach()
    assert y[0].tolist() == [[0, 0, 0], [0, 6, 0], [0, 0, 0]]
    assert y[9].tolist() == [[3, 3, 3], [3, 3, 3], [3, 3, 3]]
    assert float(y.sum()) == 6 + 27


def test_foreign_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=FILE):
        build("squeezenet", lambda: Spec((3, 8, 8)))
    torch.save(SqueezeNet().state_dict(), tmp_path / FILE)
    with pytest.raises(InputError, match="damaged or another file"):
        build("squeezenet", lambda: Spec((3, 8, 8)))
    with pytest.raises(InputError, match="use raw"):
        build("squeezenet", lambda: Spec((2,)))


@pytest.fixture(scope="module")
def seen() -> Features:
    if not (Path(os.environ.get("GANTLET_WEIGHTS", "?")) / FILE).is_file():
        pytest.skip(f"needs {FILE} in GANTLET_WEIGHTS")
    return build("squeezenet", lambda: Spec((1, 28, 28)))


def test_the_published_weights(seen: Features) -> None:
    x = uniform((3, 227, 227), 2, key=("squeezenet",)) * 2 - 1
    y = seen(x)
    assert isinstance(seen.net, SqueezeNet)
    maps = seen.net.stages(seen.adapt(x))
    # as the runner that was checked on photos says
    assert y.sum(1).tolist() == pytest.approx([2515.507, 2526.932], rel=1e-4)
    assert [float(m.mean()) for m in maps] == pytest.approx(
        [35.5864, 160.614, 320.545, 260.524, 414.17, 117.178, 93.0625, 13.8237, 4.92426], rel=1e-4
    )
    assert torch.allclose(seen(x[1:]), y[1:], atol=1e-4)
    assert seen.hash.startswith("bd8ee897c172cfb1") and seen.called("FD") == "FD-SqueezeNet"
