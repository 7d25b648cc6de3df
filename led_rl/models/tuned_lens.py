"""A tuned lens (Belrose et al., arXiv 2303.08112): one affine map a layer, after which the head can read its states.

Read through the final norm and the LM head as they are, the states of an ordinary model's intermediate layers say
unfinished things: they were never meant to be read there. A tuned lens learns for each layer what is systematically
missing, h + A h + b, by making its readout as near as possible to the model's own output on the model's own text. The
model is not changed. Fitted on a base, it shows in a policy what a layer says in the base's words.

Format and training are those of the tuned-lens package (linear translators that start at zero, KL of the final
distribution from the readout), but for safetensors in place of a pickle. Letters: N rows, D depths, H width, L layers,
V vocabulary, S positions.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from led_rl.errors import UserError
from led_rl.models.config import FitConfig
from led_rl.models.lens import Lens
from led_rl.records import write_json

WEIGHTS, CONFIG = "params.safetensors", "config.json"
LENS_TYPE = "linear_tuned_lens"


class TunedLens(nn.Module):
    """The translators of layers 1..L-1 of one model; zero at first, when it is the plain logit lens.

    Args:
        layers: L.
        width: H.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.layers, self.width = layers, width
        self.translators = nn.ModuleDict({str(layer): _zero(width) for layer in range(1, layers)})

    def translate(self, states: Tensor, layers: Sequence[int]) -> Tensor:
        """States (.., D, H) of the layers named, in order, as the final norm and the head can read them."""
        columns = zip(states.unbind(-2), layers, strict=True)
        return torch.stack([state + self.translators[str(layer)](state) for state, layer in columns], -2)


def fit(
    lens: Lens,
    sequences: Sequence[Sequence[int]],
    config: FitConfig,
    report: Callable[[int, list[float]], None] | None = None,
) -> TunedLens:
    """Fit a tuned lens to a model on token sequences, best of the model's own making.

    Args:
        lens: the model; it is not changed.
        sequences: token ids each, of any lengths.
        config: how.
        report: told the step and every layer's KL in nats, layer 1 first.

    Raises:
        UserError: without sequences, or with one layer, where there is nothing to translate.
    """
    if lens.layers < 2:
        raise UserError("the model has one layer: a tuned lens is for layers before the last")
    width = int(lens.model.config.get_text_config().hidden_size)
    tuned = TunedLens(lens.layers, width).to(device=lens.device, dtype=torch.float32)
    optimizer = torch.optim.Adam(tuned.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, config.steps)
    batches = _batches(sequences, config)
    for step in range(config.steps):
        losses = layer_divergences(lens, tuned, next(batches))
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        schedule.step()
        if report is not None:
            report(step, losses.tolist())
    return tuned.requires_grad_(False).eval()


def layer_divergences(lens: Lens, tuned: TunedLens, sequences: Sequence[Sequence[int]]) -> Tensor:
    """KL(final || readout) in nats, the mean over all positions, of each of layers 1..L-1: (L - 1,)."""
    ids, real = _padded(sequences, lens.device)
    depths = range(lens.layers)
    with torch.no_grad():
        states = {depth: state[real] for depth, state in lens.read(ids, depths).states.items()}
        final = lens.logits(states[0], 0, True).float().log_softmax(-1)
    losses = []
    for layer in range(1, lens.layers):
        depth = lens.layers - layer
        state = states[depth].to(next(tuned.parameters()).dtype).unsqueeze(-2)
        translated = tuned.translate(state, (layer,)).squeeze(-2).to(lens.dtype)
        readout = lens.logits(translated, depth, True).float().log_softmax(-1)
        losses.append((final.exp() * (final - readout)).sum(-1).mean())
    return torch.stack(losses)


def save_tuned_lens(tuned: TunedLens, folder: Path, lens: Lens, facts: dict[str, Any]) -> None:
    """Write the folder: weights, and a config that says which model they are for and how they came about."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {name.removeprefix("translators."): value.contiguous() for name, value in tuned.state_dict().items()}
    partial = folder / f".{WEIGHTS}.partial"
    save_file(names, partial)
    partial.replace(folder / WEIGHTS)
    config = {
        "lens_type": LENS_TYPE,
        "d_model": tuned.width,
        "num_hidden_layers": tuned.layers,
        "bias": True,
        "vocab_size": lens.vocabulary,
    }
    write_json(folder / CONFIG, {**config, **facts})


def load_tuned_lens(folder: str | Path, lens: Lens) -> TunedLens:
    """The tuned lens of a folder, on the model's device, in its dtype. UserError if it is none, or of another shape."""
    path = Path(folder)
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        weights = load_file(path / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"{folder}: no tuned lens can be read there ({str(error).splitlines()[0]}); scripts/fit_lens.py writes one"
        ) from error
    width = int(lens.model.config.get_text_config().hidden_size)
    have = tuple(config.get(name) if isinstance(config, dict) else None for name in ("num_hidden_layers", "d_model"))
    if have != (lens.layers, width):
        raise UserError(
            f"{folder}: a tuned lens for {have[0]} layers of width {have[1]}, and the model has {lens.layers} of width "
            f"{width}; fit one to the base of this model with scripts/fit_lens.py"
        )
    tuned = TunedLens(lens.layers, width)
    shapes = {"weight": (width, width), "bias": (width,)}
    wanted = {f"{layer}.{part}": shape for layer in range(1, lens.layers) for part, shape in shapes.items()}
    if {name: tuple(value.shape) for name, value in weights.items()} != wanted:
        raise UserError(
            f"{folder}: {WEIGHTS} has not one weight and one bias of the right shape for layers 1 to {lens.layers - 1}"
        )
    tuned.load_state_dict({f"translators.{name}": value for name, value in weights.items()})
    return tuned.to(device=lens.device, dtype=lens.dtype).requires_grad_(False).eval()


def _zero(width: int) -> nn.Linear:
    linear = nn.Linear(width, width)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _batches(sequences: Sequence[Sequence[int]], config: FitConfig) -> Iterator[list[Sequence[int]]]:
    """Batches without end: every sequence once, then all again in another order."""
    whole = [sequence for sequence in sequences if len(sequence)]
    if not whole:
        raise ValueError("no text to fit a tuned lens on: give it token sequences")
    generator = torch.Generator().manual_seed(config.seed)
    while True:
        order = torch.randperm(len(whole), generator=generator).tolist()
        for first in range(0, len(order), config.batch):
            yield [whole[index] for index in order[first : first + config.batch]]


def _padded(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids (N, S), padded on the right, where causal attention never looks; and which are real, (N, S) bool."""
    longest = max(len(sequence) for sequence in sequences)
    ids = torch.zeros((len(sequences), longest), dtype=torch.long)
    real = torch.zeros((len(sequences), longest), dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        real[row, : len(sequence)] = True
    return ids.to(device), real.to(device)


def translator_of(readout: str, folder: str | None, lens: Lens) -> TunedLens | None:
    """The tuned lens that LED's settings `readout` and `tuned_lens` ask for; None for the other readouts.

    UserError if the folder is not named, or holds none for this model.
    """
    if readout != "tuned":
        return None
    if folder is None:
        raise UserError("led.readout='tuned' needs led.tuned_lens: the folder that scripts/fit_lens.py wrote")
    return load_tuned_lens(folder, lens)
