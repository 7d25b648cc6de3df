"""The logit lens: a causal language model's residual stream, read through its own final norm and LM head.

The only owner of layer indexing, of the final norm, and of what a family does to logits after the head. Depth counts
from the end: depth 0 is the model's output (layer L, always final-normed; its readout equals `model(...).logits`), and
depth i is the residual stream after layer L - i, as it leaves that layer; depth L is the embeddings.

Letters: B rows, S positions, D depths, H width, V vocabulary, L layers.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import __version__ as _TRANSFORMERS
from transformers.cache_utils import Cache

from led_rl.errors import UserError

_NORM_NAMES = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "final_norm")
_MULTIPLIED_BY = ("logit_scale",)  # Cohere
_DIVIDED_BY = ("logits_scaling",)  # Granite
_SOFT_CAP = "final_logit_softcapping"  # Gemma 2 and 3
# `output_hidden_states=[i, ..]` keeps the states named. Since 5.23 i is an index into hidden_states (embeddings first);
# from 5.17 to 5.22 it counts layers from 0, and the embeddings cannot be named. `check_logits` tries it out.
_BY_LAYER = Version(_TRANSFORMERS) < Version("5.23.0.dev0")


@dataclass(frozen=True)
class Family:
    """How a family of models is read that this module does not know (docs/own_model.md).

    Args:
        model_type: the `model_type` of its config.json.
        norm: where the final norm is below the decoder backbone, such as `norm` or `out.norm`.
        backbone: where the decoder is below the model, such as `transformer`; None: what its `get_decoder` gives.
        logits: what the model does to the product of its head: a function of that product (..., V) and of the model's
            text config; None: nothing.
    """

    model_type: str
    norm: str
    backbone: str | None = None
    logits: Callable[[Tensor, Any], Tensor] | None = None


_FAMILIES: dict[str, Family] = {}


def register_family(family: Family) -> None:
    """Read models of this type so from now on, in this process."""
    _FAMILIES[family.model_type] = family


@dataclass(frozen=True)
class Reading:
    """States of the depths asked for: `states[depth]` is (B, S, H); depth 0 is already normed."""

    states: dict[int, Tensor]


class Lens:
    """One model's readouts. Cheap to make; holds no weights of its own.

    Args:
        model: a decoder-only model of transformers with a residual stream and an LM head; a PEFT wrapper is seen
            through, its adapters stay in force.

    Raises:
        ValueError: if the model has no decoder backbone, final norm or LM head that can be found. (`check_logits` asks
            whether its logits are what this module makes of its last hidden state.)
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = _unwrap(model)
        config = self.model.config
        if getattr(config, "is_encoder_decoder", False):
            raise ValueError(
                f"{type(self.model).__name__} is an encoder-decoder; a decoder-only causal model is needed"
            )
        if getattr(self.model, "_is_stateful", False):
            raise UserError(
                f"{type(self.model).__name__} carries a recurrent state, which the engine's cache cannot hold; "
                "a model of attention layers only is needed"
            )
        text = config.get_text_config()
        if shared := getattr(text, "num_kv_shared_layers", 0):
            raise UserError(
                f"{type(self.model).__name__} has num_kv_shared_layers={shared}: layers that share the keys and values "
                "of others have no place in the engine's cache; a model whose layers each have their own is needed"
            )
        family = _FAMILIES.get(getattr(config, "model_type", ""))
        below = None if family is None or family.backbone is None else _part(self.model, family.backbone, "backbone")
        self.backbone = below or self.model.get_decoder() or self.model.base_model
        head = self.model.get_output_embeddings()
        if family is None:
            norm = next((getattr(self.backbone, name) for name in _NORM_NAMES if hasattr(self.backbone, name)), None)
        else:
            norm = _part(self.backbone, family.norm, "norm")
        if self.backbone is self.model or head is None or norm is None:
            missing = "an LM head" if head is None else "a final norm" if norm is None else "a decoder backbone"
            raise UserError(
                f"{type(self.model).__name__} shows no sign of {missing}; intermediate layers can be read only in a "
                "causal model with a residual stream, a final norm and an LM head. If it has them under other names, "
                "say so with --family (docs/own_model.md)"
            )
        self.head: nn.Module = head
        self.norm: nn.Module = norm
        self.layers = int(text.num_hidden_layers)
        self.vocabulary = int(getattr(head, "out_features", text.vocab_size))
        self._text, self._own_logits = text, None if family is None else family.logits
        self._scale, self._soft_cap = 1.0, None
        if family is not None:  # says itself what is done to logits
            return
        self._soft_cap = getattr(text, _SOFT_CAP, None)
        for name in _MULTIPLIED_BY:
            self._scale *= getattr(text, name, None) or 1.0
        for name in _DIVIDED_BY:
            self._scale /= getattr(text, name, None) or 1.0

    @property
    def device(self) -> torch.device:
        return next(self.head.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.head.parameters()).dtype

    @property
    def context(self) -> int | None:
        """Tokens that a prompt and its completion may have together; None where the model does not say."""
        context: int | None = getattr(self._text, "max_position_embeddings", None)
        return context

    @property
    def cache_layers(self) -> int:
        """Layers that a key-value cache for `read` must have."""
        return self.layers

    def embed(self, tokens: Tensor) -> Tensor:
        """Input embeddings of tokens (...,) -> (..., H), as the backbone expects them in `inputs_embeds`."""
        embedded: Tensor = self.model.get_input_embeddings()(tokens)
        return embedded

    def read(
        self,
        input_ids: Tensor | None,
        depths: Sequence[int],
        *,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        last_only: bool = False,
    ) -> Reading:
        """One forward pass of the backbone, keeping only the depths asked for.

        Args:
            input_ids: (B, S), or None where `inputs_embeds` (B, S, H) are given.
            depths: each in 0..L; depth 0 is always read.
            inputs_embeds: what `embed` gives, or mixtures of it.
            attention_mask: (B, columns so far + S), 1 where a column is a token, or None where all are.
            position_ids: (B, S), or None for 0..S-1.
            cache: keys and values so far; it grows by S columns.
            last_only: keep only the last position, (B, H).
        """
        self.check_depths(depths)
        below = [depth for depth in depths if depth > 0]
        output = self.backbone(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
            output_hidden_states=self._named(below),
            return_dict=True,
        )
        states = {0: output.last_hidden_state, **self._of(below, output)}
        if last_only:
            states = {depth: state[:, -1] for depth, state in states.items()}
        return Reading(states)

    def logits(self, state: Tensor, depth: int, final_norm: bool) -> Tensor:
        """Logits (..., V) of a state (..., H) of this depth. `final_norm` matters at depth > 0 only."""
        if depth > 0 and final_norm:
            state = self.norm(state)
        logits: Tensor = self.head(state)
        if self._own_logits is not None:
            return self._own_logits(logits, self._text)
        if self._scale != 1.0:
            logits = logits * self._scale
        if self._soft_cap is not None:
            logits = torch.tanh(logits / self._soft_cap) * self._soft_cap
        return logits

    def _named(self, depths: Collection[int]) -> Any:
        """What `output_hidden_states` has to be for these depths, each at least 1."""
        if not depths:
            return False
        if _BY_LAYER:
            return True if self.layers in depths else [self.layers - 1 - depth for depth in depths]
        return [-1 - depth for depth in depths]

    def _of(self, depths: Collection[int], output: Any) -> dict[int, Tensor]:
        """Their states in a backbone's output; RuntimeError where one is not there."""
        # From the end both conventions agree; the last state is the normed output wherever it is kept.
        kept = output.hidden_states or ()
        states = {}
        for depth in depths:
            state = kept[-1 - depth] if depth < len(kept) else None
            if state is None:
                raise RuntimeError(
                    f"transformers {_TRANSFORMERS} gave no state for depth {depth} of {type(self.model).__name__}: "
                    "led_rl.models.lens does not know how this release names hidden states; use 5.17 to 5.23"
                )
            states[depth] = state
        return states

    def check_depths(self, depths: Sequence[int]) -> None:
        """UserError, naming the remedy, if the model has no such layer."""
        if depths and not (min(depths) >= 0 and max(depths) <= self.layers):
            raise UserError(
                f"depths {sorted(depths)} reach beyond the {self.layers} layers of the model: depth 0 is its last "
                f"layer, depth {self.layers} its embeddings; lower led.depth"
            )

    def check_logits(self) -> None:
        """Compare depth 0 with the model's own logits, and every other depth with a pass that keeps all states, on a
        few tokens; ValueError if they differ: an unknown family, or a release of transformers that names states in a
        way of its own."""
        # Spread over the vocabulary: a padding token's embedding may be zero, and zero logits fit any rule.
        input_ids = torch.linspace(0, self.vocabulary - 1, 8, device=self.device).long().unsqueeze(0)
        depths = range(1, self.layers)
        with evaluating(self.model), torch.no_grad():
            reading = self.read(input_ids, depths).states
            ours = self.logits(reading[0], 0, True)
            theirs = self.model(input_ids=input_ids, use_cache=False).logits
            every = self.backbone(input_ids=input_ids, use_cache=False, output_hidden_states=True).hidden_states
        bad = next((tuple(state.shape) for state in reading.values() if state.ndim != 3), None)
        if bad is not None:
            raise UserError(
                f"{type(self.model).__name__} gives a layer's states the shape {bad}, several streams in place of one "
                "state a token (rows, tokens, width): readouts of its layers are not defined; choose another model"
            )
        if not _close(ours, theirs):
            raise UserError(
                f"{type(self.model).__name__} does to its logits what led_rl.models.lens does not know: readouts of "
                "its layers would be wrong. Say with --family what it does (docs/own_model.md)"
            )
        wrong = [depth for depth in depths if not _close(reading[depth], every[self.layers - depth])]
        if len(every) != self.layers + 1 or wrong:
            raise ValueError(
                f"{type(self.model).__name__} with transformers {_TRANSFORMERS} gives other states for depths "
                f"{wrong or 'unknown'} than a pass that keeps all of them: readouts of its layers would be wrong. Use "
                "transformers 5.17 to 5.23, and a family whose decoder keeps one state per layer."
            )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout inside; afterwards in the mode that the model was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _close(ours: Tensor, theirs: Tensor) -> bool:
    # A broken weight makes some numbers NaN or infinite, in both: that is for whoever draws from them to say.
    known = ours.isfinite() & theirs.isfinite()
    ours, theirs = ours[known], theirs[known]
    if not theirs.numel():
        return True
    scale = float(theirs.float().abs().max())
    return torch.allclose(ours.float(), theirs.float(), rtol=1e-3, atol=1e-3 * scale)


def _part(module: nn.Module, path: str, what: str) -> nn.Module:
    """The module at a path that a family names; UserError if there is none."""
    try:
        return module.get_submodule(path)
    except AttributeError as error:
        names = ", ".join(name for name, _ in module.named_children())
        raise UserError(
            f"the family's {what}={path!r} is not in {type(module).__name__}, which has {names or 'no modules'}"
        ) from error


def _unwrap(model: nn.Module) -> PreTrainedModel:
    inner: Any = model
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        inner = inner.get_base_model()
    if not isinstance(inner, PreTrainedModel):
        raise ValueError(f"{type(model).__name__} is not a model of transformers; load one with AutoModelForCausalLM")
    return inner
