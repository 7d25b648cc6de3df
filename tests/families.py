"""Tiny random models, one per family of transformers that the lens and the engine must get right.

Weights are made large enough that greedy continuations vary and that layers disagree; sliding windows are shorter than
the sequences, so that they matter.
"""

from typing import Any

import torch
import transformers as hf
from torch import nn

VOCABULARY, WIDTH, LAYERS = 60, 32, 4
TINY_PARAMETERS = 100_000

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "mistral": ("MistralConfig", {"sliding_window": 5}),
    "qwen2": ("Qwen2Config", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}),
    "qwen3": ("Qwen3Config", {}),
    "qwen3_moe": ("Qwen3MoeConfig", {**_EXPERTS, "decoder_sparse_step": 1}),
    "gemma2": ("Gemma2Config", {"sliding_window": 5, "query_pre_attn_scalar": 8, "final_logit_softcapping": 5.0}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 5, "query_pre_attn_scalar": 8}),
    "phi3": ("Phi3Config", {}),
    "olmo2": ("Olmo2Config", {}),
    "gpt2": ("GPT2Config", {}),
    "gpt_neox": ("GPTNeoXConfig", {}),
    "smollm3": ("SmolLM3Config", {}),
    "granite": (
        "GraniteConfig",
        {"logits_scaling": 4.0, "residual_multiplier": 0.5, "embedding_multiplier": 3.0},
    ),
    "cohere": ("CohereConfig", {"logit_scale": 0.25}),
}
# Their layers carry a recurrent state beside keys and values, or instead of them.
RECURRENT: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": ("MambaConfig", {}),
    "recurrent_gemma": ("RecurrentGemmaConfig", {"lru_width": WIDTH, "attention_window_size": 8}),
    "qwen3_next": (
        "Qwen3NextConfig",
        {
            **_EXPERTS,
            "shared_expert_intermediate_size": 16,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    ),
}


def build(family: str, dtype: torch.dtype = torch.float32, noise: float = 0.3, seed: int = 0, **changes: Any) -> Any:
    """A tiny random model in eval mode; the global RNG is left as it was."""
    name, settings = (FAMILIES | RECURRENT)[family]
    config = getattr(hf, name)(**{**_SHAPE, **settings, **changes})
    # The grouped matrix product of mixtures of experts has no float64.
    options = {"experts_implementation": "eager"} if "num_experts" in settings else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = hf.AutoModelForCausalLM.from_config(config, dtype=dtype, **options).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(noise * torch.randn_like(weight))
    parameters = sum(weight.numel() for weight in model.parameters())
    assert parameters < TINY_PARAMETERS, f"{family} is not tiny: {parameters} parameters"
    return model


def decoder_layers(model: Any) -> nn.ModuleList:
    """The decoder layers, found as the only module list with one entry per layer."""
    found = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == LAYERS and name.rsplit(".")[-1] in ("layers", "h")
    ]
    assert len(found) == 1
    return found[0]
