"""What LED's readouts cost on a big model: memory, arithmetic and time, counted, not measured.

    python -m led_rl.serving.cost       # the table of docs/scale.md

Letters: B rows of a step, N tokens of a prefill step, d depth, H width, V vocabulary.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from led_rl.serving.plugin import READOUT_VALUES

GIB = 2**30
BYTES = 2  # of a weight, a state or a logit in 16 bits


@dataclass(frozen=True)
class Model:
    """A model, by what counts here. `parameters` are those that a token passes through, the head included."""

    name: str
    layers: int
    width: int
    vocabulary: int
    parameters: float


@dataclass(frozen=True)
class Device:
    """One accelerator: dense 16-bit arithmetic and memory bandwidth by its data sheet, and the share of each that is
    reached."""

    name: str
    flops: float
    bytes_per_s: float
    reached: float = 0.5


@dataclass(frozen=True)
class Cost:
    """Of one step, for one of the ranks of tensor parallelism.

    Attributes:
        states_gib: layer states that travel in the model's output in a prefill step, and the copies they are joined of.
        logits_gib: most memory of the readouts' logits at once, in 16 bits and in float32.
        gathered_gib: logits that the ranks exchange for the readouts.
        readout_flops, forward_flops: of the readouts and of the model itself, in a decoding step.
        readout_s, forward_s: seconds of the same, whichever of arithmetic and memory takes longer.
    """

    states_gib: float
    logits_gib: float
    gathered_gib: float
    readout_flops: float
    forward_flops: float
    readout_s: float
    forward_s: float

    @property
    def slowdown(self) -> float:
        """Seconds with readouts per second without."""
        return 1.0 + self.readout_s / self.forward_s


QWEN3_4B = Model("Qwen3-4B", 36, 2560, 151_936, 4.02e9)
QWEN3_32B = Model("Qwen3-32B", 64, 5120, 151_936, 32.8e9)
H100 = Device("H100 SXM", 989e12, 3.35e12)


def readout_cost(
    model: Model,
    device: Device,
    depth: int = 8,
    rows: int = 256,
    read: float = 1.0,
    prefill_tokens: int = 8192,
    ranks: int = 1,
) -> Cost:
    """Count it.

    Args:
        read: share of the rows whose layers are read: 1 where log q is wanted, else about the explored rate.
        rows: requests of a decoding step, B.
        prefill_tokens: tokens of a prefill step, N.
        ranks: of tensor parallelism, which share the head's vocabulary.
    """
    readouts = rows * read * (depth - 1)
    values = readouts * model.vocabulary
    width, head = model.width, model.width * model.vocabulary / ranks
    # The widened output, and the layers' states that it is joined of: every rank holds all of both.
    states = prefill_tokens * ((1 + depth) + depth) * width * BYTES
    held = min(values, READOUT_VALUES)
    readout_flops = 2 * readouts * head
    forward_flops = 2 * rows * model.parameters / ranks
    # Logits are written, read for the softmax in float32 and gathered from: 16 bits once, 32 bits twice.
    readout_bytes = (head * BYTES if readouts else 0.0) + values * (BYTES + 2 * 4)
    forward_bytes = model.parameters / ranks * BYTES
    return Cost(
        states_gib=states / GIB,
        logits_gib=held * (BYTES + 4) / GIB,
        gathered_gib=values * BYTES * (ranks - 1) / ranks / GIB,
        readout_flops=readout_flops,
        forward_flops=forward_flops,
        readout_s=_seconds(readout_flops, readout_bytes, device),
        forward_s=_seconds(forward_flops, forward_bytes, device),
    )


def _seconds(flops: float, moved: float, device: Device) -> float:
    return max(flops / device.flops, moved / device.bytes_per_s) / device.reached


def table() -> str:
    """The table of docs/scale.md, in Markdown."""
    head = (
        "| model | ranks | rows read | states in prefill, GiB | logits at once, GiB | exchanged, GiB | "
        "readouts, TFLOP | forward, TFLOP | readouts, ms | forward, ms | slowdown |"
    )
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for model, ranks in ((QWEN3_4B, 1), (QWEN3_4B, 2), (QWEN3_32B, 8)):
        for read in (1.0, 0.1):
            cost = readout_cost(model, H100, read=read, ranks=ranks)
            cells = [
                model.name,
                str(ranks),
                f"{read:.0%}",
                f"{cost.states_gib:.2f}",
                f"{cost.logits_gib:.2f}",
                f"{cost.gathered_gib:.2f}",
                f"{cost.readout_flops / 1e12:.2f}",
                f"{cost.forward_flops / 1e12:.2f}",
                f"{1e3 * cost.readout_s:.1f}",
                f"{1e3 * cost.forward_s:.1f}",
                f"{cost.slowdown:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
