"""What a user can say about a model and its prompts. Loads neither torch nor transformers, so that --help is quick."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from led_rl.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PromptConfig:
    """What surrounds a task's prompt.

    Args:
        system: system prompt; none: the chat template's own, if it has one
        chat: use the chat template where the tokenizer has one; false suits a base model that never learned its turns
        template: options of the chat template, such as enable_thinking
    """

    system: str | None = None
    chat: bool = True
    template: dict[str, Any] = field(default_factory=dict)

    def messages(self, tokenizer: "PreTrainedTokenizerBase") -> bool:
        """Whether the model is given messages, and not text. ValueError for template options without a template."""
        if self.chat and tokenizer.chat_template:
            return True
        if self.template:
            raise UserError(
                f"prompt.template={self.template}: no chat template takes these options, for the tokenizer has none or "
                "prompt.chat is false; leave them out"
            )
        return False


BARE = PromptConfig()


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


@dataclass(frozen=True)
class FitConfig:
    """How a tuned lens is fitted.

    Args:
        steps: of Adam, whose rate falls to 0 in a straight line
        batch: sequences a step
        learning_rate: at the first step
        seed: of the order of the sequences
    """

    steps: int = 400
    batch: int = 16
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or not self.learning_rate > 0:
            raise UserError(f"{self}: steps, batch and learning_rate must be positive")
