"""Known weight files: where they are looked for, what is refused, what is kept. The network here is this machine's."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Event, Thread

import pytest
import torch
from torch import Tensor, nn

from gantlet.core.errors import InputError
from gantlet.metrics.fetch import Known, fetch, load, read_state, sha256_of

STATE = {"body.weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(7)}


def packed(state: object) -> bytes:
    file = BytesIO()
    torch.save(state, file)
    return file.getvalue()


DATA = packed(STATE)
SHA = hashlib.sha256(DATA).hexdigest()


class Site(ThreadingHTTPServer):
    """Serves files by path; `short` ones end early, `slow` ones never come."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {"/net.pth": DATA, "/short.pth": DATA, "/slow.pth": DATA}
        self.asked: list[str] = []
        self.over = Event()

    def known(self, path: str = "net.pth", sha256: str = SHA) -> Known:
        return Known("net.pth", f"http://127.0.0.1:{self.server_port}/{path}", sha256)


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/moved.pth":
            self.send_response(302)
            self.send_header("Location", "/net.pth")
            self.end_headers()
            return
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        if self.path == "/slow.pth":
            self.server.over.wait(5)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2 if self.path == "/short.pth" else None])

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no folder of weights, no proxy."""
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "cache"))
    for name in ("GANTLET_WEIGHTS", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "weights"


def same(state: dict[str, Tensor]) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(t, STATE[name]) for name, t in state.items())


@pytest.mark.parametrize("path", ["net.pth", "moved.pth"])
@pytest.mark.parametrize("digits", [64, 8])
def test_it_is_downloaded_once_and_kept_as_safetensors(site: Site, cache: Path, path: str, digits: int) -> None:
    said: list[str] = []
    known = site.known(path, SHA[:digits])
    assert same(fetch(known, log=said.append)) and "net.pth" in said[0]
    asked = list(site.asked)
    assert [p.name for p in cache.iterdir()] == [f"net.{SHA[: min(digits, 16)]}.safetensors"]
    assert same(fetch(known, log=said.append)) and len(said) == 1
    assert site.asked == asked


def test_the_folder_comes_first_and_is_left_as_it_is(
    site: Site, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    (tmp_path / "net.pth").write_bytes(DATA)
    assert same(fetch(site.known())) and site.asked == []
    assert (tmp_path / "net.pth").read_bytes() == DATA and len(list(cache.iterdir())) == 1
    (tmp_path / "net.pth").write_bytes(b"something else")
    with pytest.raises(InputError) as error:
        fetch(site.known())
    assert all(part in str(error.value) for part in (str(tmp_path / "net.pth"), SHA[:16], site.known().url, "replace"))


def test_a_file_put_into_the_cache_is_taken(site: Site, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "net.pth").write_bytes(DATA)
    assert same(fetch(site.known())) and site.asked == []
    assert [p.suffix for p in cache.iterdir()] == [".safetensors"]


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_cache_is_fetched_anew(site: Site, cache: Path, harm: str) -> None:
    said: list[str] = []
    fetch(site.known(), log=said.append)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes({"flip": whole[:-1] + bytes([whole[-1] ^ 1]), "cut": whole[:-4], "empty": b""}[harm])
    assert same(fetch(site.known(), log=said.append)) and kept.read_bytes() == whole
    assert len(site.asked) == 2 and "damaged" in said[1]


@pytest.mark.parametrize(
    ("path", "sha256", "says"),
    [
        ("net.pth", "0" * 64, f"its sha256 is {SHA[:16]}..., not {'0' * 16}"),
        ("short.pth", SHA, f"it ended after {len(DATA) // 2} of {len(DATA)} bytes"),
        ("gone.pth", SHA, "Not Found"),
        ("slow.pth", SHA, "timed out"),
    ],
)
def test_a_download_that_fails_leaves_nothing(site: Site, cache: Path, path: str, sha256: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        fetch(site.known(path, sha256), log=lambda _: None, timeout=0.3)
    text = str(error.value)
    assert all(part in text for part in (says, site.known(path).url, sha256[:16]))
    assert list(cache.glob("*")) == []


def test_without_a_network(site: Site, cache: Path) -> None:
    known = site.known()
    site.shutdown()
    site.server_close()
    with pytest.raises(InputError) as error:
        fetch(known, log=lambda _: None)
    text = str(error.value)
    assert all(part in text for part in ("refused", str(cache), "GANTLET_WEIGHTS", SHA[:16], known.url))
    assert len(text.splitlines()) == 1


def test_a_cache_that_cannot_be_written(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANTLET_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot be kept.*set GANTLET_CACHE"):
        fetch(site.known(), log=lambda _: None)
    monkeypatch.setenv("GANTLET_WEIGHTS", str(tmp_path))
    (tmp_path / "net.pth").write_bytes(DATA)
    assert same(fetch(site.known()))


class Harm:
    """What a pickle may run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.mark,))


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    for name, data in {
        "torch": packed({"a": Harm(tmp_path / "ran")}),
        "bare": pickle.dumps(Harm(tmp_path / "ran")),
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="no file of tensors"):
            read_state(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.pth", packed({"a": torch.zeros(1), "epoch": 3}), "more than names and tensors"),
        ("a.pth", packed([torch.zeros(1)]), "more than names and tensors"),
        ("a.pth", DATA[:-100], "no file of tensors"),
        ("a.pth", b"", "no file of tensors"),
        ("a.safetensors", b"{}", "no file of tensors"),
    ],
)
def test_files_that_are_no_state(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=says):
        read_state(tmp_path / name)
    with pytest.raises(InputError, match=r"no weight file .*b\.pth"):
        read_state(tmp_path / "b.pth")


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_loading_says_what_does_not_fit() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {name: torch.ones_like(t) for name, t in net.state_dict().items()}
    old = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    load(net, old, "old.pth")
    assert float(net[0].weight.detach().sum()) == 6 and int(net.state_dict()["1.num_batches_tracked"]) == 0
    for wrong, says in (
        ({k: v for k, v in state.items() if k != "0.bias"}, "net.pth lacks 1 tensors, first 0.bias"),
        ({**state, "2.bias": torch.ones(1)}, "has no use for 1 tensors, first 2.bias"),
        ({**state, "0.bias": torch.ones(4)}, "another shape of 1 tensors, first 0.bias"),
    ):
        with pytest.raises(InputError, match=says):
            load(net, wrong, "net.pth")
