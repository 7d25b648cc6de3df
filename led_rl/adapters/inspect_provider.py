"""led_rl as a model provider of inspect-ai: `inspect eval task.py --model led/<model> -M arm=led_paper`.

inspect-ai finds it by the entry point `inspect_ai` once led_rl is installed beside it.
"""

from dataclasses import dataclass
from typing import Any

import anyio
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)

from led_rl.adapters.decoder import Answer, Decoder, Sampling
from led_rl.errors import UserError

CONNECTIONS = 64
# What `_sampling` and `LedModel.generate` read, and what changes no answer: inspect's own business of asking, caching
# and showing, and settings of tools, of which there are none.
_READ = {"temperature", "max_tokens", "top_p", "seed", "stop_seqs", "num_choices"}
_HARMLESS = {
    "max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections", "adaptive_connections",
    "system_message", "parallel_tool_calls", "max_tool_output", "internal_tools", "cache", "cache_prompt", "batch",
    "fail_on_refusal",
}  # fmt: skip


@dataclass(eq=False)
class _Job:
    ids: list[int]
    sampling: Sampling
    samples: int
    answers: list[Answer] | None = None

    def like(self, other: "_Job") -> bool:
        """Whether the engine can draw both at once."""
        return (self.sampling, self.samples) == (other.sampling, other.samples)


class LedModel(ModelAPI):
    """A local model decoded by an arm. Requests that come while the model is busy are answered together.

    Args:
        model_name: a model folder or a Hub id.
        base_url, api_key: not used; the model runs here.
        config: inspect's own.
        model_args: those of `Decoder`: arm, dtype, trust_remote_code, max_rows, max_batch_tokens.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.decoder = Decoder(model_name, **model_args)
        self._waiting: list[_Job] = []
        self._busy = anyio.Lock()

    async def generate(
        self, input: list[ChatMessage], tools: list[Any], tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Answer one conversation. UserError for tools, which the model is not told of."""
        if tools:
            raise UserError("led_rl's provider gives a model no tools: take a task without them")
        messages = [{"role": message.role, "content": message.text} for message in input]
        job = _Job(self.decoder.encode(messages), _sampling(config), config.num_choices or 1)
        self._waiting.append(job)
        async with self._busy:
            if job.answers is None:
                alike = [job, *(one for one in self._waiting if one is not job and one.like(job))]
                self._waiting = [one for one in self._waiting if one not in alike]
                await anyio.to_thread.run_sync(self._answer, alike)
        assert job.answers is not None
        return self._output(job)

    def max_connections(self) -> int:
        """Conversations at a time, unless the user says otherwise: as many as there are rows to answer them in."""
        return min(CONNECTIONS, self.decoder.max_rows)

    def _answer(self, jobs: list[_Job]) -> None:
        answers = self.decoder.answer([job.ids for job in jobs], jobs[0].samples, jobs[0].sampling)
        for job, found in zip(jobs, answers, strict=True):
            job.answers = found

    def _output(self, job: _Job) -> ModelOutput:
        answers = job.answers or []
        output = sum(len(answer.tokens) for answer in answers)
        return ModelOutput(
            model=self.model_name,
            choices=[
                ChatCompletionChoice(
                    message=ChatMessageAssistant(content=answer.text, model=self.model_name, source="generate"),
                    stop_reason="max_tokens" if answer.truncated else "stop",
                )
                for answer in answers
            ],
            usage=ModelUsage(input_tokens=len(job.ids), output_tokens=output, total_tokens=len(job.ids) + output),
        )


@modelapi(name="led")
def led() -> type[ModelAPI]:
    """The provider, by the name that stands before the slash of `--model led/..`."""
    return LedModel


def _sampling(config: GenerateConfig) -> Sampling:
    """inspect's settings; those that led_rl has none of, known or new, are refused and not passed over."""
    for name, value in config:
        # Off, not left out: 0 of top_k or a penalty, False of logprobs, an empty map.
        if value and name not in _READ | _HARMLESS:
            raise UserError(f"{name}={value}: led_rl's provider has no such setting; leave it out")
    given = {
        "temperature": config.temperature,
        "max_new_tokens": config.max_tokens,
        "top_p": config.top_p,
        "seed": config.seed,
        "stop": None if config.stop_seqs is None else tuple(config.stop_seqs),
    }
    return Sampling(**{name: value for name, value in given.items() if value is not None})
