"""What long traces should do to pass@k and temperature, from a model that fits on a page (results/long_traces/PLAN.md).

A perfect imitator of the writer of countdown traces chooses operands and operators as the writer does. At temperature T
each choice's distribution is heated, p ** (1 / T) made to sum to 1. Every forced word between the choices slips with
probability `slip(T)`, and a slip spoils its attempt. So heat does two things: it spreads choices, which finds solutions
that were rare, and it breaks forced words, which costs more the more of them an attempt has. RL is a tilt towards
what solves, then a sharpening: P(attempt) proportional to (writer's P x e^tilt if it solves) ** sharpening.

Shapes: P problems, A attempts of a problem, T temperatures.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from led_rl.scores.slope import problem_slopes
from led_rl.tasks.countdown import Countdown, CountdownConfig, operations, pairs, unfamiliarity
from led_rl.tasks.countdown_writing import Trace, remaining

FloatArray = NDArray[np.float64]
Choices = tuple[str, ...]  # operands and operators of an attempt, in the order they are written


@dataclass(frozen=True)
class Writer:
    """How the documents of a base are written (`Countdown.documents`)."""

    max_attempts: int
    solution_rate: float
    habit: float


@dataclass(frozen=True)
class Slips:
    """Probability that a forced word goes wrong, exp(at_1 + per_degree (T - 1))."""

    at_1: float
    per_degree: float

    def rate(self, temperature: float) -> float:
        return math.exp(self.at_1 + self.per_degree * (temperature - 1))


@dataclass(frozen=True)
class Training:
    """What RL does to the distribution of attempts; tilt 0 and sharpening 1 leave the base."""

    tilt: float = 0.0
    sharpening: float = 1.0


def attempts(numbers: Sequence[int], target: int, writer: Writer, config: CountdownConfig) -> dict[Trace, float]:
    """Every attempt at a problem, with the probability that the writer writes it next."""
    random: defaultdict[Trace, float] = defaultdict(float)

    def extend(left: tuple[int, ...], steps: Trace, probability: float) -> None:
        if len(left) == 1:
            random[steps] += probability
            return
        choices = [step for i, j in pairs(len(left)) for step in operations(left[i], left[j], config)]
        weights = [math.exp(-writer.habit * unfamiliarity([step])) for step in choices]
        for step, weight in zip(choices, weights, strict=True):
            extend(remaining(left, step), (*steps, step), probability * weight / sum(weights))

    extend(tuple(numbers), (), 1.0)
    total = sum(random.values())  # below 1 where some chains end in a dead end, and are begun again
    solutions = [trace for trace in random if trace[-1][3] == target]
    seen = {
        trace: writer.solution_rate / len(solutions) * math.exp(-writer.habit * unfamiliarity(trace))
        for trace in solutions
    }
    rest = 1 - sum(seen.values())
    return {trace: rest * p / total + seen.get(trace, 0.0) for trace, p in random.items()}


def trained(written: Mapping[Trace, float], target: int, training: Training) -> dict[Trace, float]:
    """The same after RL."""
    weights = {
        trace: (p * math.exp(training.tilt * (trace[-1][3] == target))) ** training.sharpening
        for trace, p in written.items()
    }
    total = sum(weights.values())
    return {trace: weight / total for trace, weight in weights.items()}


def solved(written: Mapping[Trace, float], target: int, temperature: float) -> float:
    """Probability that one attempt solves the problem when every choice is heated."""
    mass: defaultdict[Choices, float] = defaultdict(float)  # of each beginning
    after: defaultdict[Choices, dict[Choices, None]] = defaultdict(dict)
    spelt = {trace: tuple(str(word) for step in trace for word in step[:3]) for trace in written}
    for trace, probability in written.items():
        words = spelt[trace]
        for end in range(len(words) + 1):
            mass[words[:end]] += probability
            if end:
                after[words[: end - 1]][words[:end]] = None

    def heated(words: Choices) -> float:
        product = 1.0
        for end in range(1, len(words) + 1):
            weights = [mass[other] ** (1 / temperature) for other in after[words[: end - 1]]]
            product *= mass[words[:end]] ** (1 / temperature) / sum(weights)
        return product

    return sum(heated(words) for words in {spelt[trace] for trace in written if trace[-1][3] == target})


@dataclass(frozen=True)
class Curve:
    """pass@1, pass@k and slips a trace by temperature, and the slope of pass@k over temperature (per 1 of T)."""

    temperatures: list[float]
    pass_at_1: list[float]
    pass_at_k: list[float]
    slips_a_trace: list[float]
    slope: float


def curve(
    solved_by: FloatArray, temperatures: Sequence[float], forced: float, slips: Slips, max_attempts: int, k: int = 16,
    slope_over: tuple[float, float] = (0.6, 1.4),
) -> Curve:  # fmt: skip
    """solved_by (T, P): probability that an attempt solves a problem, slips set aside; `forced`: words an attempt."""
    whole = np.array([(1 - slips.rate(temperature)) ** forced for temperature in temperatures])
    each = solved_by * whole[:, None]
    right = 1 - (1 - each) ** max_attempts
    passes = 1 - (1 - right) ** k
    tried = 1 + (1 - each).mean(1) * (max_attempts - 1)  # attempts a trace, exact for two
    inside = [i for i, t in enumerate(temperatures) if slope_over[0] <= t <= slope_over[1]]
    slope = problem_slopes([temperatures[i] for i in inside], passes[inside]).mean()
    rates = np.array([slips.rate(temperature) for temperature in temperatures])
    return Curve(
        list(temperatures), right.mean(1).tolist(), passes.mean(1).tolist(), (rates * forced * tried).tolist(),
        float(slope),
    )  # fmt: skip


def solving(
    task: Countdown, writer: Writer, training: Training, temperatures: Sequence[float], problems: int, seed: int = 0
) -> FloatArray:
    """Probability that an attempt solves each of the validation problems, (T, P)."""
    found = []
    for problem in task.problems("validation", problems, seed):
        numbers, target = problem.data["numbers"], problem.data["target"]
        own = trained(attempts(numbers, target, writer, task.config), target, training)
        found.append([solved(own, target, temperature) for temperature in temperatures])
    return np.array(found).T
