"""`Led<Architecture>`: vLLM's own model class, its output widened by the residual streams of the layers LED reads.

    forward          (N, H) -> (N, (1 + w) H): [final-normed output | depth 1 | ... | depth w]
    compute_logits   of the rows to sample (R, (1 + w) H): logits of depth 0; the rest is kept for the processor

vLLM cuts a model's output to the rows it samples before it calls `compute_logits` (eager, with piecewise and full CUDA
graphs, in both model runners), so the states of the other layers are cut with it, and no runner is patched. LM head,
soft cap, scale and the gather of tensor parallelism stay vLLM's: a readout is one more call of the parent's
`compute_logits`.

Letters: N tokens of a step, R rows sampled, P readouts, H width, V vocabulary, w window (depths handed out).
"""

import functools
import importlib
import weakref
from typing import Any

import torch
from torch import Tensor

from led_rl.errors import UserError
from led_rl.serving.plugin import ARCHITECTURES, PREFIX, READOUT_VALUES

# The processor finds the model that works for the same engine here, by the engine's `instance_id`.
_MODELS: "weakref.WeakValueDictionary[str, LEDModel]" = weakref.WeakValueDictionary()


def model_of(instance_id: str) -> "LEDModel":
    """The model of this process's part of an engine. UserError if the engine was started without LED's model class."""
    model = _MODELS.get(instance_id)
    if model is None:
        raise UserError(
            "this engine samples a LED request, but its model hands out no layers: start it with "
            "led_rl.serving.engine_args(..) or led-serve"
        )
    return model


class LEDModel(torch.nn.Module):
    """What is added to vLLM's class: a mixin in front of it."""

    led_states: Tensor | None = None
    led_width: int
    led_window: int
    led_reads: bool = False  # whether this pipeline stage hands out layers

    def led_setup(self, vllm_config: Any) -> None:
        """Called once the parent is built: ask it for the layers. UserError where LED cannot run."""
        check_engine(vllm_config)
        text = vllm_config.model_config.hf_text_config
        layers, depth = text.num_hidden_layers, engine_depth(vllm_config)
        self.led_width, self.led_window = text.hidden_size, min(depth, layers - 1)
        self.led_reads = self.led_window > 0 and _last_stage()
        if self.led_reads:
            first = layers - self.led_window
            backbone: Any = self.model
            if _stages() > 1 and not getattr(backbone, "supports_aux_hidden_states_over_pp", False):
                raise UserError(
                    f"{type(self).__name__}: vLLM numbers this family's layers anew in each pipeline stage, so LED "
                    "would read other layers than asked for: use --pipeline-parallel-size 1 and more tensor parallelism"
                )
            # Layer i's output is known to the stage that runs layer i; the first stage knows the embeddings too.
            if _stages() > 1 and backbone.start_layer >= first:
                raise UserError(
                    f"depth={depth}: LED reads the last {self.led_window + 1} layers, and the last pipeline stage "
                    f"holds {layers - backbone.start_layer}: lower the depth, or use fewer stages"
                )
            if not hasattr(backbone, "norm"):
                raise UserError(f"{type(self).__name__}: no final norm is known for this family, so LED cannot read it")
            self.set_aux_hidden_state_layers(tuple(range(first, layers)))  # type: ignore[operator]
        _MODELS[vllm_config.instance_id] = self

    def led_widen(self, output: Any) -> Any:
        """The parent's output as one tensor. (N, H) and w times (N, H) -> (N, (1 + w) H)."""
        if not isinstance(output, tuple):
            if self.led_reads:
                raise UserError(
                    f"{type(self).__name__}: vLLM's class of this family hands out no layer outputs, though it says "
                    "so, and LED cannot read it: use led_rl's own engine"
                )
            return output
        final, layers = output
        if len(layers) != self.led_window or any(state.shape != final.shape for state in layers):
            raise RuntimeError(
                f"{type(self).__name__} gave layer outputs {[tuple(state.shape) for state in layers]} beside "
                f"{tuple(final.shape)}; LED reads {self.led_window} of that shape"
            )
        return torch.cat([final, *reversed(layers)], -1)

    def compute_logits(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        parent: Any = super()
        if hidden_states.shape[-1] == self.led_width:
            return parent.compute_logits(hidden_states, *args, **kwargs)
        self.led_states = hidden_states[:, self.led_width :]
        return parent.compute_logits(hidden_states[:, : self.led_width].contiguous(), *args, **kwargs)

    def led_readouts(self, rows: Tensor, depths: Tensor, normed: Tensor) -> list[Tensor]:
        """Logits of the last step's sampled rows at depths from 1 on: one product with the head for all of them, in
        parts where their logits would take too much memory.

        Args:
            rows, depths: (P,) int64.
            normed: (P,) bool, where the final norm comes first.

        Returns:
            (P, V), as a list of parts.
        """
        if self.led_states is None:
            raise RuntimeError("no layer states are known: the last compute_logits had none")
        parent: Any = super()
        states = self.led_states.unflatten(-1, (-1, self.led_width))[rows, depths - 1]
        norm: Any = self.model.norm  # type: ignore[union-attr]
        # MiniCPM's head expects states divided by this, which its forward does to the final one alone.
        states = torch.where(normed.unsqueeze(-1), norm(states), states) / getattr(self, "scale_width", 1.0)
        vocabulary: Any = self.config.vocab_size  # type: ignore[union-attr]
        return [parent.compute_logits(part) for part in states.split(max(1, READOUT_VALUES // int(vocabulary)))]


def engine_depth(vllm_config: Any) -> int:
    """The depth an engine was started with. It is part of `additional_config`, which the compile cache is keyed on: a
    graph that was compiled for another depth has other outputs."""
    return int((vllm_config.additional_config or {})["led"]["depth"])


def check_engine(vllm_config: Any) -> None:
    """UserError on engine arguments that LED does not go with."""
    if not isinstance(vllm_config.additional_config, dict) or "led" not in vllm_config.additional_config:
        raise UserError("additional_config={'led': {'depth': ..}} is missing: start it with led_rl.serving.engine_args")
    if vllm_config.speculative_config is not None:
        raise UserError(
            "speculative decoding checks drafts against the final layer alone, which LED does not sample from: leave "
            "--speculative-config out"
        )
    if vllm_config.lora_config is not None:
        raise UserError("LoRA adapters have a head of their own kind, which LED's readouts do not know: merge them")
    parallel = vllm_config.parallel_config
    if getattr(parallel, "prefill_context_parallel_size", 1) > 1:
        raise UserError(
            "prefill context parallelism deals a prompt's tokens to ranks, and LED's states with them: use 1"
        )


def _stages() -> int:
    from vllm.distributed import get_pp_group

    return int(get_pp_group().world_size)


def _last_stage() -> bool:
    from vllm.distributed import get_pp_group

    return bool(get_pp_group().is_last_rank)


@functools.cache
def led_class(name: str) -> type:
    """`Led<name>`, made of vLLM's class of that architecture."""
    from vllm.model_executor.models.registry import ModelRegistry

    entry: Any = ModelRegistry.models[name]
    module = getattr(entry, "module_name", None)
    base: Any = getattr(importlib.import_module(module), entry.class_name) if module else entry.model_cls
    init, forward = base.__init__, base.forward

    # vLLM reads both signatures to learn what a model supports, so they stay the parent's.
    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.led_setup(kwargs["vllm_config"])

    @functools.wraps(forward)
    def wide_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.led_widen(forward(self, *args, **kwargs))

    def absent(self: Any) -> Any:
        raise AttributeError("compute_logits_local")

    # Without compute_logits_local vLLM leaves off sampling a batch in shards: a shard's rows would not be the states'.
    body = {"__init__": __init__, "forward": wide_forward, "compute_logits_local": property(absent)}
    return type(PREFIX + name, (LEDModel, base), {**body, "__module__": __name__})


def __getattr__(name: str) -> type:
    if name.startswith(PREFIX) and name.removeprefix(PREFIX) in ARCHITECTURES:
        return led_class(name.removeprefix(PREFIX))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
