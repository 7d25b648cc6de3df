"""Any data set of reasoning-gym (github.com/open-thought/reasoning-gym, Apache-2.0) as a task with disjoint splits.

A question's split is a hash of its text (test 10 %, validation 10 %, train the rest), so no seed can leak a problem
from one into another. Graded by the data set's own scorer, on the answer in the last balanced box, and right only at a
full score: the default scorer gives partial credit for an answer that merely contains the right one.

These scorers are foreign code, and several evaluate what a model wrote as Python. So they run in the jail, in a fresh
process for every answer, which evaluates plain expressions only (`led_rl.tasks.grader_server`). Where there can be no
jail, they run without its walls only if the user of the command agreed to that.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from led_rl.errors import UserError
from led_rl.tasks.answers import Thinking, boxed_answer
from led_rl.tasks.arithmetic import NotArithmeticError, parse_arithmetic
from led_rl.tasks.grader_process import START_S, GraderProcess
from led_rl.tasks.gym_scorer import packed
from led_rl.tasks.jail import JailError, check_jail
from led_rl.tasks.problem import SPLITS, Grade, Problem, Split

PREFIX = "reasoning_gym:"
TEST_PERCENT = 10
VALIDATION_PERCENT = 10
MAX_ANSWER_CHARS = 10_000

_CHUNK = 200  # questions drawn from one generator seed
_BARREN_CHUNKS = 10  # chunks in a row without a new problem of the split: the data set is taken to be exhausted
_JAILED, _UNJAILED = (GraderProcess("led_rl.tasks.gym_scorer", jailed) for jailed in (True, False))
_INSTRUCTION = r"Put your final answer in \boxed{}."


class GymTask:
    r"""Task protocol over one data set.

    Args:
        dataset: name in reasoning-gym, with or without the prefix `reasoning_gym:`
        options: passed to `reasoning_gym.create_dataset`, all but `seed` and `size`, which `problems` sets
        thinking: whether a completion must close a `</think>` before its answer, see `answers.response`
        unjailed: the user's consent to run scorers without the jail where there can be none

    Raises UserError without reasoning-gym, for an unknown data set or an option it refuses, and where there can be no
    jail and no consent.
    """

    def __init__(
        self,
        dataset: str,
        options: Mapping[str, Any] = MappingProxyType({}),
        thinking: Thinking = "optional",
        unjailed: bool = False,
    ) -> None:
        self.dataset = dataset.removeprefix(PREFIX)
        self.options = MappingProxyType(dict(options))
        self.thinking: Thinking = thinking
        if find_spec("reasoning_gym") is None:
            raise UserError(f"task.name={self.name!r}: reasoning-gym is not installed; pip install 'led_rl[gym]'")
        for owned in ("seed", "size"):
            if owned in self.options:
                raise UserError(f"{self.name}: option {owned}={options[owned]!r} is set by problems(); remove it")
        try:
            json.dumps(dict(self.options))
        except TypeError as error:
            raise UserError(f"{self.name}: options must be plain JSON values ({error})") from error
        self._create(seed=0, size=1)
        self._grader = _grader(self.name, unjailed)

    @property
    def name(self) -> str:
        return PREFIX + self.dataset

    def problems(self, split: Split, count: int, seed: int = 0) -> Sequence[Problem]:
        """`count` distinct problems of a split, the same for the same seed; a prefix of what a larger count gives.

        Questions whose gold answer the data set's own scorer does not give a full score are left out; those without a
        gold answer (any valid solution counts) are kept, with an empty `answer`. Raises ValueError if the generator
        stops giving new problems before `count`.
        """
        if split not in SPLITS:
            raise UserError(f"split {split!r}: not one of {', '.join(SPLITS)}")
        found: dict[str, Problem] = {}
        ungradable = barren = chunk = 0
        while len(found) < count and barren < _BARREN_CHUNKS:
            before = len(found)
            generator = self._create(seed=_generator_seed(self.name, seed, chunk), size=_CHUNK)
            for index in range(min(_CHUNK, len(generator))):
                entry = generator[index]
                identity = hashlib.sha256(entry["question"].encode("utf-8", "surrogatepass")).hexdigest()
                key = f"{self.name}/{identity[:20]}"
                if split_of(identity) != split or key in found:
                    continue
                gold = entry["answer"]
                if gold is not None and generator.score_answer(gold, entry) < 1.0:
                    ungradable += 1
                    continue
                answer = "" if gold is None else str(gold)
                found[key] = Problem(key, entry["question"], answer, MappingProxyType({"entry": entry}))
                if len(found) == count:
                    break
            barren = barren + 1 if len(found) == before else 0
            chunk += 1
        if len(found) < count:
            raise UserError(
                f"{self.name}: {split} split gave {len(found)} distinct problems of the {count} asked for "
                f"({ungradable} draws left out as their gold answer fails its own scorer); ask for fewer or widen the "
                "data set's options"
            )
        return list(found.values())

    def prompt(self, problem: Problem) -> str:
        r"""The question and the request for a `\boxed{}` answer."""
        return f"{problem.question.rstrip()}\n\n{_INSTRUCTION}"

    def reference(self, problem: Problem) -> str | None:
        r"""The steps of an arithmetic problem, as `2 + 3 = 5, 5 - 1 = 4. \boxed{4}`; None for other data sets, which
        have answers but no worked completions."""
        expression = problem.data["entry"]["metadata"].get("expression")
        try:
            worked = parse_arithmetic(str(expression))
        except NotArithmeticError:
            return None
        if str(worked.value) != problem.answer or not worked.steps:
            return None
        return f"{', '.join(worked.steps)}. \\boxed{{{problem.answer}}}"

    def grade(self, problem: Problem, completion: str) -> Grade:
        """Verdict of the data set's scorer, right only at a score of 1.0 or more.

        "unparsable": the scorer raised, or the answer is longer than `MAX_ANSWER_CHARS`. "timeout": it was killed.
        Raises KeyError for a problem of another task.
        """
        entry = problem.data["entry"]
        answer = boxed_answer(completion, self.thinking)
        if isinstance(answer, Grade):
            return answer
        if len(answer) > MAX_ANSWER_CHARS:
            return Grade("unparsable", answer)
        if wrapped := re.fullmatch(r"\$?\\text\{([^{}]*)\}\$?", answer):
            answer = wrapped[1].strip()
        if answer == problem.answer:
            return Grade("correct", answer)
        request = {"dataset": self.dataset, "options": dict(self.options)}
        # Importing reasoning-gym and building the data set is not on the answer's clock.
        loaded = self._grader.ask({**request, "kind": "load"}, wall_s=START_S)
        if loaded is None or loaded.get("verdict") != "loaded":
            raise RuntimeError(f"{self.name}: the grading process could not load the data set ({loaded})")
        reply = self._grader.ask({**request, "kind": "score", "answer": answer, "entry": packed(entry)})
        if reply is None or reply.get("verdict") == "exhausted":
            return Grade("timeout", answer)
        if "score" not in reply:
            return Grade("unparsable", answer)
        return Grade("correct" if reply["score"] >= 1.0 else "wrong", answer)

    def _create(self, seed: int, size: int) -> Any:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS

        if self.dataset not in DATASETS:
            close = difflib.get_close_matches(self.dataset, DATASETS, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(close)}?" if close else f"the names are {', '.join(sorted(DATASETS))}"
            raise UserError(f"reasoning-gym has no data set {self.dataset!r}; {hint}")
        try:
            return reasoning_gym.create_dataset(self.dataset, **self.options, seed=seed, size=size)
        except (TypeError, AssertionError, ValueError) as error:
            fields = [name for name in DATASETS[self.dataset][1].__dataclass_fields__ if name not in ("seed", "size")]
            raise UserError(
                f"{self.name}: options {dict(self.options)} refused ({error}); its options are {', '.join(fields)}"
            ) from error


def _grader(task: str, unjailed: bool) -> GraderProcess:
    try:
        check_jail()
    except JailError as error:
        if unjailed:
            return _UNJAILED
        raise UserError(
            f"task.name={task}: its scorer is foreign code that reads what a model wrote, and there is no jail for it "
            f"here ({error}). Without a jail it runs with your rights, and a model that talks it into running a "
            "program can do what you can do; if you agree, add --consent.unjailed_scorers true"
        ) from error
    return _JAILED


def split_of(identity: str) -> Split:
    """Split of a hexadecimal sha256 digest of a question."""
    bucket = int(identity[:15], 16) % 100
    if bucket < TEST_PERCENT:
        return "test"
    return "validation" if bucket < TEST_PERCENT + VALIDATION_PERCENT else "train"


def _generator_seed(name: str, seed: int, chunk: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{name}/{seed}/{chunk}".encode()).digest()[:4], "big")
