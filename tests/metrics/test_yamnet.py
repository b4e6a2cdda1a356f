"""YAMNet: its front end by closed forms, resampling, and what the published weights say."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError
from gantlet.core.game import Spec
from gantlet.core.noise import normal
from gantlet.metrics import Features
from gantlet.metrics.features import build
from gantlet.metrics.yamnet import FILE, LogMel, Resample, YAMNet, mel_weights


def tone(hertz: float, rate: int, seconds: float = 1.0) -> Tensor:
    """float32 [1, rate * seconds]: a sine."""
    t = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    return (2 * math.pi * hertz * t).sin().float().unsqueeze(0)


def test_mel_triangles_hand_over_to_each_other() -> None:
    weights = mel_weights()
    assert weights.shape == (257, 64) and float(weights.min()) == 0 and float(weights.max()) <= 1
    hertz = torch.linspace(0, 8000, 257)
    peaks = 700 * (torch.linspace(*(1127 * math.log(1 + f / 700) for f in (125.0, 7500.0)), 66) / 1127).expm1()
    inside = (hertz >= peaks[1]) & (hertz <= peaks[-2])
    assert torch.allclose(weights[inside].sum(1), torch.tensor(1.0), atol=1e-5)
    assert float(weights[(hertz <= 125) | (hertz >= 7500)].abs().max()) == 0
    assert 0.3 < float(weights[round(1000 / 31.25)].max()) <= 1


@pytest.mark.parametrize(("samples", "patches"), [(1, 1), (15_600, 1), (15_601, 2), (23_280, 2), (23_281, 3)])
def test_patches_of_silence(samples: int, patches: int) -> None:
    y = LogMel()(torch.zeros(2, samples))
    assert y.shape == (2, patches, 96, 64)
    assert torch.allclose(y, torch.tensor(math.log(0.001)))


@pytest.mark.parametrize("hertz", [500.0, 1000.0, 3000.0])
def test_a_tone_is_loudest_in_its_own_band(hertz: float) -> None:
    y = LogMel()(tone(hertz, 16_000))[0, 0].mean(0)
    assert int(y.argmax()) == int(mel_weights()[round(hertz / 31.25)].argmax())


def test_an_impulse_is_as_loud_as_the_window_says() -> None:
    x = torch.zeros(1, 15_600)
    x[0, 1000] = 1.0  # a flat spectrum of the window's height there: 1000 - 160 f into frame f
    frame = 5
    height = 0.5 - 0.5 * math.cos(2 * math.pi * (1000 - 160 * frame) / 400)
    want = (height * mel_weights().sum(0) + 0.001).log()
    assert torch.allclose(LogMel()(x)[0, 0, frame], want, atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("hertz", [0.0, 440.0, 3000.0])
def test_resampling_keeps_what_both_rates_can_hold(rate: int, hertz: float) -> None:
    x = tone(hertz, rate, 0.5) if hertz else torch.ones(1, rate // 2)
    want = tone(hertz, 16_000, 0.5) if hertz else torch.ones(1, 8000)
    y = Resample(rate, 16_000)(x)
    assert y.shape == want.shape
    assert torch.allclose(y[:, 200:-200], want[:, 200:-200], atol=5e-3)


def test_resampling_drops_what_would_fold_back() -> None:
    y = Resample(44_100, 16_000)(tone(12_000, 44_100))
    assert float(y[:, 200:-200].abs().max()) < 0.01
    x = torch.rand(2, 100)
    assert torch.equal(Resample(16_000, 16_000)(x), x)


@pytest.fixture(scope="module")
def seen() -> Features:
    if not (Path(os.environ.get("GANTLET_WEIGHTS", "?")) / FILE).is_file():
        pytest.skip(f"needs {FILE} in GANTLET_WEIGHTS")
    return build("yamnet", lambda: Spec((23_280,)))


def test_the_published_weights(seen: Features) -> None:
    x = torch.cat([normal((23_280,), 1, key=("yamnet",)) * 0.1, 0.5 * tone(440, 16_000, 1.455)])
    y = seen(x)
    assert isinstance(seen.net, YAMNet)
    # as the runner that was checked against TensorFlow Lite says
    noise, steady = seen.net.scores(x)
    assert y.sum(1).tolist() == pytest.approx([70.24617, 161.98148], rel=1e-4)
    assert (int(noise.argmax()), float(noise.amax())) == (287, pytest.approx(0.8459, abs=1e-3))  # Waterfall
    assert (int(steady.argmax()), float(steady.amax())) == (383, pytest.approx(0.9930, abs=1e-3))  # Telephone
    assert seen.hash.startswith("34cf27199d1189d0") and seen.called("FD") == "FD-YAMNet"
    assert torch.allclose(seen(x.unsqueeze(1)), y, atol=1e-4) and torch.allclose(seen(x[1:]), y[1:], atol=1e-4)


def test_another_rate_hears_the_same(seen: Features) -> None:
    fast = build({"use": "yamnet", "rate": 32_000}, lambda: Spec((1, 32_000)))
    a, b = 0.5 * tone(440, 16_000, 1.455), 0.5 * tone(440, 32_000, 1.455)
    near, far = (float((fast(x) - seen(a)).norm()) for x in (b, a))
    assert near < 0.1 * far and fast.key != seen.key


def test_clips_are_heard_alone_however_many_there_are() -> None:
    net = YAMNet(at_once=4).eval()
    x = normal((23_280,), 7, key=("clips",)) * 0.1  # two patches each: in memory two clips at a time
    with torch.no_grad():
        y = net(x)
        assert y.shape == (7, 1024)
        assert torch.allclose(net(x[5:]), y[5:], atol=1e-5)
        long = x.flatten().unsqueeze(0)  # more patches than are in memory together
        few = net(long)
        net.at_once = 64
        assert torch.allclose(net(long), few, atol=1e-5)
        assert torch.equal(net(5 * x[:1] / 0.1), net((5 * x[:1] / 0.1).clamp(-1, 1)))  # as saving it would


def test_what_it_cannot_hear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in ((3, 32, 32), (2, 16_000)):
        with pytest.raises(InputError, match=r"sound \[T\]"):
            build("yamnet", lambda shape=shape: Spec(shape))
    with pytest.raises(InputError, match="mix its channels"):
        YAMNet()(torch.zeros(1, 2, 100))
    assert "greater than or equal to 4000" in registry.check("feature", {"use": "yamnet", "rate": 100})[1][0]
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    (tmp_path / FILE).write_bytes(b"not the network")
    with pytest.raises(InputError, match="damaged or another file"):
        build("yamnet", lambda: Spec((100,)))
