"""The small base model: a Llama or Qwen3 of transformers, a few layers deep, trained from scratch."""

from dataclasses import dataclass
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase, Qwen3Config

from led_rl.errors import UserError


@dataclass(frozen=True)
class BaseModelConfig:
    """Shape of the base model.

    Args:
        architecture: `llama` or `qwen3` (Qwen3 adds a norm on queries and keys)
        layers: decoder layers
        width: residual stream width
        heads: attention heads; they divide the width
        intermediate: width of the gated MLP
        context: longest sequence in tokens
        tied_head: whether the LM head is the embedding
    """

    architecture: Literal["llama", "qwen3"] = "llama"
    layers: int = 8
    width: int = 128
    heads: int = 4
    intermediate: int = 320
    context: int = 256
    tied_head: bool = False

    def __post_init__(self) -> None:
        if self.layers < 2:
            raise UserError(f"model.layers={self.layers}: at least 2 layers, for there to be an intermediate one")
        if self.width % (2 * self.heads):
            raise UserError(
                f"model.width={self.width}, model.heads={self.heads}: the width must be a multiple of 2 x heads "
                "(rotary embedding turns pairs)"
            )


def build_base_model(config: BaseModelConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """A freshly initialised model in float32 for this tokenizer. The global RNG is left as it was."""
    kind = LlamaConfig if config.architecture == "llama" else Qwen3Config
    model_config = kind(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.width // config.heads,
        max_position_embeddings=config.context,
        tie_word_embeddings=config.tied_head,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(model_config, dtype=torch.float32)
    return model
