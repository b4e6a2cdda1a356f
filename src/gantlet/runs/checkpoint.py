"""States on disk: atomic, checksummed, never pickles, and the last good one kept until a newer one is proved.

A state is a folder `step-<n>` with `tensors.safetensors`, `state.json` (the shape of the record, with names where the
tensors go) and `manifest.json` (sha256 and size of both). It is written under another name, flushed, renamed, read
back, and only then is the state before last deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from gantlet.core.errors import StateError

KEPT = 2  # the newest, and the one before it in case the newest is damaged later
_TENSOR = "tensor:"  # a text in state.json that begins so is a tensor's name

Say = Callable[[str], None]


def flatten(record: Any, path: str = "") -> tuple[Any, dict[str, Tensor]]:
    """A nested record as JSON with tensor names, and those tensors: contiguous, on the host, none sharing memory."""
    if isinstance(record, Tensor):
        return f"{_TENSOR}{path}", {path: record.detach().cpu().clone(memory_format=torch.contiguous_format)}
    if isinstance(record, Mapping):
        parts = {str(k): flatten(v, f"{path}/{k}" if path else str(k)) for k, v in record.items()}
        tensors = {name: t for _, found in parts.values() for name, t in found.items()}
        return {k: shape for k, (shape, _) in parts.items()}, tensors
    if record is None or isinstance(record, bool | int | float | str):
        return record, {}
    raise TypeError(f"{path}: a state is made of tensors, numbers, texts and maps, not {type(record).__name__}")


def unflatten(shape: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The record again."""
    if isinstance(shape, dict):
        return {k: unflatten(v, tensors) for k, v in shape.items()}
    if isinstance(shape, str) and shape.startswith(_TENSOR):
        return tensors[shape.removeprefix(_TENSOR)]
    return shape


def save(record: Mapping[str, Any], folder: Path, step: int) -> Path:
    """Write one state; StateError if it cannot be (a full disk), with every earlier state as it was."""
    final = folder / f"step-{step:08d}"
    aside = folder / f".{final.name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(record, aside)
        if final.exists():
            shutil.rmtree(final)
        aside.rename(final)
        _flush(folder)
        _verify(final)
    except (OSError, SafetensorError, StateError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        good = [p.name for p in states(folder) if p != final]
        left = f"the states before it are intact ({', '.join(good)})" if good else "there is no earlier state"
        raise StateError(
            f"{final}: could not save the state: {error}; {left}. Free some space, then --resume"
        ) from error
    leftovers = [p for p in folder.glob(".step-*") if p.is_dir()]  # of writes that were killed
    for old in [*states(folder)[KEPT:], *leftovers]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def states(folder: Path) -> list[Path]:
    """The saved states, newest first."""
    return sorted((p for p in folder.glob("step-*") if p.is_dir()), reverse=True)


def load(folder: Path, say: Say) -> tuple[dict[str, Any], Path]:
    """The newest state that is undamaged; says which ones were not. StateError when there is none."""
    damaged = []
    for path in states(folder):
        try:
            _verify(path)
            tensors = safetensors.torch.load_file(path / "tensors.safetensors")
            shape = json.loads((path / "state.json").read_text(encoding="utf-8"))
            record = unflatten(shape, tensors)
        except (OSError, SafetensorError, StateError, ValueError, KeyError) as error:
            damaged.append(f"{path}: {error}")
            say(f"{path.name} is damaged ({error}); trying the one before it")
            continue
        if damaged:
            say(f"going on from {path.name}, the last good state")
        return record, path
    if damaged:
        raise StateError("no saved state is undamaged:\n" + "\n".join(damaged))
    raise StateError(f"{folder}: no state has been saved here; start anew without --resume")


def differences(fresh: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """Where a saved record does not fit a fresh one: missing, unknown and differently shaped tensors, by name.

    Moments are left out: before the first step an optimiser has none.
    """
    _, mine = flatten({k: fresh.get(k, {}) for k in ("game", "averages", "dynamics")})
    _, theirs = flatten({k: saved.get(k, {}) for k in ("game", "averages", "dynamics")})
    found = [f"{name}: not in the saved state" for name in mine if name not in theirs]
    found += [f"{name}: only in the saved state" for name in theirs if name not in mine]
    for name in mine.keys() & theirs.keys():
        if mine[name].shape != theirs[name].shape:
            found.append(f"{name}: {list(theirs[name].shape)} saved, {list(mine[name].shape)} here")
    players = (set(fresh["players"]), set(saved.get("players", {})))
    if players[0] != players[1]:
        found.append(f"players: {sorted(players[1])} saved, {sorted(players[0])} here")
    for name in players[0] & players[1]:
        kinds = (fresh["players"][name].get("kind"), saved["players"][name].get("kind"))
        if kinds[0] != kinds[1]:
            found.append(f"players.{name}: moments of {kinds[1]} saved, {kinds[0]} here")
    return sorted(found)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(record: Mapping[str, Any], aside: Path) -> None:
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    shape, tensors = flatten(record)
    safetensors.torch.save_file(tensors, aside / "tensors.safetensors")
    (aside / "state.json").write_text(json.dumps(shape), encoding="utf-8")
    names = ("tensors.safetensors", "state.json")
    manifest = {name: {"sha256": sha256(aside / name), "bytes": (aside / name).stat().st_size} for name in names}
    (aside / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for name in (*names, "manifest.json"):
        _flush(aside / name)
    _flush(aside)


def _flush(path: Path) -> None:
    """Down to the disk: a rename must not outlive what it names."""
    if path.is_dir() and os.name == "nt":  # Windows flushes no folders
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _verify(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    for name, facts in manifest.items():
        size = (path / name).stat().st_size
        if size != facts["bytes"]:
            raise StateError(f"{name} has {size} bytes, {facts['bytes']} were written")
        if sha256(path / name) != facts["sha256"]:
            raise StateError(f"{name} does not match its checksum")
