"""What every record holds: the keys of each JSON and JSONL file that led_rl writes, with their units, and their reader.

One long file, since a reader looks all keys up in one place; `page` makes the documentation of them.

`read_rows` and `read_record` check keys and types as they read, and an error names the file and the line. Records that
were made before a key existed are filled in here and nowhere else. `python -m led_rl.schema` prints docs/records.md.
Fractions lie in 0..1; `ci95` is [low, high] of a 95% bootstrap interval, null where one problem gives none.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict, is_typeddict

from led_rl.arm_card import ArmCards
from led_rl.errors import UserError
from led_rl.records import iter_lines, read_json

CLOSED = ConfigDict(extra="forbid", strict=True)
OPEN = ConfigDict(extra="allow", strict=True)  # metrics of a trainer or a benchmark: numbers under names of their own

Interval = Annotated[list[float] | None, "95% bootstrap interval [low, high]"]
Text = Literal["own", "reference"]


# -- what made a record ------------------------------------------------------------------------------------------------


@with_config(OPEN)
class Session(TypedDict):
    """One run of a command: what made a record, or a part of it. Further keys are facts of that command."""

    command: Annotated[str, "as it was typed"]
    git_sha: Annotated[str | None, "commit of the code; null outside a checkout"]
    git_dirty: Annotated[bool, "whether tracked files differed from that commit"]
    versions: Annotated[dict[str, str], "of Python and the packages that matter"]
    seeds: Annotated[dict[str, int], "by what they seed"]
    machine: Annotated[dict[str, Any], "platform, processor, cpus"]
    started: Annotated[str, "UTC, ISO 8601"]


@with_config(CLOSED)
class RunRecord(TypedDict):
    """`run.json`: what made a run folder. A run that was resumed has several sessions."""

    sessions: list[Session]


# -- training ----------------------------------------------------------------------------------------------------------


@with_config(OPEN)
class TrainRow(TypedDict):
    """`train.jsonl`: training metrics, a row a logging step. Further keys: `reward_<name>`, and what a rollout adds."""

    rl_step: int
    reward: NotRequired[Annotated[float, "mean over completions, rewards weighted and summed"]]
    reward_std: NotRequired[Annotated[float, "standard deviation within groups, their mean"]]
    zero_std_groups_rate: NotRequired[Annotated[float, "fraction of groups whose completions earned the same"]]
    entropy_sampling_nats: NotRequired[
        Annotated[float, "final layer's, at the sampling temperature, on what was sampled: not comparable over steps"]
    ]
    length_tokens: NotRequired[Annotated[float, "mean completion length"]]
    truncated_rate: NotRequired[Annotated[float, "fraction of completions that the budget ended"]]
    dropped_samples: NotRequired[
        Annotated[
            int,
            "times since the row before that a reward gave a completion None; absent for none",
        ]
    ]
    loss: NotRequired[float]
    kl_nats: NotRequired[Annotated[float, "to the reference model, where beta > 0"]]
    grad_norm: NotRequired[float]
    learning_rate: NotRequired[float]
    step_s: NotRequired[Annotated[float, "seconds of a step"]]
    rollout_s: NotRequired[Annotated[float, "seconds of its rollouts"]]
    entropy_coef: NotRequired[Annotated[float, "weight of TRL's entropy bonus, where there is one"]]
    ratio_mean: NotRequired[Annotated[float, "mean importance ratio pi_S / q, before it is clipped; 1 in expectation"]]
    ratio_max: NotRequired[Annotated[float, "largest one, before it is clipped"]]
    ratio_clipped_rate: NotRequired[Annotated[float, "fraction of ratios above rollout.clip"]]
    effective_sample_rate: NotRequired[
        Annotated[float, "(sum w)^2 / (n sum w^2) of the ratios w: 1 where all are equal"]
    ]
    explored_rate: NotRequired[Annotated[float, "fraction of tokens drawn from e, LED's exploring distribution"]]


@with_config(CLOSED)
class WatchRow(TypedDict):
    """`watch.jsonl`: samples of fixed validation problems at a checkpoint, while a run trains, a row an arm and
    temperature; plain sampling at the rollouts' temperature first."""

    rl_step: int
    arm: Annotated[str, "name of the arm"]
    temperature: float
    problems: int
    n: Annotated[int, "samples a problem"]
    pass_at_k: Annotated[dict[str, float], "by k, 1 and n, unbiased, fractions"]
    since_step: Annotated[int, "the first step on record"]
    change: Annotated[float, "pass@n minus that of since_step, same problems and random numbers, a fraction"]
    change_ci95: Annotated[list[float], "95% bootstrap interval [low, high]"]
    zero_std_groups_rate: Annotated[float, "fraction of problems whose samples are all right or all wrong"]
    all_right_groups_rate: float
    all_wrong_groups_rate: float
    mean_length_tokens: float
    truncated_rate: Annotated[float, "fraction of samples that the budget ended"]
    correct: Annotated[list[int], "right samples of each problem, 0 .. n"]
    alarm: Annotated[str, "what the alarm did then: none, stop or temperature"]
    wall_s: NotRequired[Annotated[float, "seconds of the one pass that drew all rows of this step"]]


@with_config(CLOSED)
class ProbeRow(TypedDict):
    """`probe.jsonl`: entropy of every layer at T = 1 on one probe text, with or without the final norm."""

    rl_step: NotRequired[Annotated[int, "step of GRPO"]]
    pretrain_step: NotRequired[Annotated[int, "step of pretraining or warm-up, in place of rl_step"]]
    text: Annotated[Text, "own: the checkpoint's samples; reference: fixed text"]
    final_norm: Annotated[bool, "whether intermediate states pass the final norm before the head"]
    entropy_nats: Annotated[list[float], "layers 1 to L, mean over tokens"]
    entropy_final_nats: Annotated[float, "layer L"]
    entropy_intermediate_nats: Annotated[float, "mean over the layers of LED's window below L"]
    tokens: Annotated[int, "positions measured"]
    mean_length_tokens: Annotated[float, "of the texts"]


# -- evaluation --------------------------------------------------------------------------------------------------------


@with_config(CLOSED)
class ModelRecord(TypedDict):
    """Whose weights were sampled."""

    source: Annotated[str, "folder or Hub id"]
    fingerprint: Annotated[str, "hash of the weights"]


@with_config(CLOSED)
class ArmRecord(TypedDict):
    """What an arm says of itself (`led_rl.arm_card.ArmCard`)."""

    name: Annotated[str, "as on the command line"]
    top_k: Annotated[int | None, "k of its truncation"]
    family: Annotated[str, "arms of a family are one method under other settings"]
    group: Literal["plain", "control", "led", "explore", "rival", "weights"]
    label: Annotated[str, "for figures and tables"]
    as_baseline: Annotated[str, "what a sentence calls it after `against`"]
    compared_with: Annotated[list[str], "keys of the arms it is held against"]
    settings: Annotated[dict[str, Any], "all that makes it"]


@with_config(CLOSED)
class EvalRecord(TypedDict):
    """`eval/eval.json`: the settings that every sample of an evaluation shares, its arms, models and sessions."""

    task: Annotated[dict[str, Any], "name and options of the task"]
    prompt: Annotated[dict[str, Any], "system prompt and chat template options"]
    split: str
    seed: int
    num_samples: Annotated[int, "samples a problem, n"]
    n: Annotated[int, "the same"]
    num_problems: int
    max_new_tokens: Annotated[int, "budget of a sample"]
    matched: Annotated[dict[str, float], "truncation that all arms share"]
    precision: str
    engine: Annotated[str, "which engine drew the samples: engine or vllm"]
    common_random_numbers: Annotated[bool, "whether arms share the random numbers of a sample"]
    thinking: Annotated[str, "marked: LED acts between <think> and </think>; whole response: everywhere"]
    arms: Annotated[dict[str, ArmRecord], "by key"]
    models: Annotated[dict[str, ModelRecord], "by checkpoint"]
    contamination: Annotated[dict[str, Any] | None, "problems that training saw; null where no run says what it saw"]
    processes: int
    sessions: list[Session]


@with_config(CLOSED)
class ProblemRow(TypedDict):
    """`eval/problems.jsonl`: what was asked, once for all samples."""

    problem_id: str
    question: Annotated[str, "the task's prompt"]
    gold: Annotated[str, "a right answer, as the task states it"]


class CellKey(TypedDict):
    """Which checkpoint and arm a row is of."""

    checkpoint: str
    rl_step: Annotated[int | None, "null for a model that is no checkpoint of a run"]
    arm: Annotated[str, "name of the arm"]
    top_k: Annotated[int | None, "its k; together with `arm` it identifies the arm"]


@with_config(CLOSED)
class SampleRow(CellKey):
    """`eval/samples/<checkpoint>/<arm>-T<temperature>.rank<r>.jsonl`: one graded sample."""

    temperature: float
    problem_id: str
    sample: Annotated[int, "0 .. n - 1"]
    correct: bool
    status: Annotated[str, "correct, wrong, or why there is no answer"]
    answer: Annotated[str | None, "as the grader read it"]
    length_tokens: int
    truncated: Annotated[bool, "whether the budget ended it"]
    completion: Annotated[str, "the text, end token left out"]
    wall_s: Annotated[float, "its share of the seconds its batch took"]


@with_config(CLOSED)
class ResultRow(CellKey):
    """`eval/results.jsonl`: pass@k of a cell (checkpoint, arm, temperature) over its complete problems."""

    temperature: float
    problems: Annotated[int, "complete ones, which all else here is over"]
    incomplete_problems: Annotated[int, "planned or begun ones that lack samples"]
    n: Annotated[int, "samples a problem"]
    pass_at_k: Annotated[dict[str, float], "by k, unbiased, fractions; {} without a complete problem"]
    pass_at_k_ci95: Annotated[dict[str, Interval], "by k"]
    mean_length_tokens: float | None
    truncated_rate: Annotated[float | None, "fraction of samples that the budget ended"]
    status_counts: Annotated[dict[str, int], "samples by the grader's status"]
    tokens_per_s: Annotated[float | None, "what the evaluation cost, arms sharing their batches; no speed of an arm"]


@with_config(CLOSED)
class ComparisonRow(CellKey):
    """`eval/comparisons.jsonl`: an arm minus one that it is compared with, same problems and temperature."""

    baseline: Annotated[str, "name of the other arm"]
    baseline_top_k: Annotated[int | None, "its k"]
    temperature: float
    k: Annotated[int, "of pass@k"]
    difference: Annotated[float, "arm minus baseline, a fraction"]
    ci95: Interval
    problems: int
    problems_differing: Annotated[int, "problems in which the two differ, which is what the interval rests on"]


@with_config(CLOSED)
class FrontierRow(CellKey):
    """`eval/frontiers.jsonl`: pass@k of an arm above another's curve over temperatures, read at equal pass@1."""

    baseline: str
    baseline_top_k: int | None
    baseline_temperatures: Annotated[list[float], "the points of its curve"]
    temperature: Annotated[float, "the arm's"]
    k: int
    pass_at_1: Annotated[float, "the arm's"]
    difference: Annotated[float | None, "a fraction; null where the curve does not reach that pass@1"]
    ci95: Interval
    problems: int


@with_config(CLOSED)
class SlipsRow(CellKey):
    """`eval/slips.jsonl`: words of traces that the task's grammar does not allow, in one cell, over the first
    samples of the first problems. Words of the thinking count, each attempt up to what the grammar can tell no more."""

    temperature: float
    problems: int
    traces: int
    forced_words: Annotated[float, "a trace: words that follow from those before"]
    choices: Annotated[float, "a trace: words of which several are legal"]
    slips: Annotated[float, "a trace: words that are not legal"]
    slips_ci95: Interval | None
    forced_slips: Annotated[float, "a trace: those in forced places"]
    forced_slips_ci95: Interval | None
    slip_rate: Annotated[float | None, "of a forced word"]
    sound_rate: Annotated[float, "fraction of traces without a slip"]
    correct_sound: Annotated[float | None, "fraction of right answers among them"]
    correct_slipped: Annotated[float | None, "fraction of right answers among the others"]


@with_config(CLOSED)
class SlopeRow(CellKey):
    """`eval/slopes.jsonl`: does pass@k still rise with temperature?"""

    k: int
    slope: Annotated[float, "fraction per unit of temperature, least squares"]
    ci95: Interval
    temperatures: list[float]
    problems: int


@with_config(CLOSED)
class ChangeRow(TypedDict):
    """`eval/changes.jsonl`: a later checkpoint minus the first, same arm and temperature, on the same problems."""

    arm: str
    top_k: int | None
    temperature: float
    k: int
    from_step: int
    to_step: int
    checkpoint: Annotated[str, "the later one"]
    difference: Annotated[float, "a fraction"]
    ci95: Interval
    problems: int
    problems_differing: int


@with_config(CLOSED)
class AboveFrontier(TypedDict):
    """How far an arm lies above the frontier of something cheaper, at equal pass@1 (`led_rl.scores.envelope`)."""

    difference: Annotated[float, "pass@k above it, a fraction"]
    ci95: Interval
    p: Annotated[float | None, "two-sided"]
    p_holm: Annotated[float | None, "the same, adjusted over all arms and temperatures of the step"]


@with_config(CLOSED)
class ClaimRow(TypedDict):
    """`claims.jsonl`: a claim of a study's plan about an arm at its last step, written before it was tested."""

    arm: str
    temperature: float
    lies_above: Annotated[
        Literal["a third", "top_k", "led", "wise"],
        "a third: of the loss, by its share recovered; else a frontier: truncation, LED as published, mixed weights",
    ]


@with_config(CLOSED)
class RecoveryRow(TypedDict):
    """`eval/recovery.jsonl`: what an arm gives back of the pass@k that RL took, and at what price in pass@1.

    Over one run in a run's folder; over all runs of a recipe in a study's, runs and problems both as drawn by chance.
    """

    recipe: Annotated[str, "what was trained how; `run` in a run's folder"]
    rl_step: int
    arm: str
    top_k: int | None
    label: str
    group: str
    family: Annotated[str, "arms of one family are one method under other settings"]
    needs_base: Annotated[bool, "whether it needs the base's weights beside the policy's"]
    temperature: float
    reference_temperature: Annotated[float, "at which plain sampling says what RL gained and lost"]
    k: Annotated[int, "of pass@k, 16 where it was measured"]
    pass_at_1: float
    pass_at_k: float
    pass_at_k_lost: Annotated[float, "base minus policy, plain sampling"]
    pass_at_1_gained: Annotated[float, "policy minus base, plain sampling"]
    share_recovered: Annotated[float | None, "fraction of the loss given back; null where no loss is shown"]
    ci95: Annotated[list[float] | None, "of the share, over runs and problems (`led_rl.scores.hierarchy`)"]
    t_ci95: Annotated[list[float] | None, "of the share, Student's over runs alone (jackknife); null for one run"]
    p_third: NotRequired[Annotated[float | None, "two-sided: that the share is a third"]]
    pass_at_1_price: Annotated[float, "plain minus arm, a fraction"]
    price_ci95: Interval
    above: Annotated[dict[str, AboveFrontier], "by frontier: top_k (truncation alone), led (as published), wise"]
    runs: int
    problems: int


class DoseRow(TypedDict):
    """`doses.jsonl`: one arm at one dose of forced words, over its runs; step 0 is the base, sampled plainly."""

    verbosity: Annotated[int, "of countdown traces"]
    base: Annotated[str, "name of the base that the runs share"]
    rl_step: int
    arm: str
    top_k: int | None
    k: Annotated[int, "of pass@k"]
    runs: int
    problems: int
    temperatures: Annotated[list[float], "what the slope is over"]
    slope: Annotated[float, "of pass@k, fraction per unit of temperature, mean over runs and problems"]
    slope_ci95: Annotated[list[float] | None, "over runs and problems"]
    slope_t_ci95: Annotated[list[float] | None, "Student's over runs; null for one run"]
    pass_at_k: Annotated[dict[str, float], "by temperature"]
    pass_at_1: Annotated[dict[str, float], "by temperature"]
    forced_words: Annotated[float | None, "a trace, at T = 1"]
    slips: Annotated[dict[str, float], "a trace, by temperature"]
    share_recovered: Annotated[float | None, "at T = 1, as in recovery.jsonl; null where no loss is shown"]
    share_ci95: list[float] | None
    pass_at_1_price: Annotated[float | None, "at T = 1"]


@with_config(CLOSED)
class PairedDifference(TypedDict):
    """Minus other rollouts: paired by seed, and by problem where it is a mean over problems."""

    difference: float
    ci95: Annotated[list[float] | None, "over runs and problems; null for one number a run"]
    t_ci95: Annotated[list[float] | None, "Student's over runs; null for one run"]
    runs: int


@with_config(CLOSED)
class RolloutsRow(TypedDict):
    """`rollouts.jsonl`: one number of the runs that rolled out alike, after their last step, over seeds."""

    recipe: str
    rollouts: Annotated[str, "what GRPO sampled its completions with, and what it did beside"]
    measure: Annotated[
        str,
        "pass_at_k; pass_at_k_own_best (temperature chosen on the other half of the problems); reward_mean (over all "
        "steps); reward_end and zero_std_groups_end (over the last 100 steps); steps_to_reward (25 steps with mean "
        "reward 1); step_s; entropy_final_kept and entropy_intermediate_kept (fraction of step 0's); or of the "
        "importance ratios: ratio_mean, ratio_max, ratio_clipped_rate, effective_sample_rate, explored_rate",
    ]
    decoder: Annotated[str | None, "what the trained model was tested with"]
    temperature: float | None
    k: int | None
    seeds: Annotated[list[int], "of steps_to_reward those that got there"]
    of_runs: Annotated[list[float], "one number a seed"]
    mean: Annotated[
        float | None,
        "over seeds, and problems where it is pass@k, a fraction; null for steps_to_reward where some run never got "
        "there",
    ]
    ci95: Annotated[list[float] | None, "over runs and problems; null for one number a run"]
    t_ci95: Annotated[list[float] | None, "Student's over runs; null for one run"]
    minus: Annotated[
        dict[str, PairedDifference],
        "by rollouts: plain (tested plainly), and for led_corrected also led (tested alike)",
    ]
    problems: int | None


@with_config(CLOSED)
class CountsCell(CellKey):
    """Right samples of a cell's problems, in the order of the record's `problem_ids`."""

    temperature: float
    correct: Annotated[list[int | None], "0 .. n; null where the cell lacks samples of that problem"]


@with_config(CLOSED)
class CountsRecord(TypedDict):
    """`eval/counts.json.gz`: right samples by problem and cell, from which all intervals can be made again."""

    n: Annotated[int, "samples a problem"]
    problem_ids: list[str]
    cells: list[CountsCell]


# -- diagnosis ---------------------------------------------------------------------------------------------------------


@with_config(CLOSED)
class Estimate(TypedDict):
    """A mean with its interval over problems."""

    mean: float | None
    ci95: Interval


@with_config(CLOSED)
class DecisionRow(TypedDict):
    """`eval/decisions.jsonl`: at one kind of token, how sure the model is and what one source is worth."""

    checkpoint: str
    rl_step: int | None
    kind: Annotated[str, "decision, forced, again, off or all"]
    positions: int
    problems: int
    valued_positions: Annotated[int, "those at which rollouts gave each candidate a value"]
    token_share: Annotated[float, "fraction of all tokens"]
    explored_share: Annotated[float, "fraction of LED's exploration that falls here"]
    p1: Annotated[Estimate, "largest probability of the final layer"]
    explored_rate: Annotated[Estimate, "LED's probability of exploring: 1 - p1, or what the preset's coin says"]
    entropy_final_nats: Estimate
    legal_words: Annotated[Estimate, "words that the grammar allows there"]
    source: Annotated[str, "pi, layer_<l>, led, explore_final, explore_base, uniform or argmax"]
    entropy_nats: Annotated[float | None, "of a layer's readout"]
    mass_on_support: Annotated[float | None, "a layer's probability of the k candidates"]
    legality: Annotated[dict[str, Any] | None, "mass on legal words, by position and weighted by exploration"]
    worth: Annotated[dict[str, Any] | None, "value and mass on good candidates, likewise"]
    minus: Annotated[dict[str, Any], "paired differences from other sources"]


@with_config(CLOSED)
class DecisionsRecord(TypedDict):
    """`eval/decisions.json`: settings, weights and sessions of a diagnosis."""

    settings: dict[str, Any]
    models: dict[str, ModelRecord]
    sessions: list[Session]


@with_config(OPEN)
class DecisionPositionRow(TypedDict):
    """`eval/decisions_positions.jsonl`: one token of a trace, with every layer's readout on the candidates."""

    checkpoint: str
    rl_step: int | None
    problem_id: str


# -- inspection --------------------------------------------------------------------------------------------------------


@with_config(CLOSED)
class InspectedToken(TypedDict):
    """One token of an inspected sample, and what the model says where it was drawn, at the sample's temperature."""

    id: Annotated[int, "in the tokenizer's vocabulary"]
    text: str
    thinking: Annotated[bool, "whether LED acts here"]
    entropy_final_nats: Annotated[float, "of the final layer, over the whole vocabulary"]
    p1: Annotated[float, "largest probability of the final layer"]
    log_q: Annotated[float, "of this token, under what it was drawn from"]
    log_pi: Annotated[float, "of this token, under the final layer on the tokens that the arm keeps"]
    explored: Annotated[bool, "whether it was drawn from LED's e"]
    coin: Annotated[float, "LED's probability of exploring here; 0 where it does not act"]
    stop_layer: Annotated[int | None, "where LED's sum of layers stops (j*); null where LED does not act"]
    kind: NotRequired[Annotated[str, "what stands here, where the task has a grammar"]]
    decides: NotRequired[Annotated[bool, "whether the grammar leaves a choice that matters"]]
    legal: NotRequired[Annotated[list[str], "words that the grammar allows"]]
    layer_nats: Annotated[list[float] | None, "entropy of layers 1 to L; null as `layers` is"]
    layers: Annotated[
        list[list[tuple[str, float]]] | None,
        "most probable tokens of layers 1 to L with their probabilities; null where the file had no room",
    ]
    choices: Annotated[
        list[tuple[str, float, float, float]] | None,
        "likeliest words of LED's S, each with its share of pi_S (final layer), of e and of q; null likewise",
    ]


@with_config(CLOSED)
class InspectedRow(CellKey):
    """`eval/inspect/<checkpoint>.jsonl`: one sample token by token; a problem has a row an arm, of the same sample."""

    temperature: float
    problem_id: str
    question: str
    gold: str
    sample: Annotated[int, "the first in which the arms part, else 0"]
    samples: Annotated[int, "drawn of each problem"]
    samples_parted: Annotated[int, "of these, those in which the arms differ"]
    correct: bool
    status: str
    answer: str | None
    truncated: bool
    length_tokens: int
    completion: str
    window: Annotated[list[int], "layers that LED adds up, final layer first"]
    final_norm: Annotated[bool, "whether layers are read through the final norm"]
    support: Annotated[int, "LED's k"]
    tokens: list[InspectedToken]


@with_config(CLOSED)
class InspectRecord(TypedDict):
    """`eval/inspect.json`: settings, arms, weights and sessions of an inspection."""

    settings: dict[str, Any]
    arms: Annotated[dict[str, ArmRecord], "by key"]
    models: dict[str, ModelRecord]
    sessions: list[Session]


# -- studies and benchmarks --------------------------------------------------------------------------------------------


@with_config(CLOSED)
class CellRecord(TypedDict):
    """`cells/<name>/cell.json`: one recipe of a search."""

    name: str
    why: Annotated[str, "the question it asks"]
    differs: Annotated[str, "options in which it differs from the search's start"]


@with_config(CLOSED)
class SearchRow(TypedDict):
    """`search.jsonl`: one recipe of a search: entropies and scores before and after, LED against its baselines."""

    cell: str
    why: str
    differs: str
    rl_steps: int
    wall_s: Annotated[float, "training and probe"]
    before: Annotated[dict[str, Any], "step 0: entropies (nats), pass@1 and pass@16, slope"]
    after: Annotated[dict[str, Any], "last step, likewise"]
    led_minus: Annotated[list[dict[str, Any]], "arm, temperature, and a difference by family of baseline"]


@with_config(OPEN)
class BenchRecord(Session):
    """`results/speed/**.json`: a session with the rows that it measured."""

    rows: Annotated[list[dict[str, Any]], "one measurement each"]


FILES: dict[str, type] = {
    "run.json": RunRecord,
    "train.jsonl": TrainRow,
    "probe.jsonl": ProbeRow,
    "watch.jsonl": WatchRow,
    "eval/eval.json": EvalRecord,
    "eval/problems.jsonl": ProblemRow,
    "eval/samples/**/*.jsonl": SampleRow,
    "eval/results.jsonl": ResultRow,
    "eval/comparisons.jsonl": ComparisonRow,
    "eval/frontiers.jsonl": FrontierRow,
    "eval/slopes.jsonl": SlopeRow,
    "eval/slips.jsonl": SlipsRow,
    "eval/changes.jsonl": ChangeRow,
    "eval/counts.json.gz": CountsRecord,
    "eval/recovery.jsonl": RecoveryRow,
    "claims.jsonl": ClaimRow,
    "eval/decisions.json": DecisionsRecord,
    "eval/decisions.jsonl": DecisionRow,
    "eval/decisions_positions.jsonl": DecisionPositionRow,
    "eval/inspect.json": InspectRecord,
    "eval/inspect/*.jsonl": InspectedRow,
    "cells/*/cell.json": CellRecord,
    "search.jsonl": SearchRow,
    "rollouts.jsonl": RolloutsRow,
    "doses.jsonl": DoseRow,
    "results/speed/**/*.json": BenchRecord,
}
"""Which file holds what; paths are those inside a run folder or a study's."""

Kind = TypeVar("Kind")


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    """The checker of a kind, made once: making it costs more than checking a thousand rows."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def read_rows(path: Path | str, kind: type[Kind]) -> list[Kind]:
    """The rows of a JSONL file, [] if there is none. UserError, naming file and line, for one that is not a `kind`."""
    return list(iter_rows(path, kind))


def iter_rows(path: Path | str, kind: type[Kind]) -> Iterator[Kind]:
    """As `read_rows`, a row at a time."""
    check, fill = _adapter(kind).validate_json, FILL_IN.get(kind)
    for number, line in iter_lines(path):
        try:
            row = check(line) if fill is None else _adapter(kind).validate_python(fill(_parsed(line)))
        except ValidationError as error:
            raise UserError(f"{path}:{number}: {_words(error)}; remove that line and run the command again") from error
        yield row


def read_record(path: Path | str, kind: type[Kind]) -> Kind:
    """A JSON file. UserError, naming the file, if it is not a `kind`."""
    value, fill = read_json(path), FILL_IN.get(kind)
    try:
        return cast(Kind, _adapter(kind).validate_python(value if fill is None else fill(value)))
    except ValidationError as error:
        raise UserError(f"{path}: {_words(error)}; restore the file, or make the record again") from error


def _parsed(line: bytes) -> dict[str, Any]:
    value: dict[str, Any] = _adapter(dict).validate_json(line)
    return value


def _words(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place or 'the row'}: {first['msg'][:1].lower()}{first['msg'][1:]}{more}"


def _with_baseline_k(row: dict[str, Any]) -> dict[str, Any]:
    """Before arms had cards, a baseline other than plain sampling had the arm's own k."""
    return {"baseline_top_k": None if row.get("baseline") == "plain" else row.get("top_k"), **row}


def _with_cards(record: dict[str, Any]) -> dict[str, Any]:
    """Before arms had cards, an evaluation recorded their settings alone; and there was one engine."""
    cards = {card.key: card.record() for card in ArmCards.from_record(record.get("arms", {}))}
    return {"engine": "engine", **record, "arms": cards}


FILL_IN: Mapping[type, Callable[[dict[str, Any]], dict[str, Any]]] = {
    ComparisonRow: _with_baseline_k,
    FrontierRow: _with_baseline_k,
    EvalRecord: _with_cards,
}
"""What a record lacks that was made before a key existed."""


# -- docs/records.md ---------------------------------------------------------------------------------------------------

_HEAD = """# Records

What led_rl writes, file by file and key by key. Files named `eval/..` and the like lie in a run folder
(`checkpoints/<run>/`) or in a study's folder under `results/`. Fractions lie in 0..1, entropies are in nats (natural
logarithm), `ci95` is the 95% bootstrap interval [low, high]. JSONL files hold one object a line and grow by whole
lines; JSON files are replaced as a whole. Every file is checked against these keys when it is read.

This page is made by `python -m led_rl.schema`; a test holds it to the code.
"""


def page() -> str:
    """docs/records.md."""
    nested = [Session, ArmRecord, ModelRecord, CountsCell, AboveFrontier, Estimate, InspectedToken]
    parts = [_HEAD]
    for name, kind in FILES.items():
        parts.append(f"## `{name}`\n\n{_purpose(kind)}\n\n{_keys(kind)}\n")
    parts.append("## Objects inside these\n")
    parts += [f"### {kind.__name__}\n\n{_purpose(kind)}\n\n{_keys(kind)}\n" for kind in nested]
    return "\n".join(parts)


def _purpose(kind: type) -> str:
    """The docstring, without the file's name before it."""
    text = " ".join((kind.__doc__ or "").split())
    text = text.partition("`: ")[2] or text
    return text[:1].upper() + text[1:]


def _keys(kind: type) -> str:
    lines = ["| key | type | meaning |", "|---|---|---|"]
    required = kind.__required_keys__  # type: ignore[attr-defined]
    for key, hint in get_type_hints(kind, include_extras=True).items():
        inner, words = _split(hint)
        optional = "" if key in required else " (may be absent)"
        lines.append(f"| `{key}` | {_type_words(inner)}{optional} | {words} |")
    return "\n".join(lines)


def _split(hint: Any) -> tuple[Any, str]:
    """A key's type and its meaning."""
    if get_origin(hint) is NotRequired:
        return _split(get_args(hint)[0])
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        return inner, str(notes[-1])
    return hint, ""


def _type_words(hint: Any) -> str:
    hint, _ = _split(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if is_typeddict(hint):
        return str(hint.__name__)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_type_words(arguments[0])}"
    if origin is dict:
        return f"object of {_type_words(arguments[1])}" if arguments[1] is not Any else "object"
    if origin is not None:
        return " or ".join(_type_words(one) for one in arguments)
    return {type(None): "null", str: "text", int: "integer", float: "number", bool: "boolean"}.get(hint, str(hint))


if __name__ == "__main__":
    print(page(), end="")
