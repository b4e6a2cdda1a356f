"""A critic of K classes: its losses by an explicit softmax over K + 1, who may see a label, and what is saved."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantlet.core import registry
from gantlet.core.critics import Verdict
from gantlet.core.errors import InputError
from gantlet.core.game import Batch, Spec
from gantlet.core.recipe import recipe
from gantlet.core.train import train
from gantlet.core.when import Now
from gantlet.data import open_source
from gantlet.data.few import FewLabels, Part
from gantlet.games.invariance import mutual, slightly
from gantlet.nets.semi import GaussianNoise, SemiConvCritic, SemiMLPCritic
from gantlet.runs import model as models
from gantlet.runs.build import build, decide, refuse_unlabelled, spec_of, stream_of
from helpers import IMAGES, POINTS, number, play, small

EXACT = torch.float64
THREE = POINTS._replace(classes=3)
OPTIONS: dict[str, Any] = {"G": {"use": "mlp", "z": 3, "hidden": [8]}, "D": {"use": "mlp", "hidden": [8]}}


def game(spec: Spec = THREE, **options: Any) -> Any:
    torch.manual_seed(0)
    tree, faults = registry.check("game", {"use": "semi", **OPTIONS, **options})
    assert not faults, faults
    return registry.bind("game", tree, total=1)(spec)


def batch(n: int = 6) -> Batch:
    torch.manual_seed(1)
    return Batch(torch.randn(n, 2, dtype=EXACT), given=(torch.randn(n, 2, dtype=EXACT), torch.arange(n) % 3))


def log_p(made: Any, x: Tensor) -> Tensor:
    """The logarithms of the K + 1 probabilities [N, K + 1], fake last: a softmax over the class logits and a zero."""
    logits = made.classify(x)
    return torch.cat([logits, torch.zeros(len(x), 1, dtype=logits.dtype)], 1).log_softmax(1)


# ---- the losses ---------------------------------------------------------------------------------------------------


def test_the_losses_are_those_of_k_and_one_classes() -> None:
    made = game(label_weight=1.5).double()
    shown = made.stage(batch(), Now(step=2))
    loss = made.d_wants(shown)
    on_real, on_fake, on_few = (log_p(made, x) for x in (shown.played.real, shown.played.fake, shown.x))
    not_fake = -torch.log(1 - on_real[:, 3].exp()).mean()  # -log(1 - p(K+1 | x))
    fake = -on_fake[:, 3].mean()  # -log p(K+1 | G(z))
    assert number(loss.terms["D"]) == pytest.approx(number(not_fake + fake), rel=1e-10)
    given_real = on_few[:, :3] - on_few[:, :3].logsumexp(1, keepdim=True)  # log p(y | x, y < K+1)
    known = -given_real.gather(1, shown.y.unsqueeze(1)).mean()
    assert number(loss.terms["labels"]) == pytest.approx(1.5 * number(known), rel=1e-10)
    wrong = (made.classify(shown.x).argmax(1) != shown.y).double().mean()
    assert number(loss.stats["labelled_error"]) == number(wrong)


def test_g_matches_the_last_hidden_features_and_nothing_else() -> None:
    made = game().double()
    shown = made.stage(batch(), Now())
    terms = made.g_wants(shown).terms
    critic = made.arena.critics.critics["D"]
    real, fake = (critic(x).features[-1].mean(0) for x in (shown.played.real, shown.played.fake))
    assert list(terms) == ["matching"]
    assert number(terms["matching"]) == pytest.approx(number((real - fake).square().sum()), rel=1e-10)
    both = game(fooling=0.5).double()
    fooled = both.g_wants(both.stage(batch(), Now())).terms
    assert number(fooled["G"]) == pytest.approx(number(-0.5 * _log_real(both)), rel=1e-10)


def _log_real(made: Any) -> Tensor:
    """The mean log p(real | G(z)) of the same scene."""
    fake = made.stage(batch(), Now()).played.fake
    return torch.log(1 - log_p(made, fake)[:, 3].exp()).mean()


def test_labels_are_read_from_the_labelled_rows_alone() -> None:
    """Other labels of the many rows change nothing; other labels of the few do."""
    made = game().double()
    rows = batch()

    def cost(b: Batch) -> list[float]:
        return [number(t) for t in made.d_wants(made.stage(b, Now())).terms.values()]

    assert cost(rows) == cost(rows._replace(y=torch.zeros(6, dtype=torch.int64)))
    x, y = rows.given
    assert cost(rows) != cost(rows._replace(given=(x, (y + 1) % 3)))
    assert cost(Batch(rows.x, y))[1] == pytest.approx(number(2 * F.cross_entropy(made.classify(rows.x), y)))


def test_rows_without_labels_teach_classes_by_what_slight_changes_leave() -> None:
    """The term is D's, minus the weighted information, of the many rows alone; labelled ones are shown as slight copies."""
    images = Spec((1, 16, 16), classes=3)
    nets = {
        "G": {"use": "dcgan", "z": 4, "width": 4},
        "D": {"use": "dcgan", "width": 4, "batch_norm": False, "init_std": None},
    }
    made, plain = game(images, invariance=0.5, **nets).double(), game(images, **nets).double()
    torch.manual_seed(3)
    x, few = torch.rand(8, 1, 16, 16, dtype=EXACT) * 2 - 1, torch.rand(6, 1, 16, 16, dtype=EXACT) * 2 - 1
    rows, now = Batch(x, given=(few, torch.arange(6) % 3)), Now(step=4)
    terms = made.d_wants(made.stage(rows, now)).terms
    copies = slightly(x, now, "invariance")
    wanted = -0.5 * number(mutual(made.classify(x), made.classify(copies)))
    assert number(terms["few-labels.invariance"]) == pytest.approx(wanted, rel=1e-6) and wanted < 0
    said = made.classify(slightly(few, now, "labelled"))
    assert number(terms["labels"]) == pytest.approx(2 * number(F.cross_entropy(said, torch.arange(6) % 3)), rel=1e-5)
    assert "few-labels.invariance" not in plain.d_wants(plain.stage(rows, now)).terms
    assert "few-labels.invariance" not in made.g_wants(made.stage(rows, now)).terms
    other = made.d_wants(made.stage(rows._replace(x=x.flip(0).roll(3, -1)), now)).terms
    assert number(other["labels"]) == pytest.approx(number(terms["labels"]), rel=1e-6)
    assert number(other["few-labels.invariance"]) != number(terms["few-labels.invariance"])
    with pytest.raises(InputError, match=r"invariance=1: it is of images, .*\[2\]; leave it at 0"):
        game(invariance=1.0)


def test_only_where_all_rows_have_a_label_must_they() -> None:
    assert game().labelled
    assert not game(THREE._replace(given=((2,), ()))).labelled
    with pytest.raises(InputError, match=r"these rows have no labels; .*labelled=N"):
        game().stage(Batch(torch.zeros(2, 2)), Now())


# ---- training -----------------------------------------------------------------------------------------------------


def small_recipe(*changes: str) -> Any:
    return small(recipe("semi")).override("labelled=20", "batch=10", *changes)


def begin(*changes: str) -> Any:
    made, dataset = small_recipe(*changes), open_source("digits")
    state, engine = build(made, spec_of(made, dataset), decide(made, torch.device("cpu")), steps=made["steps"])
    return state, engine, stream_of(made, dataset)


def test_it_plays_with_few_labels_and_resumes_to_the_bit() -> None:
    state, engine, data = begin()
    assert isinstance(data, FewLabels)
    train(state, engine, data, 3)
    saved = {k: v.clone() for k, v in state.game.state_dict().items()}
    record = state.state_dict()
    again, other, _ = begin()
    again.load_state_dict(record)
    train(state, engine, data, 5)
    train(again, other, data, 5)
    assert all(torch.equal(a, b) for a, b in zip(state.game.state_dict().values(), again.game.state_dict().values()))
    assert not all(torch.equal(saved[k], v) for k, v in state.game.state_dict().items())


def test_the_digits_are_learned_from_few_labels() -> None:
    """Ten labels of each digit, 60 steps: far better than chance, on rows whose label it never saw."""
    changes = ["G.hidden=[32]", "D.hidden=[64, 32]", "D.input_noise=0.3", "D.noise=0.2", "G.z=20", "labelled=100",
               "batch=50", "average={use: ema, half_life_images: 2000}"]  # fmt: skip
    state, engine, data = begin(*changes)
    train(state, engine, data, 60)
    test = open_source("digits", split="test")
    rows = test.rows(torch.arange(len(test)))
    wrong = state.best_game().classify(rows.x).argmax(1) != rows.y
    assert number(wrong.float().mean()) < 0.2


def test_batches_in_pieces_are_refused_and_labels_in_other_games_too() -> None:
    with pytest.raises(InputError, match=r"micro_batch 5: arena\.tricks\.matching \(FeatureMatching\)"):
        begin("micro_batch=5")
    made, dataset = small(recipe("mlp")).override("labelled=20"), open_source("digits")
    with pytest.raises(InputError, match=r"labelled=20: classic reads no labelled rows.*recipe semi"):
        build(made, spec_of(made, dataset), decide(made, torch.device("cpu")), steps=1)
    with pytest.raises(InputError, match=r"balanced=true: of all but 20 rows the class is not known"):
        spec_of(small_recipe("balanced=true"), dataset)


def test_a_saved_model_is_the_averaged_classifier(tmp_path: Any) -> None:
    state, engine, data = begin()
    train(state, engine, data, 3)
    config = models.config_of(small_recipe().tree, spec_of(small_recipe(), open_source("digits")))
    models.save(state.best_game(), config, tmp_path)
    loaded = models.load(tmp_path)
    x = data.take(0, 5, torch.device("cpu")).x
    assert torch.equal(loaded.game.classify(x), state.best_game().classify(x))
    assert not torch.equal(loaded.game.classify(x), state.game.eval().classify(x))
    assert loaded.sample(2).shape == (2, 1, 8, 8)


# ---- networks -----------------------------------------------------------------------------------------------------


def test_the_paper_s_perceptrons() -> None:
    """784-1000-500-250-250-250 with a gain a unit (weight norm), and 100-500-500-784 (Salimans et al. 2016, 5.1)."""
    spec = Spec((1, 28, 28))
    widths = [784, 1000, 500, 250, 250, 250]
    layers = sum(a * b + 2 * b for a, b in itertools.pairwise(widths))  # weights, biases, gains
    critic = SemiMLPCritic(spec)
    assert sum(p.numel() for p in critic.parameters()) == layers + 250 + 1
    plain = SemiMLPCritic(spec, weight_norm=False)
    assert sum(p.numel() for p in plain.parameters()) == layers - sum(widths[1:]) + 250 + 1
    generator = registry.generator.parts["semi-mlp"].fn(spec)
    norms = 2 * (500 + 500)
    assert sum(p.numel() for p in generator.parameters()) == 100 * 500 + 500 * 500 + norms + 500 * 784 + 784


def test_the_paper_s_convolutions() -> None:
    """At 32 x 32: 96-96-96-192-192-192-192-192-192, 6 x 6 before the mean (the seventh has no border)."""
    critic = SemiConvCritic(Spec((3, 32, 32))).eval()
    shapes = [tuple(f.shape[1:]) for f in critic(torch.randn(1, 3, 32, 32)).features]
    assert shapes == [(96, 32, 32), (96, 32, 32), (96, 16, 16), (192, 16, 16), (192, 16, 16), (192, 8, 8),
                      (192, 6, 6), (192, 6, 6), (192, 6, 6)]  # fmt: skip


def test_weight_norm_gives_each_unit_its_own_length() -> None:
    """The rows of W are g v / |v|: their length is g, whatever v."""
    critic = SemiMLPCritic(Spec((1, 8, 8)), hidden=(5,))
    layer = critic.body[0]
    with torch.no_grad():
        layer.parametrizations.weight.original1.mul_(7)
    gain = layer.parametrizations.weight.original0.detach().squeeze(1)
    assert torch.allclose(layer.weight.detach().norm(dim=1), gain, rtol=1e-5)


def test_noise_is_of_training_alone() -> None:
    x = torch.zeros(200, 50)
    noise = GaussianNoise(0.5)
    assert number(noise(x).std()) == pytest.approx(0.5, rel=0.03)
    assert torch.equal(noise.eval()(x), x)
    layers = SemiMLPCritic(IMAGES, hidden=(6, 5), input_noise=0.3, noise=0.2).body
    assert [m.std for m in layers if isinstance(m, GaussianNoise)] == [0.3, 0.2, 0.2]
    drops = SemiConvCritic(IMAGES, width=4, input_dropout=0.2, dropout=0.5).body
    assert [m.p for m in drops if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]


def test_any_critic_with_a_last_linear_layer_classifies() -> None:
    narrow = {"mlp": {"hidden": [8]}, "semi-mlp": {"hidden": [8]}}
    for name in ("mlp", "cnn", "dcgan", "semi-mlp", "semi-conv"):
        critic = {"use": name, **narrow.get(name, {"width": 4})}
        made = game(IMAGES, G={"use": "semi-mlp", "hidden": [8]}, D=critic).eval()
        x = torch.randn(4, *IMAGES.shape)
        (verdict,) = made.arena.critics(x, side="real")
        assert made.classify(x).shape == (4, 3)
        assert torch.allclose(verdict.logits, made.classify(x).logsumexp(1))


class Wide(nn.Module):
    """A critic whose logits are a map."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Verdict:
        return Verdict(self.layer(x).unsqueeze(1), (x,))


def test_bad_input_is_answered() -> None:
    for classes in (0, 1):
        with pytest.raises(InputError, match=r"semi: the data has (no|1) class.* to tell apart"):
            game(THREE._replace(classes=classes))
    with pytest.raises(InputError, match=r"tricks\.matching: semi has a part of this name"):
        game(tricks={"matching": {"use": "instance-noise"}})
    torch.manual_seed(0)
    with pytest.raises(InputError, match=r"with 3 outputs it says \[6, 1, 3\]"):
        made = registry.game.parts["semi"].fn(THREE, **{**OPTIONS, "D": Wide})
        made.d_wants(made.stage(Batch(torch.zeros(6, 2), torch.arange(6) % 3), Now()))
    with pytest.raises(InputError, match=r"packed samples are of several classes"):
        play("semi", "tricks.packing={}")
    with pytest.raises(InputError, match=r"tricks\.top-k: .*with fooling=0 G minds none; use a fooling above 0"):
        play("semi", "tricks.top-k={}")
    play("semi", "tricks.top-k={}", "fooling=1").run(1).state.check_finite()
    with pytest.raises(
        InputError, match=r"2 of 4 rows have no label, and without labelled=N .*; use labelled=2, or fewer"
    ):
        refuse_unlabelled(game(), Half(open_source("digits"), torch.arange(4)))


class Half(Part):
    """Every other row has a label."""

    def labels_array(self) -> Tensor:
        return torch.where(torch.arange(len(self)) % 2 == 0, 1, -1)
