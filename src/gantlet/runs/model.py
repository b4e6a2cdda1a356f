"""The model: what generates, with averaged weights, as safetensors beside a config and a card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from gantlet.core import registry
from gantlet.core.errors import InputError, StateError, nearest
from gantlet.core.game import Batch, Game, Spec
from gantlet.core.machine import pick_device
from gantlet.explore.truncation import Truncated
from gantlet.runs.plugins import missing, modules_of

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
CHUNK = 64  # images generated at a time: a batch's size must not decide the memory
Classes = int | str | Sequence[int | str] | Tensor  # numbers or names


class Model:
    """A trained generator that can be sampled from. `game` is in evaluation mode."""

    def __init__(self, game: Game, spec: Spec, config: dict[str, Any]) -> None:
        self.game, self.spec, self.config = game, spec, config
        for module in game.made_of().values():
            module.requires_grad_(False).eval()

    @property
    def device(self) -> torch.device:
        return next(self.game.parameters()).device

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called that it can be asked for, by number; () where it was not told any."""
        names = self.config.get("class_names") or []
        return tuple(
            map(str, names if self.game.labelled and len(names) == self.game.classes else range(self.game.classes))
        )

    def truncated(self, truncation: float | None) -> Model:
        """This model with truncated samples, fewer kinds of them and better ones; itself for None.

        Style generators: w_mean + t (w - w_mean), t mostly 0..1. Others: normal latents as if drawn within -t..t.
        """
        return self if truncation is None else Model(Truncated(self.game, truncation), self.spec, self.config)

    def sample(
        self, n: int, *, seed: int = 0, first: int = 0, classes: Classes | None = None, truncation: float | None = None
    ) -> Tensor:
        """float32 [n, *shape] on the host, images in -1..1; sample i depends on (seed, first + i) and its class alone.

        `classes`: a number or name, or several: row i is of classes[i mod their number]. Without, a conditional model
        draws them as often as its data has them. InputError for a class that is none, or a model that knows none.
        `truncation`: see `truncated`.
        """
        batches = self.truncated(truncation).batches(n, seed=seed, first=first, classes=classes)
        return torch.cat([batch.x for batch in batches])

    @torch.no_grad()
    def batches(self, n: int, *, seed: int = 0, first: int = 0, classes: Classes | None = None) -> Iterator[Batch]:
        """The same samples, a chunk at a time, with their classes y (int64) where the model knows any."""
        if n < 1:
            raise InputError(f"{n} samples: ask for at least one")
        asked = None if classes is None else torch.tensor(self.numbers_of(classes), device=self.device)
        for start in range(0, n, CHUNK):
            rows = min(CHUNK, n - start)
            z = self.game.latent(rows, seed=seed, first=first + start)
            if asked is None:
                y, x = self.game.classes_of(z), self.game.generate(z)
            else:
                y = asked[torch.arange(start, start + rows, device=asked.device) % len(asked)]
                x = self.game.generate(z, y)
            x = x.float().cpu()
            yield Batch(x.clamp_(-1, 1) if x.dim() == 4 else x, None if y is None else y.cpu())

    def numbers_of(self, classes: Classes) -> list[int]:
        """The numbers of classes given by number or name. InputError for what is no class of this model."""
        if isinstance(classes, Tensor | np.ndarray):
            classes = np.asarray(classes.tolist()).reshape(-1).tolist()
        single = isinstance(classes, str) or not isinstance(classes, Iterable)
        asked: list[Any] = [classes] if single else list(classes)  # type: ignore[arg-type]
        names = self.class_names
        if not names:
            raise InputError("this model knows no classes: it was trained with conditional=false; leave the class out")
        if not asked:
            raise InputError("no classes: name at least one, or leave the option out for all of them")
        return [_number(one, names) for one in asked]

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write model.safetensors, config.json and a model card."""
        return save(self.game, self.config, Path(folder))


def _number(asked: Any, names: Sequence[str]) -> int:
    """A class's number, by number or name; a text is a name first (classes may be called 1, 2, 3)."""
    if isinstance(asked, bool) or not isinstance(asked, int | str | np.integer):
        raise InputError(f"class {asked!r}: a class is a whole number or a name; there are {len(names)}")
    if isinstance(asked, str) and asked in names:
        return names.index(asked)
    number = int(asked) if not isinstance(asked, str) or asked.isdecimal() else -1
    if not 0 <= number < len(names):
        raise InputError(f"class {asked}: there are {len(names)}, 0 to {len(names) - 1}; {nearest(str(asked), names)}")
    return number


def config_of(tree: dict[str, Any], spec: Spec, **facts: Any) -> dict[str, Any]:
    """What rebuilds the model: the game's settings and the data's spec."""
    return {
        "gantlet": 1,
        "game": tree["game"],
        "spec": {"shape": list(spec.shape), "classes": spec.classes, "given": [list(g) for g in spec.given],
                 "count": spec.count, "shares": list(spec.shares)},
        **({"with": own} if (own := modules_of(tree["game"])) else {}),
        **facts,
    }  # fmt: skip


def save(game: Game, config: dict[str, Any], folder: Path) -> Path:
    """What the game is made of, in one safetensors file."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{name}.{key}": value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, module in game.made_of().items()
        for key, value in module.state_dict().items()
    }
    aside = folder / f".{WEIGHTS}.tmp"
    safetensors.torch.save_file(tensors, aside, metadata={"format": "pt"})
    aside.replace(folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / CARD).write_text(_card(config, sum(t.numel() for t in tensors.values())), encoding="utf-8")
    return folder


def told(folder: Path) -> dict[str, Any]:
    """What a model's folder says of itself; nothing where there is none or it cannot be read."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def load(folder: Path, *, device: str | torch.device | None = None, game: Game | None = None) -> Model:
    """The model in a folder. A game that came from code must be given again."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = safetensors.torch.load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no model: {Path(str(error.filename)).name} is missing") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise StateError(f"{folder}: the model cannot be read: {error}") from error
    if not isinstance(config, dict) or not {"spec", "game"} <= config.keys():
        raise InputError(f"{folder}: {CONFIG} is not of a gantlet model")
    facts = config["spec"]
    spec = Spec(tuple(facts["shape"]), classes=facts["classes"], given=tuple(tuple(g) for g in facts["given"]),
                count=facts["count"], shares=tuple(facts.get("shares", ())))  # fmt: skip
    if game is None:
        tree, faults = registry.check("game", config["game"], "game")
        if faults:
            raise InputError([f"{folder / CONFIG}: {fault}" for fault in missing(config.get("with"), faults)])
        game = registry.bind("game", tree, total=1)(spec)
    assert game is not None
    for name, module in game.made_of().items():
        mine = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
        _fill(module, mine, f"{folder}: {name}")
    game.to(device if isinstance(device, torch.device) else pick_device(device or "cpu"))
    return Model(game, spec, config)


def from_hub(name: str) -> Path:
    """A model's folder on the Hub, downloaded; InputError with the Hub's reason where it is not to be had."""
    if name.count("/") != 1 or name.startswith((".", "/")) or Path(name).parent.is_dir():
        raise InputError(f"{name}: there is no such folder; name a run, a saved model, or a Hub id (owner/name)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "README.md"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{name}: no such folder, and the Hub did not give it: {reason}; pass a local folder"
        ) from error


def _fill(module: torch.nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        faults: Sequence[str] = [line.strip() for line in str(error).splitlines()[1:4]]
        raise StateError(f"{where}: the weights do not fit the network: {' '.join(faults)}") from error


def _card(config: dict[str, Any], weights: int) -> str:
    shape = " x ".join(str(s) for s in config["spec"]["shape"])
    lines = [
        "---",
        "library_name: gantlet",
        "tags: [gan, gantlet]",
        "---",
        f"# A {config.get('recipe', 'gantlet')} model",
        "",
        f"Generates samples of shape {shape} from {config['spec']['count']:,} examples"
        + (f" of `{config['data']}`" if config.get("data") else "")
        + f"; {weights / 1e6:.2f} M weights"
        + (f", trained for {config['step']:,} steps ({config['images']:,} images)." if "step" in config else "."),
        "",
        "```python",
        "import gantlet",
        "",
        "x = gantlet.load('.').sample(16, seed=0)  # float32 [16, ...], images in -1..1",
        "```",
        "",
    ]
    return "\n".join(lines)
