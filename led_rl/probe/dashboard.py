"""TensorBoard's first page: the story of a run in a few charts, its lines in colours of their own.

TensorBoard colours runs, not tags: two tags of one run look the same. So what belongs in one chart in two colours is
written as two runs under `tb/`: `tb/final` and `tb/intermediate` here, one run an arm in `led_rl.eval.tensorboard`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

BY_DEPTH = "entropy_by_depth"
TEXTS = {"own": "own samples", "reference": "reference text"}

# Category -> chart -> tags, as regular expressions from the tag's beginning. TensorBoard joins what several runs say of
# a category: an evaluation adds its charts of pass@1 and pass@16.
STORY = "the story"
LAYOUT: Mapping[str, Mapping[str, Sequence[Any]]] = {
    STORY: {
        "entropy of the final and of the intermediate layers (own samples, nats)": ["Multiline", [f"{BY_DEPTH}/own"]],
        "reward": ["Multiline", ["train/reward$"]],
        "completion length (tokens)": ["Multiline", ["train/completions/mean_length$"]],
        "share of groups that teach nothing": ["Multiline", ["train/frac_reward_zero_std$"]],
    },
    "every layer": {
        "through the final norm (own samples, nats)": ["Multiline", ["with_norm_own/layer_"]],
        "without the norm (own samples, nats)": ["Multiline", ["without_norm_own/layer_"]],
    },
}


def accuracy_layout(k: int, temperature: float) -> tuple[str, Sequence[Any]]:
    """The chart of pass@k at one temperature: its title and its tags."""
    return f"pass@{k} at T = {temperature:g}, an arm a line", ["Multiline", [f"pass_at_{k}/T{temperature:g}$"]]


def layer_group(row: Mapping[str, Any]) -> str:
    """The tag group of a probe row's layers. It comes after `train` in the alphabet, so that forty cards of layers do
    not stand before the curves of training."""
    return f"{'with' if row['final_norm'] else 'without'}_norm_{row['text']}"


def show_by_depth(tensorboard: Path | str, history: Sequence[Mapping[str, Any]], step_key: str) -> None:
    """Final and intermediate entropy (through the final norm) as two runs, drawn anew from all rows so far."""
    rows = [row for row in history if row["final_norm"]]
    if not rows:
        return
    first = min(row[step_key] for row in rows)
    for name in ("final", "intermediate"):
        # What earlier files of this run hold from `first` on is dropped by its reader.
        with SummaryWriter(str(Path(tensorboard) / name), purge_step=first) as writer:
            for row in rows:
                writer.add_scalar(f"{BY_DEPTH}/{row['text']}_nats", row[f"entropy_{name}_nats"], row[step_key])
