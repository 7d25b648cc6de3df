"""Loading a model and its tokenizer: a local folder, a Hub id, or a LoRA adapter on its base.

Weights come from safetensors only; remote code runs only where it is asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils.tqdm import enable_progress_bars
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from led_rl import plugins
from led_rl.errors import UserError
from led_rl.models.folder_check import check_folder
from led_rl.models.lens import Family, register_family
from led_rl.models.source import ADAPTER, check_source
from led_rl.shipped import located

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Policy:
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def end_tokens(self) -> list[int]:
        """Ids that end a completion: the model's and the tokenizer's."""
        configured = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = configured if isinstance(configured, list) else [configured]
        found = sorted({i for i in [*ids, self.tokenizer.eos_token_id] if i is not None})
        if not found:
            raise UserError(
                f"{self.tokenizer.name_or_path}: neither model nor tokenizer names an end token; set eos_token in the "
                "tokenizer's folder, or no completion will ever end"
            )
        return found


def is_adapter(source: str) -> bool:
    """Whether this folder holds a LoRA adapter, and not a model."""
    return (located(source) / ADAPTER).is_file()


def load_policy(source: str, dtype: str = "float32", trust_remote_code: bool = False) -> Policy:
    """Load model and tokenizer.

    Args:
        source: a local folder (a model, a checkpoint, a LoRA adapter) or a Hub id.
        dtype: one of DTYPES.
        trust_remote_code: let code of the model's repository run.

    Raises:
        UserError: if the source is missing, has no safetensors, torn ones, or a tensor more or fewer than its
            configuration says; if the tokenizer is not the model's, or the dtype is unknown.
    """
    check_source(source)
    _register_families()
    if dtype not in DTYPES:
        raise UserError(f"dtype={dtype!r}: one of {', '.join(DTYPES)}")
    # A bar for every file of a small model hides the command's own; those of downloads are huggingface_hub's.
    transformers_logging.disable_progress_bar()
    enable_progress_bars()
    folder = str(located(source))
    try:
        model = _model(folder, dtype, trust_remote_code)
        tokenizer = _tokenizer(folder, trust_remote_code)
    except OSError as error:
        raise UserError(f"{source}: cannot be loaded ({str(error).splitlines()[0]})") from error
    except SafetensorError as error:
        raise UserError(f"{source}: its weights cannot be read ({error}); copy them again") from error
    policy = Policy(model.eval(), tokenizer)
    check_ids(policy, source, policy.end_tokens)
    return policy


def _register_families() -> None:
    """Make the families of the user's own known; their modules also tell transformers of their models."""
    for family in plugins.families():
        if not isinstance(family, Family):
            raise UserError(
                f"{plugins.FAMILY}: it names a {type(family).__name__}, and a led_rl.Family is needed: "
                "docs/own_model.md"
            )
        register_family(family)


def check_ids(policy: Policy, what: str, ids: Iterable[int]) -> None:
    """UserError if one of these token ids has no row in the model's embedding: a tokenizer of another model.

    Only ids that are used are asked for: some tokenizers (Gemma 3's) know a token more than their model, for images.
    """
    embedding: Any = policy.model.get_input_embeddings()
    rows = embedding.weight.shape[0]
    highest = max(ids, default=-1)
    if highest >= rows:
        raise UserError(
            f"{what}: token id {highest} ({policy.tokenizer.convert_ids_to_tokens(highest)!r}) is beyond the model's "
            f"vocabulary of {rows}: the tokenizer is not this model's; put back its own"
        )


def _model(source: str, dtype: str, trust_remote_code: bool) -> PreTrainedModel:
    if is_adapter(source):
        return _with_adapter(source, dtype, trust_remote_code)
    if Path(source).is_dir():
        check_folder(Path(source))
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            ignore_mismatched_sizes=True,  # to be refused below, by name
            output_loading_info=True,
        )
    except (ValueError, KeyError, ZeroDivisionError) as error:  # what its many models raise on sizes that make no sense
        reason = " ".join(str(error).split())[:160]
        own = f"; {plugins.FAMILY} names one of your own" if "does not recognize" in reason else ""
        raise UserError(f"{source}: transformers cannot build the model of its config.json ({reason}){own}") from error
    model, found = loaded
    # transformers gives what is missing fresh random weights, with no more than a warning.
    for kind, what in (
        ("mismatched_keys", "are of another shape than config.json says"),
        ("missing_keys", "are missing from its weights"),
        ("unexpected_keys", "are in its weights and not in the model of config.json"),
    ):
        if names := sorted(str(key if isinstance(key, str) else key[0]) for key in found[kind]):
            raise UserError(
                f"{source}: {len(names)} tensors {what} ({', '.join(names[:3])}{', ..' if names[3:] else ''}): "
                "weights and config.json do not belong together; put back the originals"
            )
    assert isinstance(model, PreTrainedModel)
    return model


def _tokenizer(source: str, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except (ValueError, TypeError, KeyError) as error:  # what its many readers raise on files that are not theirs
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{source}: its tokenizer cannot be loaded ({reason}); put its files there") from error
    return tokenizer


def _with_adapter(source: str, dtype: str, trust_remote_code: bool) -> PreTrainedModel:
    """The base that an adapter names, with the adapter merged in."""
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict

    check_folder(Path(source))
    try:
        base = PeftConfig.from_pretrained(source).base_model_name_or_path
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{source}/{ADAPTER}: cannot be read ({str(error).splitlines()[0]})") from error
    if not base:
        raise UserError(f"{source}/{ADAPTER}: names no base model; set base_model_name_or_path")
    check_source(base)
    try:
        adapted = PeftModel.from_pretrained(_model(str(located(base)), dtype, trust_remote_code), source)
    except RuntimeError as error:  # torch lists the shapes, a line each
        raise UserError(
            f"{source}: the adapter does not fit its base {base} ({' '.join(str(error).split())[:200]})"
        ) from error
    want = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    have = load_file(Path(source) / _ADAPTER_WEIGHTS).keys()
    for names, what in ((want - have, "are missing from"), (have - want, "are too many in")):
        if names:
            raise UserError(
                f"{source}: {len(names)} tensors {what} {_ADAPTER_WEIGHTS} ({', '.join(sorted(names)[:3])}): it is not "
                f"the adapter that {ADAPTER} describes; put back the original"
            )
    merged: PreTrainedModel = adapted.merge_and_unload()
    return merged.requires_grad_(True)  # PEFT froze them; merged, they are a model like any other
