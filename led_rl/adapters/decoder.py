"""One model decoded by one arm: what every harness needs of led_rl. Texts or messages in, texts out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from led_rl.decoding.arms import Arm, default_led, resolve
from led_rl.decoding.config import EngineConfig, Matched
from led_rl.decoding.engine import Engine, Prompt
from led_rl.decoding.randomness import sample_key
from led_rl.errors import UserError
from led_rl.models.lens import Lens
from led_rl.models.loading import load_policy
from led_rl.models.prompting import Messages, decode, encode_messages, think_tokens


@dataclass(frozen=True)
class Sampling:
    """What may differ from one request to another.

    Args:
        temperature: above 0.
        max_new_tokens: tokens of an answer, the end token included.
        top_p: nucleus mass.
        min_p: smallest relative probability.
        stop: texts that end an answer; they are cut off with what follows.
        seed: of the samples.
    """

    temperature: float = 1.0
    max_new_tokens: int = 1024
    top_p: float = 1.0
    min_p: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(
                f"temperature={self.temperature}: LED and its controls sample, so name a temperature above 0; the "
                "greedy arm takes any"
            )


@dataclass(frozen=True)
class Answer:
    """One sample. `truncated` if the budget ended it, and not a stop that stands before the budget's end."""

    text: str
    tokens: list[int]
    truncated: bool


class Decoder:
    """A model and an arm.

    The n-th sample of a prompt is drawn with a key made of the seed, the prompt and n, so a request that is made again
    is answered anew, and a whole evaluation that is made again is answered as before, in whatever order it asks.

    Args:
        source: a model folder or a Hub id.
        arm: as evaluation names it; None: LED with the preset that suits the vocabulary.
        dtype: float32, bfloat16 or float16.
        trust_remote_code: let code of the model's repository run.
        max_rows: most rows of the batch.
        max_batch_tokens: most cache positions in flight, which bounds memory.

    Raises:
        UserError: if there is no such model or arm, or the arm needs more than this one model.
    """

    def __init__(
        self,
        source: str,
        arm: str | None = None,
        dtype: str = "float32",
        trust_remote_code: bool = False,
        max_rows: int = 64,
        max_batch_tokens: int = 131_072,
    ) -> None:
        self.policy = load_policy(source, dtype, trust_remote_code)
        self.lens = Lens(self.policy.model)
        self.lens.check_logits()
        self.name = arm or default_led(self.lens.vocabulary)
        self.max_rows, self.max_batch_tokens = max_rows, max_batch_tokens
        self._asked: Counter[str] = Counter()
        self._arm(Sampling())  # a bad name is said now

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer together."""
        return self.lens.context or 2**31 - 1

    def encode(self, prompt: str | Messages) -> list[int]:
        """Token ids of a text as it is, or of messages by the chat template (where there is none, their texts)."""
        if isinstance(prompt, str):
            return list(self.policy.tokenizer(prompt)["input_ids"])
        return encode_messages(self.policy.tokenizer, prompt)

    def answer(self, prompts: Sequence[Sequence[int]], samples: int, sampling: Sampling) -> list[list[Answer]]:
        """So many new samples of each prompt (token ids), in order."""
        arm, think = self._arm(sampling), think_tokens(self.policy.tokenizer)
        ends = self.policy.end_tokens
        engine = Engine(
            self.lens,
            arm.build(sampling.temperature, self.lens, think.hard(ends)),
            ends,
            EngineConfig(sampling.max_new_tokens, self.max_rows, self.max_batch_tokens),
            think,
        )
        asked = [Prompt(ids, [self._key(ids, sampling.seed) for _ in range(samples)]) for ids in prompts]
        answers: list[list[Answer]] = [[] for _ in prompts]
        for one in engine.run(asked):
            text = decode(self.policy.tokenizer, one.tokens)
            found = [text.index(stop) for stop in sampling.stop if stop in text]
            whole = Answer(text, one.tokens, one.truncated)
            answers[one.prompt].append(Answer(text[: min(found)], one.tokens, truncated=False) if found else whole)
        return answers

    def _key(self, ids: Sequence[int], seed: int) -> int:
        name = " ".join(map(str, ids))
        number = self._asked[name]
        self._asked[name] += 1
        return sample_key(seed, name, number)

    def _arm(self, sampling: Sampling) -> Arm:
        names = [self.name]
        (arm,) = resolve(names, Matched(sampling.top_p, sampling.min_p))
        if arm.reads_base:
            raise UserError(f"arm {self.name!r} needs a run's base beside the model, which a harness does not give")
        return arm
