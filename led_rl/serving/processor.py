"""The logits processor that turns the final layer's logits into log q, for both of vLLM's model runners.

V1 calls it after temperature and before top-k and top-p; V2 before temperature, so there it returns T log q. Either
way the runner's own sampler draws the token, and with `logprobs_mode=processed_logprobs` the log-probability it reports
is log q.

Letters: R rows of the batch, V vocabulary.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import LogitsProcessor as LogitsProcessorV1
from vllm.v1.sample.logits_processor.builtin import process_dict_updates
from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcessor as LogitsProcessorV2

from led_rl.decoding.randomness import COIN_STREAM, uniform
from led_rl.errors import UserError
from led_rl.models.thinking import ThinkTokens
from led_rl.serving.mixture import Group, log_q
from led_rl.serving.model import engine_depth, model_of
from led_rl.serving.settings import KEY, Limits, Settings

PREFIX = "LEDProcessor_"
GREEDY = 1e-5  # vLLM samples greedily below this temperature
NONE = -1  # a token id that no tokenizer has


@dataclass
class _Request:
    """One LED request in the batch.

    Attributes:
        settings: filled in.
        whole: log-probabilities are wanted.
        temperature: of the request.
        key: of its coins.
        prompt, output: token ids, the latter grown by vLLM (V1).
        seen: how much of the output `thinking` knows of (V1).
        thinking: whether the tokens so far leave the thinking open (V1).
    """

    settings: Settings
    whole: bool
    temperature: float
    key: int
    prompt: Sequence[int] = ()
    output: Sequence[int] = ()
    seen: int = 0
    thinking: bool = True

    @property
    def gate(self) -> ThinkTokens:
        """The marks that the request's thinking is told by."""
        assert self.settings.think is not None
        return self.settings.think if self.settings.led.think_only else ThinkTokens()

    def thinks(self) -> bool:
        gate = self.gate
        if gate.end is None:
            return True
        for token in self.output[self.seen :]:
            self.thinking = token != gate.end and (self.thinking or token == gate.start)
        self.seen = len(self.output)
        return self.thinking


class LEDProcessor(LogitsProcessorV1, LogitsProcessorV2):
    """A subclass for each engine's limits is made by name (`Limits.name`): vLLM checks a request in a process that
    has the class and not the engine."""

    limits: Limits

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """UserError (over HTTP: status 400) on a LED request that this engine cannot run."""
        cls._settings(sampling_params)

    @classmethod
    def _settings(cls, params: Any) -> Settings | None:
        extra: Mapping[str, Any] = params.extra_args or {}
        if KEY not in extra:
            return None
        settings = Settings.read(extra[KEY]).fitted(cls.limits)
        if params.temperature < GREEDY:
            raise UserError(f"temperature={params.temperature}: LED samples; raise it, or leave `led` out for greedy")
        if params.top_p < 1 or params.top_k > 0 or params.min_p > 0:
            raise UserError(
                f"top_p={params.top_p}, top_k={params.top_k}, min_p={params.min_p} beside led: LED cuts the support "
                "itself, by led.top_k, led.top_p and led.min_p; leave the request's own off (and start a server with "
                "--generation-config vllm, or the model's own defaults turn them on)"
            )
        return settings

    def __init__(self, vllm_config: Any, *args: Any) -> None:
        self.instance = vllm_config.instance_id
        if engine_depth(vllm_config) != self.limits.depth:
            raise UserError(
                f"additional_config says depth {engine_depth(vllm_config)} and the logits processor "
                f"{self.limits.depth}: take both from led_rl.serving.engine_args"
            )
        # Every rank of tensor parallelism tosses the same coins, for a readout is theirs together.
        self.generator = torch.Generator().manual_seed(vllm_config.model_config.seed or 0)
        self.requests: dict[int, _Request] = {}
        if len(args) == 1:  # the V2 runner's request states; V1 gives a device and whether memory is pinned
            self.state = args[0]
            self.thinking = torch.ones(self.state.max_num_reqs, dtype=torch.bool, device=self.state.device)
            self.fresh: set[int] = set()

    def _request(self, params: Any, prompt: Sequence[int] | None = None, output: Sequence[int] = ()) -> Any:
        settings = self._settings(params)
        if settings is None:
            return None
        if params.seed is None:
            key = int(torch.randint(2**62, (), generator=self.generator))
        else:
            key = int.from_bytes(sha256(f"led/{params.seed}".encode()).digest()[:8], "big") >> 1
        # Log-probabilities of named tokens come with `logprobs` unset (vLLM's completions API unsets it).
        whole = params.logprobs is not None or bool(params.logprob_token_ids)
        request = _Request(settings, whole, params.temperature, key, prompt or (), output)
        request.thinking = request.gate.open_after(request.prompt)
        return request

    # V1: rows are the batch's rows, and vLLM says how they move.

    def is_argmax_invariant(self) -> bool:
        """True puts it after temperature, among what only sampled rows need: LED's requests are never greedy."""
        return True

    def update_state(self, batch_update: Any) -> None:
        process_dict_updates(self.requests, batch_update, self._request)

    def apply(self, logits: Tensor, ctx: Any = None) -> Tensor:
        return self._apply_v1(logits) if ctx is None else self._apply_v2(logits, ctx)

    def _apply_v1(self, logits: Tensor) -> Tensor:
        chosen = [(row, one) for row, one in sorted(self.requests.items()) if row < logits.shape[0]]
        if not chosen:
            return logits
        device = logits.device
        requests = [one for _, one in chosen]
        rows = torch.tensor([row for row, _ in chosen], device=device)
        thinking = torch.tensor([one.thinks() for one in requests], device=device)
        positions = torch.tensor([len(one.output) for one in requests], device=device)
        self._write(logits, logits[rows], rows, requests, thinking, positions, scale=False)
        return logits

    # V2: state is kept by request slot, on the device, so that nothing waits for it.

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        request = self._request(sampling_params)
        self.requests.pop(req_idx, None)
        if request is None:
            return False
        self.requests[req_idx] = request
        self.fresh.add(req_idx)
        return True

    def _apply_v2(self, logits: Tensor, ctx: Any) -> Tensor:
        slots_of = ctx.idx_mapping_np.tolist()
        picked = [row for row, slot in enumerate(slots_of) if slot in self.requests]
        if not picked:
            return logits
        if logits.shape[0] != len(slots_of):
            raise RuntimeError("LED expects one row a request; speculative decoding has more")
        device = logits.device
        requests = [self.requests[slots_of[row]] for row in picked]
        rows = torch.tensor(picked, device=device)
        slots = ctx.expanded_idx_mapping[rows].long()
        for slot in {slots_of[row] for row in picked} & self.fresh:
            self.thinking[slot] = self._opened(slot)
        self.fresh -= {slots_of[row] for row in picked}
        starts, ends = (
            torch.tensor([NONE if token is None else token for token in tokens], device=device)
            for tokens in zip(*((one.gate.start, one.gate.end) for one in requests), strict=True)
        )
        fed, before = ctx.input_ids[rows], self.thinking[slots]
        after = (fed != ends) & (before | (fed == starts))
        # A row whose prompt is still being read carries one of its tokens, which `_opened` has seen.
        drawn = ctx.pos[rows] >= self.state.prefill_len.gpu[slots]
        thinking = torch.where(drawn, after, before)
        self.thinking[slots] = thinking
        temperature = torch.tensor([one.temperature for one in requests], device=device).unsqueeze(-1)
        scaled = logits[rows].float() / temperature
        self._write(logits, scaled, rows, requests, thinking, ctx.pos[rows].long(), scale=True)
        return logits

    def _opened(self, slot: int) -> Tensor:
        """Whether a request's tokens so far (its prompt, and what preemption kept) leave the thinking open."""
        gate = self.requests[slot].gate
        if gate.end is None:
            return torch.ones((), dtype=torch.bool, device=self.state.device)
        tokens = self.state.all_token_ids.gpu[slot]
        order = torch.arange(1, len(tokens) + 1, device=tokens.device)
        live = order <= self.state.prefill_len.gpu[slot]
        closed = torch.where(live & (tokens == gate.end), order, 0).amax()
        if gate.start is None:
            return closed == 0
        return torch.where(live & (tokens == gate.start), order, 0).amax() > closed

    def _write(
        self,
        logits: Tensor,
        scaled: Tensor,
        rows: Tensor,
        requests: Sequence[_Request],
        thinking: Tensor,
        positions: Tensor,
        scale: bool,
    ) -> None:
        """Replace these rows (R,) of the logits by log q, times the temperature where the runner divides by it."""
        device = logits.device
        model = model_of(self.instance)
        members: dict[tuple[Settings, bool], list[int]] = {}
        for index, one in enumerate(requests):
            members.setdefault((one.settings, one.whole), []).append(index)
        groups = [Group(*key, torch.tensor(mine, device=device)) for key, mine in members.items()]
        keys = torch.tensor([one.key for one in requests], device=device)
        temperature = torch.tensor([one.temperature for one in requests], dtype=torch.float32, device=device)

        def readouts(places: Tensor, depths: Tensor, normed: Tensor) -> Sequence[Tensor]:
            return model.led_readouts(rows[places], depths, normed)

        coins = uniform(keys, positions, COIN_STREAM)
        found = log_q(scaled, temperature, thinking, coins, groups, readouts, self.limits.layers)
        for group, values in zip(groups, found, strict=True):
            factor = temperature[group.rows].unsqueeze(-1) if scale else 1.0
            logits[rows[group.rows]] = (values * factor).to(logits.dtype)


@functools.cache
def _processor(name: str) -> type[LEDProcessor]:
    return type(name, (LEDProcessor,), {"limits": Limits.of_name(name.removeprefix(PREFIX)), "__module__": __name__})


def __getattr__(name: str) -> Any:
    if name.startswith(PREFIX):
        return _processor(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
