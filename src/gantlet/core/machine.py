"""The machine: devices, precision, threads, ranks. What is found here is written to the run, so that it can be repeated."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gantlet.core.errors import InputError

T = TypeVar("T")


def pick_device(name: str | None = None) -> torch.device:
    """`cpu`, `cuda[:i]` or `mps`; without a name the fastest there is."""
    if name is None or name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", ranks_from_environment()[0] % torch.cuda.device_count())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"no device named {name!r}; use cpu, cuda, cuda:1 or mps") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        have = ", ".join(k for k, v in there.items() if v)
        raise InputError(f"device {name!r} is not on this machine (torch {torch.__version__} sees: {have})")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA device(s), counted from 0"
        )
    if name == "cuda":  # one each, where several ranks share a machine
        return torch.device("cuda", ranks_from_environment()[0] % torch.cuda.device_count())
    return device


def fast_bf16(device: torch.device) -> bool:
    """Has this processor or GPU arithmetic units for bfloat16? (Elsewhere it is emulated and slower than float32.)"""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def pick_precision(wanted: str, device: torch.device) -> str:
    """`auto` is bf16 where it is fast, float32 elsewhere; fp16 is never chosen, only obeyed."""
    if wanted != "auto":
        return wanted
    return "bf16" if fast_bf16(device) else "float32"


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What must be the same for a run to repeat bit for bit."""
    facts: dict[str, Any] = {
        "device": device.type,
        "threads": torch.get_num_threads(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def ranks_from_environment() -> tuple[int, int]:
    """(rank, world) as torchrun sets them; (0, 1) otherwise."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed what draws on this device. (`torch.manual_seed` also notes a traceback for GPUs not in use, a millisecond.)"""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    if device.type == "mps":
        torch.mps.manual_seed(seed)


def generators_at(device: torch.device) -> list[Tensor]:
    """Where what draws on this device stands, on the host."""
    states = [torch.default_generator.get_state()]
    if device.type == "cuda":
        states.append(torch.cuda.default_generators[device.index or 0].get_state())
    if device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def rewind_generators(device: torch.device, states: list[Tensor]) -> None:
    """Let what draws on this device go on from where it stood."""
    torch.default_generator.set_state(states[0])
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].set_state(states[1])
    if device.type == "mps":
        torch.mps.set_rng_state(states[1])


def keep_freed_memory() -> bool:
    """Let glibc keep the pages that tensors free, instead of giving them back and clearing fresh ones every step.

    Every activation above 128 KiB is otherwise mapped and unmapped anew. Answers whether the allocator took it (Linux
    with glibc); memory stays at its peak until the process ends.
    """
    never, option = 2**31 - 1, {"M_TRIM_THRESHOLD": -1, "M_TOP_PAD": -2, "M_MMAP_MAX": -4}  # from malloc.h
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    wanted = {"M_MMAP_MAX": 0, "M_TRIM_THRESHOLD": never, "M_TOP_PAD": 64 << 20}
    return all(mallopt(option[name], value) == 1 for name, value in wanted.items())


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Ranks:
        """Meet the other processes torchrun started, if there are any."""
        rank, world = ranks_from_environment()
        if world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(rank, world)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor averaged over the ranks, in one flat all-reduce per dtype."""
        if self.world == 1:
            return list(tensors)
        out = list(tensors)
        for dtype in {t.dtype for t in tensors}:
            places = [i for i, t in enumerate(tensors) if t.dtype == dtype]
            flat = torch.cat([tensors[i].reshape(-1) for i in places])
            dist.all_reduce(flat)
            flat /= self.world
            for i, part in zip(places, torch.split(flat, [tensors[i].numel() for i in places])):
                out[i] = part.view_as(tensors[i])
        return out

    @torch.no_grad()
    def mean_buffers(self, module: nn.Module) -> None:
        """Average floating buffers (running statistics) over ranks in place: each rank saw its own slice."""
        buffers = [b for b in module.buffers() if b.is_floating_point()]
        for buffer, mean in zip(buffers, self.mean(buffers)):
            buffer.copy_(mean)

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()

    def first_alone(self, do: Callable[[], T]) -> T:
        """The first rank does it, then the others: what it leaves on disk (a cache) is there for them."""
        if not self.first:
            self.wait()
        made = do()
        if self.first:
            self.wait()
        return made

    def any(self, flag: bool, device: torch.device) -> bool:
        """Does any rank say yes? All get the same answer. Waits for the device when there are several."""
        if self.world == 1:
            return flag
        said = torch.tensor(float(flag), device=device)
        dist.all_reduce(said)
        return bool(said > 0)
