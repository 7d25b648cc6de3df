"""What long traces should do to pass@k and temperature, from a model that fits on a page (results/long_traces/PLAN.md).

A perfect imitator of the writer of countdown traces chooses operands and operators as the writer does. At temperature T
each choice's distribution is heated: p ** (1 / T), made to sum to 1. Every forced word between the choices goes wrong
with the probability `Slips.rate`, and each slip costs a share of the attempt's chance. So heat does two things: it
spreads choices, which finds solutions that were rare, and it breaks forced words, which costs more the more of them an
attempt has. RL is a tilt towards what solves, then a sharpening: P(attempt) is proportional to (the writer's P x e^tilt
if it solves) ** sharpening.

Shapes: P problems, A attempts of a problem, T temperatures.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from led_rl.errors import UserError
from led_rl.records import JsonObject
from led_rl.schema import SlipsRow
from led_rl.scores.doses import AT, slope_over
from led_rl.scores.slope import problem_slopes
from led_rl.tasks.countdown import Countdown, CountdownConfig, operations, pairs, unfamiliarity
from led_rl.tasks.countdown_trace import places
from led_rl.tasks.countdown_writing import VERBOSITIES, Trace, remaining

FloatArray = NDArray[np.float64]
WORTH_NAMING = 0.01  # a loss of pass@k; below it a share of it says nothing
Choices = tuple[str, ...]  # operands and operators of an attempt, in the order they are written


@dataclass(frozen=True)
class Writer:
    """How the documents of a base are written (`Countdown.documents`)."""

    max_attempts: int
    solution_rate: float
    habit: float


@dataclass(frozen=True)
class Slips:
    """Probability that a forced word goes wrong, exp(at_1 + per_degree (T - 1)), and the share of an attempt's chance
    of success that each slip costs."""

    at_1: float
    per_degree: float
    cost: float = 1.0

    @classmethod
    def fitted(cls, rows: Sequence[SlipsRow]) -> "Slips":
        """From what was measured at several temperatures: a line through the logarithms, temperatures weighing
        equally, and the mean cost. UserError where there are none to draw a line through."""
        known = [row for row in rows if row["slip_rate"]]
        if len({row["temperature"] for row in known}) < 2:
            raise UserError("slips.jsonl: slips of plain sampling at two temperatures at least are needed")
        logs = [math.log(row["slip_rate"] or 1.0) for row in known]
        slope, at_0 = np.polyfit([row["temperature"] for row in known], logs, 1)
        costs = [1 - row["correct_slipped"] / row["correct_sound"] for row in known
                 if row["correct_sound"] and row["correct_slipped"] is not None]  # fmt: skip
        return cls(float(at_0 + slope), float(slope), float(np.mean(costs)) if costs else 1.0)

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


class Heated:
    """Attempts word by word, every choice heated: the probability of a whole attempt's choices."""

    def __init__(self, written: Mapping[Trace, float]) -> None:
        self.mass: defaultdict[Choices, float] = defaultdict(float)  # of each beginning
        self.after: defaultdict[Choices, dict[Choices, None]] = defaultdict(dict)
        for trace, probability in written.items():
            words = spelt(trace)
            for end in range(len(words) + 1):
                self.mass[words[:end]] += probability
                if end:
                    self.after[words[: end - 1]][words[:end]] = None

    def choice(self, words: Choices, temperature: float) -> float:
        """Probability of the last of these words after the others."""
        weights = [self.mass[other] ** (1 / temperature) for other in self.after[words[:-1]]]
        return float(self.mass[words] ** (1 / temperature) / sum(weights))


def spelt(trace: Trace) -> Choices:
    """The chosen words of an attempt."""
    return tuple(str(word) for step in trace for word in step[:3])


def solved(
    written: Mapping[Trace, float],
    target: int,
    temperatures: Sequence[float],
    beside: Mapping[Trace, float] | None = None,
    share: float = 0.0,
) -> list[float]:
    """Probability that one attempt solves the problem, by temperature.

    With `beside`, each choice is made by those attempts (the base's) with probability `share`: what a decoder does that
    explores with something less sure than the final layer.
    """
    own, other = Heated(written), Heated(beside or written)
    right = {spelt(trace) for trace in written if trace[-1][3] == target}

    def mixed(words: Choices, temperature: float) -> float:
        ends = range(1, len(words) + 1)
        return math.prod(
            (1 - share) * own.choice(words[:end], temperature) + share * other.choice(words[:end], temperature)
            for end in ends
        )

    return [sum(mixed(words, temperature) for words in right) for temperature in temperatures]


@dataclass(frozen=True)
class Curve:
    """pass@1, pass@k and slips a trace by temperature, and the slope of pass@k over temperature (per 1 of T)."""

    temperatures: list[float]
    pass_at_1: list[float]
    pass_at_k: list[float]
    slips_a_trace: list[float]
    slope: float


def curve(
    solved_by: FloatArray, temperatures: Sequence[float], forced: float, slips: Slips, writer: Writer, k: int = 16
) -> Curve:
    """solved_by (T, P): probability that an attempt solves a problem, slips set aside; `forced`: words an attempt."""
    rates = np.array([slips.rate(temperature) for temperature in temperatures])
    each = solved_by * ((1 - rates * slips.cost) ** forced)[:, None]
    right = 1 - (1 - each) ** writer.max_attempts
    passes = 1 - (1 - right) ** k
    failed = np.stack([(1 - each) ** number for number in range(writer.max_attempts)])
    tried = failed.sum(0).mean(-1)  # attempts a trace
    warm = slope_over(temperatures)
    slope = float(problem_slopes(warm, passes[[list(temperatures).index(t) for t in warm]]).mean())
    each_slips = (rates * forced * tried).tolist()
    return Curve(list(temperatures), right.mean(1).tolist(), passes.mean(1).tolist(), each_slips, slope)


def forced_words(task: Countdown, writer: Writer, documents: int = 200) -> float:
    """Words of an attempt that follow from its choices, as the grammar has them, and its close."""
    forced = attempts = 0
    for prompt, completion in islice(
        task.documents("train", 0, writer.max_attempts, writer.solution_rate, writer.habit), documents
    ):
        words = completion.split()
        problem = task.asked("", prompt)
        assert problem is not None  # the task's own prompt
        found = places(problem, words, task.config)[: words.index("</think>")]
        forced += sum(len(place.legal) == 1 for place in found)
        attempts += words.count(";") + 1
    return forced / attempts


def expected(
    writer: Writer,
    training: Training,
    base_slips: Slips,
    trained_slips: Slips,
    decoders: Mapping[str, tuple[float, float]],
    temperatures: Sequence[float],
    problems: int,
) -> list[JsonObject]:
    """One object a dose: curves of the base, of the trained policy, and of decoders of it, with the share that each
    gives back of the pass@k that training took at T = 1; null where it took less than a point."""
    asked = Countdown().problems("validation", problems)
    of_base, of_trained = list[list[float]](), list[list[float]]()
    of_decoders: dict[str, list[list[float]]] = {name: [] for name in decoders}
    for problem in asked:
        numbers, target = problem.data["numbers"], problem.data["target"]
        written = attempts(numbers, target, writer, CountdownConfig())
        after = trained(written, target, training)
        of_base.append(solved(written, target, temperatures))
        of_trained.append(solved(after, target, temperatures))
        for name, (share, _) in decoders.items():
            of_decoders[name].append(solved(after, target, temperatures, written, share))
    at_1 = list(temperatures).index(AT)
    found: list[JsonObject] = []
    for verbosity in VERBOSITIES:
        forced = forced_words(Countdown(CountdownConfig(verbosity=verbosity)), writer)

        def drawn(values: list[list[float]], slips: Slips, forced: float = forced) -> Curve:
            return curve(np.array(values).T, temperatures, forced, slips, writer)

        base, after_rl = drawn(of_base, base_slips), drawn(of_trained, trained_slips)
        lost = base.pass_at_k[at_1] - after_rl.pass_at_k[at_1]
        rows = {}
        for name, (_, factor) in decoders.items():
            more = replace(trained_slips, at_1=trained_slips.at_1 + math.log(factor))
            own = drawn(of_decoders[name], more)
            given = own.pass_at_k[at_1] - after_rl.pass_at_k[at_1]
            rows[name] = {**asdict(own), "share_recovered": given / lost if lost >= WORTH_NAMING else None}
        found.append(
            {
                "verbosity": verbosity,
                "forced_words_an_attempt": forced,
                "base": asdict(base),
                "trained": asdict(after_rl),
                "decoders": rows,
            }
        )
    return found
