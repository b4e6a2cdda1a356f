"""Known weight files: found in a folder, in the cache or at their address, checked by hash, kept as safetensors."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import urllib.request
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.data.cache import DiskFull, cache_folder, check_room, written_aside
from gantlet.metrics.features import hash_of

TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 20
_STEP = 16 << 20  # bytes between two lines of progress

Log = Callable[[str], None]


@dataclass(frozen=True)
class Known:
    """A published weight file: its name, its address, and its sha256 or the first digits of it."""

    file: str
    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.file} (sha256 {self.sha256[:16]}{'...' if len(self.sha256) > 16 else ''}) is at {self.url}"


def say(line: str) -> None:
    """To the screen, beside the results."""
    print(line, file=sys.stderr, flush=True)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(known: Known, *, log: Log = say, timeout: float = TIMEOUT) -> dict[str, Tensor]:
    """The tensors of a known file: from $GANTLET_WEIGHTS, else from the cache, else from its address.

    What was read once is kept in the cache as safetensors. InputError for another file under that name, and where
    there is no way to get it: it says the hash, the address and where to put the file.
    """
    kept, places = _places(known)
    folder = kept.parent
    here = next((place for place in places if place.is_file()), None)
    if here is not None:
        _check(here, sha256_of(here), known)
    state = _kept(kept, log)
    if state is not None:
        return state
    if here is None:
        here = folder / known.file
        _download(known, here, log, timeout)
    state = read_state(here)
    with suppress(DiskFull, OSError):
        _keep(kept, state)
        if here.parent == folder:  # the same numbers, and a pickle is not read twice
            here.unlink()
    return state


def at_hand(known: Known) -> bool:
    """Is the file on this machine, as it was published or as it was kept?"""
    kept, places = _places(known)
    return any(place.is_file() for place in (kept, *places))


def _places(known: Known) -> tuple[Path, list[Path]]:
    """Where it is kept as safetensors, and where it may lie as it was published."""
    folder, given = cache_folder() / "weights", os.environ.get("GANTLET_WEIGHTS")
    kept = folder / f"{Path(known.file).stem}.{known.sha256[:16]}.safetensors"
    return kept, [Path(place) / known.file for place in (given, folder) if place]


def read_state(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a .safetensors file or of a state dict that torch saved; nothing else in it is run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # of old pickles: refused below if they are no tensors
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"there is no weight file {path}; look at its name") from error
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError) as error:
        raise InputError(f"{path} is no file of tensors ({first_line(error)}); give another") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path} holds more than names and tensors; save the state dict alone")
    return dict(state)


def first_line(error: BaseException) -> str:
    """What an error says, in at most 160 letters of one line; what it is where it says nothing."""
    lines = (line.strip() for line in str(getattr(error, "reason", None) or error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:160]


def load(net: nn.Module, state: Mapping[str, Tensor], of: str) -> None:
    """The tensors into the network; InputError that names what is missing, left over or of another shape."""
    have = net.state_dict()
    optional = {name for name in have if name.endswith("num_batches_tracked")}  # files older than torch 0.4.1
    missing = sorted(have.keys() - state.keys() - optional)
    alien = sorted(state.keys() - have.keys())
    other = sorted(k for k in have.keys() & state.keys() if have[k].shape != state[k].shape)
    for what, names in (("lacks", missing), ("has no use for", alien), ("has another shape of", other)):
        if names:
            raise InputError(f"{of} {what} {len(names)} tensors, first {names[0]}; it is for another network")
    net.load_state_dict({**{name: torch.zeros_like(have[name], device="cpu") for name in optional}, **state})


def _check(path: Path, digest: str, known: Known) -> None:
    if not digest.startswith(known.sha256):
        raise InputError(
            f"{path} is damaged or another file: its sha256 is {digest[:16]}..., not {known.sha256[:16]}; "
            f"replace it: {known}"
        )


def _kept(path: Path, log: Log) -> dict[str, Tensor] | None:
    """What an earlier call kept, as it was; None where there is none or it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            wanted = (file.metadata() or {}).get("tensors")
        state = load_file(path)
    except (OSError, SafetensorError):
        state, wanted = {}, None
    if wanted is not None and hash_of(state) == wanted:
        return state
    log(f"{path} is damaged: it is left aside")
    return None


def _keep(path: Path, state: Mapping[str, Tensor]) -> None:
    own = {name: t.detach().clone().contiguous() for name, t in state.items()}  # safetensors wants no shared memory
    data = save(own, metadata={"tensors": hash_of(own)})
    with written_aside(path, wanted=len(data)) as file:
        file.write(data)


def _download(known: Known, path: Path, log: Log, timeout: float) -> None:
    """The file at `path`, whole and with the known hash, or not at all."""
    where = f"{path.parent} or a folder named by GANTLET_WEIGHTS"
    request = urllib.request.Request(known.url, headers={"User-Agent": "gantlet"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply, written_aside(path) as file:
            _check(path, _copy(reply, file, known, path.parent, log), known)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise InputError(
            f"{known.file} could not be downloaded ({first_line(error)}); put it into {where}: {known}"
        ) from error
    except DiskFull as error:
        raise InputError(f"{known.file} cannot be kept: {error}") from error


def _copy(reply: Any, file: IO[bytes], known: Known, folder: Path, log: Log) -> str:
    """Every byte of the reply into the file; its sha256. OSError where it ends early."""
    total, have, told = int(reply.headers.get("Content-Length") or 0), 0, -_STEP
    digest = hashlib.sha256()
    while block := reply.read(_BLOCK):
        check_room(folder, len(block))
        digest.update(block)
        file.write(block)
        have += len(block)
        if have - told >= _STEP:
            log(f"{known.file}: {have >> 20} of {total >> 20 if total else '?'} MiB from {known.url}")
            told = have
    if have < total:
        raise OSError(f"it ended after {have} of {total} bytes")
    return digest.hexdigest()
