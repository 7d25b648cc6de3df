"""LED inside `model.generate`: `custom_generate=led_generate`.

    outputs = model.generate(**inputs, do_sample=True, custom_generate=led_generate, led_depth=8, led_top_k=20)

Temperature is applied once, to every layer; top-p and min-p of the generation config restrict LED's support further;
every other logits processor acts on the final layer's logits. LED's k replaces transformers' top_k (default 50).
"""

from collections.abc import Sequence
from typing import Any, Literal
from weakref import WeakSet

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, StoppingCriteriaList
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.utils import GenerateDecoderOnlyOutput

from led_rl.decoding.led import LED
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.samplers import Draw, LogitsHook, Step, Truncation
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.thinking import ThinkTokens

_OURS = (TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper)


def led_generate(
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: LogitsProcessorList | None = None,
    stopping_criteria: StoppingCriteriaList | None = None,
    generation_config: GenerationConfig | None = None,
    led_depth: int | None = 8,
    led_top_k: int = 20,
    led_final_norm: bool = False,
    led_layer_set: Literal["last", "skip_penultimate"] = "last",
    led_exploit: bool = True,
    led_coin: Literal["final", "latent"] = "final",
    led_coin_factor: float = 1.0,
    led_layer: int | None = None,
    led_think_start_token_id: int | None = None,
    led_think_end_token_id: int | None = None,
    **model_kwargs: Any,
) -> Tensor | GenerateDecoderOnlyOutput:
    """Sample with Latent Exploration Decoding; transformers calls this after preparing everything.

    Args:
        model: a decoder-only causal model.
        input_ids: (B, S), left-padded; S >= 1. After a cache they are all tokens so far or, below a wider mask, only
            those that follow it.
        logits_processor: temperature, top-k, top-p and min-p among them are replaced by LED's; the rest is honoured.
        stopping_criteria: decides when a row is done.
        generation_config: temperature, top_p, min_p, output flags.
        led_depth: layers accumulated; None takes min(8, half of the layers).
        led_top_k: size of the support.
        led_final_norm: apply the final norm to intermediate states.
        led_layer_set: `last` or `skip_penultimate`.
        led_exploit: keep the exploit branch.
        led_coin: explore where the final layer doubts (`final`, the paper's), or where the layers do (`latent`).
        led_coin_factor: multiplies the probability of exploring.
        led_layer: explore with this layer's readout alone, counted from the first, 1; None: with the accumulated ones.
        led_think_start_token_id: id of `<think>`; None: a prompt has opened the thinking, unless it holds `</think>`.
        led_think_end_token_id: id of `</think>`; None: the whole response counts as thinking.
        model_kwargs: what else transformers prepared; of it, `attention_mask` (B, S), None where nothing is padding,
            and `past_key_values`, the cache to fill, are used. (Named parameters would reach this function twice.)

    Returns:
        Sequences (B, S + new), or with `return_dict_in_generate` an output whose `scores` are log q over the
        vocabulary, -inf off the support, one (B, V) a token.

    Raises:
        ValueError: where the model does to its logits what the lens does not know (looked at once a model), without
            do_sample or stopping criteria, on beams, on inputs_embeds, on a mask that is padded on the
            right or does not fit the prompt, where the model has too few layers or tokens, or on NaN and +inf logits.
    """
    config = generation_config or GenerationConfig(do_sample=True)
    if not config.do_sample:
        raise ValueError("led_generate samples, and do_sample is False: pass do_sample=True")
    if (config.num_beams or 1) != 1:
        raise ValueError(f"num_beams={config.num_beams}: LED is a sampler; use num_beams=1")
    if not stopping_criteria:
        raise ValueError(
            "there are no stopping criteria, so sampling would never end: call model.generate(custom_generate="
            "led_generate, max_new_tokens=..), which sets them"
        )
    if model_kwargs.get("inputs_embeds") is not None:
        raise ValueError("inputs_embeds are given, and led_generate reads token ids: pass input_ids alone")
    if input_ids.shape[1] == 0:
        raise ValueError("the prompt is empty: a completion needs at least one token to continue")
    lens = _checked(model)
    truncation = Truncation(
        1.0 if config.temperature is None else config.temperature,
        top_p=1.0 if config.top_p is None else config.top_p,
        min_p=config.min_p or 0.0,
    )
    led = LED(
        led_depth,
        led_top_k,
        led_final_norm,
        led_layer_set,
        think_only=led_think_end_token_id is not None,
        exploit=led_exploit,
        coin=led_coin,
        coin_factor=led_coin_factor,
        readout="cumulative" if led_layer is None else "layer",
        layer=led_layer,
    )
    sampler = LEDSampler.of(led, truncation, lens)
    processors = LogitsProcessorList(p for p in logits_processor or [] if not isinstance(p, _OURS))
    wants = bool(config.return_dict_in_generate)
    keep_scores, keep_logits = wants and bool(config.output_scores), wants and bool(config.output_logits)
    rows, device = input_ids.shape[0], input_ids.device
    # The user's torch.manual_seed governs: it draws the keys, and everything else derives from them.
    keys = torch.randint(2**62, (rows,), dtype=torch.long).to(device)
    think = ThinkTokens(led_think_start_token_id, led_think_end_token_id)
    thinking = torch.tensor([think.open_after(row) for row in input_ids.tolist()], device=device)
    given_mask, given_cache = model_kwargs.get("attention_mask"), model_kwargs.get("past_key_values")
    cache = given_cache if isinstance(given_cache, Cache) else DynamicCache()
    pad = _pad_token(config)
    sequences: Any = input_ids
    fed, mask = _unread(input_ids, given_mask, int(cache.get_seq_length()), config)
    running = torch.ones(rows, dtype=torch.bool, device=device)
    scores: list[Any] = []
    raw: list[Any] = []
    new = 0
    while True:
        places = (mask.cumsum(-1) - 1).clamp_min(0)[:, -fed.shape[1] :]
        reading = lens.read(fed, sampler.depths, attention_mask=mask, position_ids=places, cache=cache, last_only=True)
        step = Step(
            states=reading.states,
            keys=keys,
            positions=torch.full_like(keys, new),
            thinking=thinking,
            record=keep_scores,
            hook=_hook(processors, sequences, raw if keep_logits else None),
        )
        draw = sampler.draw(step, lens)
        if keep_scores:
            scores.append(_log_q(draw, lens.vocabulary))
        tokens = torch.where(running, draw.tokens, pad)
        sequences = torch.cat([sequences, tokens.unsqueeze(-1)], -1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], -1)
        thinking = think.after(thinking, tokens)
        new += 1
        done = stopping_criteria(sequences, tuple(scores) or None)
        running = running & ~done
        if not bool(running.any()):
            break
        fed = tokens.unsqueeze(-1)
    if not wants:
        ids: Tensor = sequences
        return ids
    return GenerateDecoderOnlyOutput(
        sequences=sequences,
        scores=tuple(scores) if keep_scores else None,
        logits=tuple(raw) if keep_logits else None,
        past_key_values=cache,
    )


_KNOWN_MODELS: WeakSet[PreTrainedModel] = WeakSet()


def _checked(model: PreTrainedModel) -> Lens:
    """The model's lens, its logits compared with the model's own when it is first seen: a family that scales its logits
    in a way of its own would be sampled at another temperature, and nothing would show it."""
    _refuse_shards(model)
    lens = Lens(model)
    if model not in _KNOWN_MODELS:
        lens.check_logits()
        _KNOWN_MODELS.add(model)
    return lens


def _refuse_shards(model: PreTrainedModel) -> None:
    """UserError if other processes hold part of the weights. transformers tells a callable nothing of `synced_gpus`: a
    process that finished early would leave the others waiting for its part for ever."""
    for weight in model.parameters():
        zero3 = getattr(getattr(weight, "ds_status", None), "name", None) == "NOT_AVAILABLE"
        if zero3 or isinstance(weight, DTensor):
            raise UserError(
                "led_generate: the model's weights are sharded over processes (ZeRO-3 or FSDP2), which have to take "
                "every step together, and transformers does not let a callable know: gather the weights first, or "
                "sample with led_rl's engine or vLLM (docs/scale.md)"
            )


def _unread(input_ids: Tensor, given: Tensor | None, cached: int, config: GenerationConfig) -> tuple[Tensor, Tensor]:
    """Tokens that the cache does not hold yet (B, F), and the mask (B, cached + F). ValueError if they do not fit."""
    rows, length = input_ids.shape
    # transformers drops a mask of ones and leaves its width here: that alone tells a whole prompt from the rest of one.
    columns = getattr(config, "_mask_length", length) if given is None else given.shape[1]
    fed = input_ids[:, cached:] if columns == length else input_ids
    mask = input_ids.new_ones((rows, columns)) if given is None else given.long()
    if fed.shape[1] == 0 or mask.shape != (rows, cached + fed.shape[1]):
        raise ValueError(
            f"input_ids {(rows, length)}, attention_mask {tuple(mask.shape)} and a cache of {cached} columns do not "
            "fit: the mask covers the cache and what follows it, which is one token at least"
        )
    padded = (mask[:, -1] == 0).nonzero().squeeze(-1).tolist()
    if padded:
        raise ValueError(
            f"attention_mask ends in 0 in rows {padded}: the next token would follow padding; pad on the left "
            "(padding_side='left') and give every row a token"
        )
    return fed, mask


def _hook(processors: LogitsProcessorList, sequences: Any, raw: list[Any] | None) -> LogitsHook:
    def hook(final: Tensor) -> Tensor:
        logits: Any = final.to(torch.promote_types(final.dtype, torch.float32))
        if raw is not None:
            raw.append(logits.clone())
        processed: Tensor = processors(sequences, logits)
        return processed

    return hook


def _log_q(draw: Draw, vocabulary: int) -> Tensor:
    assert draw.support is not None and draw.q is not None
    if not bool(draw.q.isfinite().all()):
        raise ValueError(
            "an intermediate layer's logits hold NaN or +inf, so log q is undefined: pass led_final_norm=True, or load "
            "the model in a wider dtype"
        )
    scores = torch.full((len(draw.tokens), vocabulary), -torch.inf, dtype=draw.q.dtype, device=draw.q.device)
    return scores.scatter(-1, draw.support, draw.q.log())


def _pad_token(config: GenerationConfig) -> int:
    for token in (config.pad_token_id, config.eos_token_id):
        if token is not None:
            return int(token[0]) if isinstance(token, Sequence) else int(token)
    return 0
