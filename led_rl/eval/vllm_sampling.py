"""Samples from vLLM: a vLLM of this environment, or servers somewhere, with LED's plugin in either.

A sample is one request. Its seed derives from its key, its arm and its temperature, so samples are not drawn twice
whichever server draws them; but vLLM has no batch invariance, so a sample depends on its neighbours too, and arms share
no random numbers. Shapes do not occur here: token ids in, token ids out.
"""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from led_rl.decoding.arms import Arm
from led_rl.decoding.config import Matched
from led_rl.decoding.engine import Completion, Prompt
from led_rl.errors import UserError
from led_rl.eval.sampling import Setting
from led_rl.eval.targets import Target
from led_rl.models.thinking import ThinkTokens
from led_rl.serving.client import Server, ServerLost
from led_rl.serving.settings import request, xargs

VLLM = "vllm"
IN_FLIGHT = 256  # requests that one server works on; more wait here, so that another server may take them


@dataclass(frozen=True)
class Budget:
    """What ends a sample, and where its thinking is.

    Args:
        max_new_tokens: tokens a sample may have, the end token included
        end_tokens: ids that end it
        think: ids around the thinking
    """

    max_new_tokens: int
    end_tokens: Sequence[int]
    think: ThinkTokens


@dataclass(frozen=True)
class _Job:
    """One sample of one setting: its places in what `stream` was given, and its request."""

    prompt: int
    sample: int
    setting: int
    ids: list[int]
    seed: int


def check_served(arms: Sequence[Arm], matched: Matched) -> None:
    """UserError that names the arms which vLLM cannot run, or for a truncation that it would apply otherwise."""
    if matched.top_p < 1 and matched.min_p > 0:
        raise UserError(
            f"matched.top_p={matched.top_p} with matched.min_p={matched.min_p} and --engine vllm: vLLM cuts by min-p "
            "first and led_rl by top-p first; set one of them, or take --engine engine"
        )
    if others := [arm.name for arm in arms if arm.served is None]:
        raise UserError(
            f"--engine vllm cannot run {', '.join(others)}: evaluate them with --engine engine, in a folder of their "
            "own (--output_dir), for samples of different engines share no random numbers"
        )


def sampling_fields(arm: Arm, temperature: float, matched: Matched, budget: Budget) -> dict[str, Any]:
    """The sampling fields of an arm's requests, by the names that SamplingParams and the HTTP interface share."""
    assert arm.served is not None
    fixed = {"max_tokens": budget.max_new_tokens, "stop_token_ids": list(budget.end_tokens), "repetition_penalty": 1.0}
    if arm.served.greedy:
        return {**fixed, "temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    if arm.served.led is not None:  # the plugin truncates
        return {**fixed, "temperature": temperature, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    top_p = matched.top_p if arm.served.top_p is None else arm.served.top_p
    min_p = matched.min_p if arm.served.min_p is None else arm.served.min_p
    return {**fixed, "temperature": temperature, "top_k": arm.served.top_k, "top_p": top_p, "min_p": min_p}


def led_fields(arm: Arm, matched: Matched, budget: Budget) -> dict[str, Any]:
    """Arguments of `request` and `xargs` for an arm that the plugin runs; none for others."""
    if arm.served is None or arm.served.led is None:
        return {}
    return {
        "led": arm.served.led,
        "top_p": matched.top_p,
        "min_p": matched.min_p,
        "control": arm.served.control,
        "think": budget.think,
    }


def sample_seed(key: int, arm: str, temperature: float) -> int:
    """A seed that vLLM takes (63 bits)."""
    return int.from_bytes(sha256(f"{key}/{arm}/{temperature:g}".encode()).digest()[:8], "big") >> 1


def _jobs(prompts: Sequence[Prompt], settings: Sequence[Setting]) -> list[_Job]:
    jobs = []
    for index, prompt in enumerate(prompts):
        wanted = prompt.wanted_by or [range(len(settings))] * len(prompt.keys)
        for sample, (key, ones) in enumerate(zip(prompt.keys, wanted, strict=True)):
            for one in ones:
                seed = sample_seed(key, settings[one].arm.key, settings[one].temperature)
                jobs.append(_Job(index, sample, one, list(prompt.input_ids), seed))
    return jobs


class ServedEngine:
    """Draws from servers, which share the work: each takes the next request when it has room.

    Args:
        servers: where; each was asked already whether it serves this model with LED.
        names: what the model is called at each of them.
        settings: what is sampled.
        matched: truncation that the arms share.
        budget: what ends a sample.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        names: Sequence[str],
        settings: Sequence[Setting],
        matched: Matched,
        budget: Budget,
    ) -> None:
        self.servers, self.names, self.settings = servers, names, settings
        self.bodies: list[dict[str, Any]] = []
        for setting in settings:
            led = led_fields(setting.arm, matched, budget)
            body = sampling_fields(setting.arm, setting.temperature, matched, budget)
            self.bodies.append({**body, "return_token_ids": True, **({"vllm_xargs": xargs(**led)} if led else {})})

    def stream(self, prompts: Sequence[Prompt]) -> Iterator[Completion]:
        """Completions as they finish. UserError if a server refuses a request, or once none answers any more."""
        jobs = _jobs(prompts, self.settings)
        waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        done: queue.SimpleQueue[Completion | Exception] = queue.SimpleQueue()
        stop = threading.Event()

        def work(server: Server, name: str, lost: threading.Event) -> None:
            while not (stop.is_set() or lost.is_set()):
                try:
                    job = waiting.get(timeout=0.2)  # what a lost server was at comes back
                except queue.Empty:
                    continue
                try:
                    done.put(self._completion(server, name, job))
                except ServerLost as error:
                    waiting.put(job)
                    if not lost.is_set():
                        lost.set()
                        done.put(error)
                except Exception as error:
                    done.put(error)
                    return

        threads = []
        for server, name in zip(self.servers, self.names, strict=True):
            lost = threading.Event()
            for _ in range(min(IN_FLIGHT, len(jobs))):
                threads.append(threading.Thread(target=work, args=(server, name, lost), daemon=True))
        for thread in threads:
            thread.start()
        alive, finished = len(self.servers), 0
        try:
            while finished < len(jobs):
                one = done.get()
                if isinstance(one, ServerLost):
                    alive -= 1
                    if not alive:
                        raise UserError(
                            f"{one}; {finished} samples of this pass were finished and are kept: start the server "
                            "again, and the same command goes on"
                        ) from one
                elif isinstance(one, Exception):
                    raise one
                else:
                    finished += 1
                    yield one
        finally:
            stop.set()

    def _completion(self, server: Server, name: str, job: _Job) -> Completion:
        body = {"model": name, "prompt": job.ids, "seed": job.seed, **self.bodies[job.setting]}
        (choice,) = server.complete(body)["choices"]
        tokens = choice.get("token_ids")
        if tokens is None:
            raise UserError(f"vllm_url={server.url}: it returns no token ids, which vLLM does since 0.10.2: update it")
        return _finished(job, tokens, choice["finish_reason"])


class LocalEngine:
    """Draws from a vLLM of this process.

    Args:
        llm: a `vllm.LLM`, started with `led_rl.serving.engine_args`.
        settings, matched, budget: as for `ServedEngine`.
    """

    def __init__(self, llm: Any, settings: Sequence[Setting], matched: Matched, budget: Budget) -> None:
        self.llm, self.settings = llm, settings
        self.fields: list[dict[str, Any]] = []
        for setting in settings:
            led = led_fields(setting.arm, matched, budget)
            fields = sampling_fields(setting.arm, setting.temperature, matched, budget)
            self.fields.append({**fields, "detokenize": False, **({"extra_args": request(**led)} if led else {})})

    def stream(self, prompts: Sequence[Prompt]) -> Iterator[Completion]:
        """Completions as they finish. UserError if vLLM refuses a request."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.sampling_params import RequestOutputKind

        engine = self.llm.llm_engine
        jobs = {str(index): job for index, job in enumerate(_jobs(prompts, self.settings))}
        for name, job in jobs.items():
            params = SamplingParams(**self.fields[job.setting], seed=job.seed, output_kind=RequestOutputKind.FINAL_ONLY)
            try:
                engine.add_request(name, {"prompt_token_ids": job.ids}, params)
            except (ValueError, VLLMValidationError) as error:
                raise UserError(
                    f"vLLM refuses the samples of {self.settings[job.setting].arm.name}: {error}"
                ) from error
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    (one,) = output.outputs
                    yield _finished(jobs[output.request_id], one.token_ids, one.finish_reason)


def _finished(job: _Job, tokens: Sequence[int], reason: str | None) -> Completion:
    if not tokens:
        raise UserError(f"vLLM returned no token for prompt {job.prompt}: its context is too small for it")
    return Completion(job.prompt, job.sample, list(tokens), reason == "length", (job.setting,))


def served_name(server: Server, wanted: Mapping[str, Target]) -> tuple[str, Target]:
    """What a server calls the model it serves, and which of those wanted it is. UserError if it serves another.

    Args:
        server: asked.
        wanted: the models, by every name that they may have.
    """
    models = server.models()
    for model in models:
        root = str(model.get("root") or "")
        for name in (str(model["id"]), root, str(Path(root).resolve())):
            if name in wanted:
                return str(model["id"]), wanted[name]
    found = ", ".join(sorted({str(model.get("root") or model["id"]) for model in models})) or "nothing"
    first = next(iter(wanted.values())).source
    raise UserError(
        f"vllm_url={server.url} serves {found}, and {first} is to be evaluated: start it with led-serve --model "
        f"{first} (and --served-model-name {first} where its folder has another name on that machine)"
    )
