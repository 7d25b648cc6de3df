"""Which accelerators can run led_rl at all."""

import torch

from led_rl.errors import UserError


def check_accelerator(asked: str = "auto", remedy: str = "--accelerator cpu") -> None:
    """UserError if this names Apple's GPU, or would choose it: it has no float64, in which draws are made.

    Args:
        asked: auto, cpu, gpu, cuda, mps, as Lightning takes them.
        remedy: the option that chooses the CPU.
    """
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if asked == "mps" or (asked in ("auto", "gpu") and found is not None and found.type == "mps"):
        raise UserError(
            f"accelerator={asked}: Apple's GPU (mps) has no float64, which tokens are drawn in; use the CPU: {remedy}"
        )
