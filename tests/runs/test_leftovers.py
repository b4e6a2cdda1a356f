"""What a killed write leaves behind is cleared by the next one."""

import torch

from gantlet.runs import checkpoint


def test_half_written_states_are_never_read_and_are_cleared(tmp_path):
    half = tmp_path / ".step-00000007.123"
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"half")
    assert checkpoint.states(tmp_path) == []
    checkpoint.save({"game": {"w": torch.ones(2)}}, tmp_path, 8)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000008"]
