"""The cache: found again, never half there, rebuilt when damaged, skipped when there is no room, flat in memory."""

from __future__ import annotations

import multiprocessing as mp
import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import noise, png, save_idx, save_pngs, save_tree, tarred

from gantlet.core.errors import InputError
from gantlet.data import Stream, cache_folder, decode, open_source
from gantlet.data.cache import Mapped

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per decoded picture."""
    calls: list[int] = []
    real = decode.picture

    def counted(data: bytes) -> Any:
        calls.append(len(data))
        return real(data)

    monkeypatch.setattr(decode, "picture", counted)
    return calls


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100 << 30, 100 << 30, 100 << 20))


def content(source: Any, **options: Any) -> torch.Tensor:
    data = open_source(source, **options)
    return data.read(torch.arange(len(data)))


def files(cache: Path) -> list[Path]:
    return sorted(p for p in cache.rglob("*") if p.is_file())


def test_the_second_start_decodes_nothing(tmp_path: Path, cache: Path, decodes: list[int], said: list[str]) -> None:
    source = save_tree(tmp_path)
    first = content(source)
    assert len(decodes) == 10
    assert torch.equal(content(source, say=said.append), first) and len(decodes) == 10 and not said
    assert content(f"{source}#test").shape[0] == 4 and len(decodes) == 10
    assert not [p for p in files(cache) if p.name.endswith(".tmp")]
    content(source, size=16)
    assert len(decodes) == 20  # another transform is another entry
    content(source, bad_files=0.5, labels=False)
    assert len(decodes) == 20  # what changes no pixel is not


def test_a_renamed_folder_is_the_same_and_a_changed_one_is_not(tmp_path: Path, decodes: list[int]) -> None:
    source = save_pngs(tmp_path / "a", 6)
    mark = open_source(source).fingerprint
    source = source.rename(tmp_path / "b")
    assert open_source(source).fingerprint == mark and len(decodes) == 6
    (source / "000.png").write_bytes(png(noise((8, 8, 3), 77)))
    os.utime(source / "000.png", ns=(1, 1))
    assert open_source(source).fingerprint != mark and len(decodes) == 12


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(p.read_bytes()[:-7]),
        lambda p: p.write_bytes(p.read_bytes() + b"x"),
        lambda p: p.write_bytes(b""),
        lambda p: p.unlink(),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".npy", ".held.npy", ".labels.npy"])
def test_a_damaged_entry_is_rebuilt(
    tmp_path: Path, cache: Path, decodes: list[int], damage: Callable[[Path], Any], suffix: str
) -> None:
    source = save_tree(tmp_path)
    first = content(source)
    damage(next(p for p in files(cache) if p.name.partition(".")[2] == suffix[1:]))
    assert torch.equal(content(source), first) and len(decodes) == 20
    assert torch.equal(content(source), first) and len(decodes) == 20


def test_a_full_disk_is_said_and_training_goes_on(
    tmp_path: Path, cache: Path, decodes: list[int], said: list[str], full_disk: None
) -> None:
    source = save_pngs(tmp_path, 12)
    data = open_source(source, say=said.append)
    assert any("not cached" in line and "would fill the disk" in line for line in said)
    assert len(decodes) == 12 and not files(cache)
    batch = Stream(data, seed=0).take(0, 30, torch.device("cpu"))
    assert len(decodes) == 42
    assert len(data) == 10 and len(batch.x.flatten(1).unique(dim=0)) == 10


def test_a_full_disk_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save_tree(tmp_path, (9, 11, 4))
    cached = content(source, size=8, channels=3)
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100 << 30, 100 << 30, 0))
    assert torch.equal(content(source, size=8, channels=3), cached)


def test_a_disk_that_fills_while_writing_leaves_nothing_behind(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    import errno

    from gantlet.data.cache import Rowwise

    def write(self: Rowwise, row: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Rowwise, "write", write)
    assert len(open_source(save_pngs(tmp_path, 6), say=said.append)) == 5
    assert any("No space left" in line for line in said) and not files(cache)


def test_a_cache_that_cannot_be_written_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "file"))
    assert len(open_source(save_pngs(tmp_path / "a", 6), say=said.append)) == 5
    assert any("cannot be written" in line and "GANTLET_CACHE" in line for line in said)


def test_a_full_disk_holds_small_arrays_in_memory(tmp_path: Path, said: list[str], full_disk: None) -> None:
    save_idx(tmp_path / "train-images-idx3-ubyte.gz", noise((20, 8, 8)))
    assert len(open_source(tmp_path, say=said.append)) == 16
    np.savez(tmp_path / "a.npz", x=noise((20, 8, 8)))
    assert len(open_source(tmp_path / "a.npz", say=said.append)) == 16
    assert sum("held in memory" in line for line in said) == 2
    tar = tarred(save_pngs(tmp_path / "imgs", 4), tmp_path / "a.tar.gz", "w:gz")
    with pytest.raises(InputError, match=r"unpacking it needs room.*GANTLET_CACHE"):
        open_source(tar)


def test_compressed_tars_are_unpacked_once(tmp_path: Path, cache: Path) -> None:
    tar = tarred(save_tree(tmp_path / "tree"), tmp_path / "a.tar.xz", "w:xz")
    content(tar)
    unpacked = list((cache / "unpacked").iterdir())
    assert len(unpacked) == 1
    os.utime(unpacked[0], ns=(5, 5))
    content(tar, size=16)
    assert unpacked[0].stat().st_mtime_ns == 5


def build(source: str, cache: str, out: Any) -> None:
    os.environ["GANTLET_CACHE"] = cache
    torch.set_num_threads(1)
    data = open_source(source)
    out.put(int(data.read(torch.arange(len(data))).long().sum()))


def test_builders_at_the_same_time_do_not_disturb_each_other(tmp_path: Path, cache: Path) -> None:
    source = str(save_pngs(tmp_path, 40))
    context = mp.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=build, args=(source, str(cache), queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    sums = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert sums == {int(content(source).long().sum())}
    assert not [p for p in files(cache) if p.name.endswith(".tmp")]


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GANTLET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gantlet"


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """Every row of a 384 MiB array is read, and stays out of this process."""
    n = 6 * 1024
    array = np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.uint8, shape=(n, 1, 256, 256))
    array[:, 0, 0, :2] = np.arange(n, dtype="<u2").view(np.uint8).reshape(n, 2)
    array.flush()
    del array
    stream = Stream(open_source(tmp_path / "big.npy"), seed=0)
    stream.take(0, 32, torch.device("cpu"))
    before = peak = resident()
    for first in range(0, n, 32):
        stream.take(first, 32, torch.device("cpu"))
        peak = max(peak, resident())
    assert peak - before < 160 << 20


def test_mapped_rows_survive_giving_their_pages_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gantlet.data.cache._RESIDENT", 1 << 17)
    array = noise((64, 16, 16))
    np.save(tmp_path / "a.npy", array)
    mapped = Mapped.npy(tmp_path / "a.npy")
    for rows in np.random.default_rng(0).integers(0, 64, (50, 8)):
        assert np.array_equal(mapped.take(rows), array[rows])
