"""The small base model: a Llama or Qwen3 of transformers, a few layers deep, trained from scratch."""

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase, Qwen3Config

from led_rl.models.config import BaseModelConfig


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
