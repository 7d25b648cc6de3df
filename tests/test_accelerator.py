"""Apple's GPU is refused in one line: it has no float64, and the first draw failed with torch's own error."""

import pytest
import torch

from led_rl.errors import UserError
from led_rl.models.accelerator import check_accelerator


def test_an_apple_gpu_is_refused_by_name_and_where_it_would_be_chosen(monkeypatch):
    with pytest.raises(UserError, match=r"accelerator=mps: .* no float64.* use the CPU: --accelerator cpu"):
        check_accelerator("mps")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    for asked in ("auto", "gpu"):
        with pytest.raises(UserError, match="use the CPU: --grpo"):
            check_accelerator(asked, "--grpo.use_cpu true")
    check_accelerator("cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    check_accelerator()
