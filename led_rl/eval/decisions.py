"""What a countdown policy has to choose from, and what it would be worth: one checkpoint, position by position.

The checkpoint writes traces by plain sampling. At every position of the thinking the grammar says whether the next word
is a choice or forced; each layer's readout, and the distribution that each exploring arm would draw from, are read
there. At some of the choices every candidate of S is tried: its value is the share of plain continuations of it that
solve the problem. `led_rl.scores.decision_scores` makes means and intervals of the rows.

Letters: N positions, K candidates (the tokens of S, ascending), L layers, H width.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from led_rl.decoding.config import EngineConfig
from led_rl.decoding.controls import ExploreBase, ExploreFinal
from led_rl.decoding.distributions import Support, entropy_nats, on_support
from led_rl.decoding.engine import Engine, Prompt
from led_rl.decoding.led import PRESETS
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.randomness import sample_key
from led_rl.decoding.samplers import Plain, Step, Truncation
from led_rl.errors import UserError
from led_rl.eval.config import DecisionsConfig
from led_rl.models.fixed_texts import Text, read_texts, text_batches
from led_rl.models.lens import Lens
from led_rl.models.loading import Policy
from led_rl.models.paired import PairedLens
from led_rl.models.prompting import answered, decode
from led_rl.records import JsonObject
from led_rl.tasks.countdown import Countdown
from led_rl.tasks.countdown_trace import Place, places
from led_rl.tasks.problem import Problem

DIGITS = 6  # significant ones of a number on record


@dataclass(frozen=True)
class Prompted:
    """A problem and its prompt's token ids."""

    problem: Problem
    prompt: Sequence[int]


@dataclass(frozen=True)
class _Trace:
    """One completion; `words` and `places` up to and including `</think>`."""

    asked: Prompted
    sample: int
    tokens: list[int]
    words: list[str]
    places: list[Place]

    @property
    def text(self) -> Text:
        """As far as there are words."""
        return Text(self.asked.prompt, self.tokens[: len(self.words)])


@dataclass(frozen=True)
class _Spot:
    """One position of a trace, with the token ids of S there."""

    trace: _Trace
    position: int
    candidates: list[int]

    def key(self, seed: int, purpose: str, index: int) -> int:
        """Randomness from what the position is."""
        where = f"{purpose}/{self.trace.asked.problem.id}/{self.trace.sample}/{self.position}"
        return sample_key(seed, where, index)


def check_words(tokenizer: PreTrainedTokenizerBase, task: Countdown) -> None:
    """ValueError unless every word of a trace is a token of its own, as positions and words must be one."""
    known = tokenizer.get_vocab()
    if missing := [word for word in task.vocabulary() if word not in known]:
        raise UserError(
            f"the tokenizer has no token for {missing[:5]}: decision tokens are told from forced ones word by word, so "
            "the model must write countdown traces with a token a word, as those of scripts/pretrain_base.py do"
        )


@torch.no_grad()
def measure(
    task: Countdown,
    asked: Sequence[Prompted],
    policy: Policy,
    base: Policy | None,
    config: DecisionsConfig,
    max_new_tokens: int,
) -> list[JsonObject]:
    """One row for each position of the thinking.

    Keys: problem_id, sample, position, kind, word (written there), legal and support (words), p1, explores (LED's
    probability of exploring there), and by layer 1..L
    entropy_nats, mass_on_support and readouts (K numbers: restricted to S and renormalised; the last one is pi_S), all
    through the final norm; e: source -> K numbers; value: K numbers, or null where it was not estimated.
    """
    lens = Lens(policy.model) if base is None else PairedLens(policy.model, base.model)
    rows: list[JsonObject] = []
    spots: list[_Spot] = []
    traces = _traces(task, asked, policy, config, max_new_tokens)
    for texts in text_batches([trace.text for trace in traces]):
        batch, traces = traces[: len(texts)], traces[len(texts) :]
        found, where = _read(lens, batch, config)
        for row, spot in zip(found, where, strict=True):
            row["support"] = policy.tokenizer.convert_ids_to_tokens(spot.candidates)
        rows += found
        spots += where
    choices = [index for index, spot in enumerate(spots) if spot.trace.places[spot.position].decides]
    choices.sort(key=lambda index: spots[index].key(config.seed, "decision", 0))
    valued = choices[: config.positions]
    values = _values(task, [spots[index] for index in valued], policy, config, max_new_tokens)
    for index, value in zip(valued, values, strict=True):
        rows[index]["value"] = value
    return rows


def _traces(
    task: Countdown, asked: Sequence[Prompted], policy: Policy, config: DecisionsConfig, max_new_tokens: int
) -> list[_Trace]:
    engine = _plain(policy, config, max_new_tokens)
    prompts = [
        Prompt(one.prompt, [sample_key(config.seed, one.problem.id, sample) for sample in range(config.num_samples)])
        for one in asked
    ]
    traces = []
    for completion in engine.run(prompts):
        one = asked[completion.prompt]
        written = list(policy.tokenizer.convert_ids_to_tokens(completion.tokens))
        words = written[: written.index("</think>") + 1] if "</think>" in written else written
        found = places(one.problem, words, task.config)[: len(words)]
        traces.append(_Trace(one, completion.sample, completion.tokens, words, found))
    return traces


def _plain(policy: Policy, config: DecisionsConfig, max_new_tokens: int) -> Engine:
    limits = EngineConfig(max_new_tokens, config.max_rows)
    return Engine(Lens(policy.model), Plain(Truncation(config.temperature)), policy.end_tokens, limits)


def _read(lens: Lens, traces: Sequence[_Trace], config: DecisionsConfig) -> tuple[list[JsonObject], list[_Spot]]:
    """Rows of all positions of these traces, values still to come, and where they are."""
    states = read_texts(lens, [trace.text for trace in traces])
    support, columns, e = _readouts(lens, states, config)
    rows: list[JsonObject] = []
    spots: list[_Spot] = []
    candidates = support.tokens.tolist()
    for trace in traces:
        for position, (word, place) in enumerate(zip(trace.words, trace.places, strict=True)):
            at = len(rows)
            spots.append(_Spot(trace, position, candidates[at]))
            rows.append(
                {
                    "problem_id": trace.asked.problem.id,
                    "sample": trace.sample,
                    "position": position,
                    "kind": place.kind,
                    "word": word,
                    "legal": list(place.legal),
                    **{name: column[at] for name, column in columns.items()},
                    "e": {name: column[at] for name, column in e.items()},
                    "value": None,
                }
            )
    return rows, spots


Columns = dict[str, list[object]]  # a name on record -> one entry for each of N positions


def _readouts(lens: Lens, states: Mapping[int, Tensor], config: DecisionsConfig) -> tuple[Support, Columns, Columns]:
    """S, what is on record of the layers, and e by source. states: depth -> (N, H)."""
    led, truncation = PRESETS[config.preset], Truncation(config.temperature)
    samplers: dict[str, LEDSampler] = {
        "led": LEDSampler.of(led, truncation, lens),
        "explore_final": ExploreFinal.of(led, truncation, lens),
    }
    if isinstance(lens, PairedLens):
        samplers["explore_base"] = ExploreBase.of(led, truncation, lens)
    support = samplers["led"].truncation.support(lens.logits(states[0], 0, True))
    every = torch.arange(len(support.peak), device=support.peak.device)
    # What e is depends on the states alone.
    step = Step(dict(states), keys=every, positions=every, thinking=torch.ones_like(every, dtype=torch.bool))
    found = {name: sampler.explore(step, lens, support, every) for name, sampler in samplers.items()}
    e = {name: one.e for name, one in found.items()}
    entropies, masses, readouts = [], [], []
    for depth in reversed(range(lens.layers)):
        logits = lens.logits(states[depth], depth, True)
        probabilities = (logits.float() / config.temperature).softmax(-1)
        entropies.append(entropy_nats(probabilities))
        masses.append(probabilities.gather(-1, support.tokens).sum(-1))
        readouts.append(on_support(logits, support.tokens, support.kept, config.temperature))
    columns = {
        "p1": support.peak,
        "explores": samplers["led"].coin(step, lens, support, every, found["led"]).explore,
        "entropy_nats": torch.stack(entropies, 1),
        "mass_on_support": torch.stack(masses, 1),
        "readouts": torch.stack(readouts, 1),
    }
    listed, explored = ({name: _listed(values) for name, values in table.items()} for table in (columns, e))
    return support, listed, explored


def _listed(values: Tensor) -> list[object]:
    """As nested lists of numbers with few digits."""

    def short(value: object) -> object:
        return [short(one) for one in value] if isinstance(value, list) else float(f"{value:.{DIGITS}g}")

    return [short(one) for one in values.tolist()]


def _values(
    task: Countdown, spots: Sequence[_Spot], policy: Policy, config: DecisionsConfig, max_new_tokens: int
) -> list[list[float]]:
    """For each position the share of continuations of each candidate that solve the problem; K numbers each.

    The continuations of all candidates of a position share their random numbers, and have the trace's own budget: what
    is left of it is the same at all positions that lie equally far in.
    """
    solved = [[0] * len(spot.candidates) for spot in spots]
    by_position: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for index, spot in enumerate(spots):
        for candidate, token in enumerate(spot.candidates):
            if token in policy.end_tokens or spot.position + 1 == max_new_tokens:  # nothing can follow it
                solved[index][candidate] = config.rollouts * _solves(task, spot, candidate, [], policy)
            else:
                by_position[spot.position].append((index, candidate))
    for position, tries in sorted(by_position.items()):
        prompts = [
            Prompt(
                [*spots[index].trace.asked.prompt, *_before(spots[index], candidate)],
                [spots[index].key(config.seed, "value", rollout) for rollout in range(config.rollouts)],
            )
            for index, candidate in tries
        ]
        engine = _plain(policy, config, max_new_tokens - position - 1)
        for completion in engine.stream(prompts):
            index, candidate = tries[completion.prompt]
            solved[index][candidate] += _solves(task, spots[index], candidate, completion.tokens, policy)
    return [[count / config.rollouts for count in counts] for counts in solved]


def _before(spot: _Spot, candidate: int) -> list[int]:
    """The completion up to and including the candidate."""
    return [*spot.trace.tokens[: spot.position], spot.candidates[candidate]]


def _solves(task: Countdown, spot: _Spot, candidate: int, rest: Sequence[int], policy: Policy) -> bool:
    text = decode(policy.tokenizer, [*_before(spot, candidate), *rest])
    asked = spot.trace.asked
    return task.grade(asked.problem, answered(policy.tokenizer, asked.prompt, text)).correct
