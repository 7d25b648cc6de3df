"""Samples on disk: one JSON line a sample, appended as they finish, never sampled twice."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from led_rl.decoding.arms import Arm
from led_rl.decoding.engine import Completion, Prompt
from led_rl.decoding.randomness import sample_key
from led_rl.errors import UserError
from led_rl.eval.targets import Target
from led_rl.models.prompting import answered, decode
from led_rl.records import append_jsonl
from led_rl.schema import SampleRow, iter_rows
from led_rl.signals import Stop, Terminated
from led_rl.tasks.problem import Grade, Problem, Task

FLUSH_S = 5.0
GRADES_KEPT = 65_536
NOT_IN_A_NAME = re.compile(r"[^\w.@=+-]")


@dataclass(frozen=True)
class Setting:
    """One checkpoint, arm and temperature to be sampled."""

    target: Target
    arm: Arm
    temperature: float

    def file(self, eval_dir: Path, rank: int | str) -> Path:
        """Where one process writes its samples; with `*` for the rank, the pattern of all of them."""
        name = NOT_IN_A_NAME.sub("_", self.arm.key)  # settings may be paths
        return eval_dir / "samples" / self.target.checkpoint / f"{name}-T{self.temperature:g}.rank{rank}.jsonl"

    def finished(self, eval_dir: Path) -> set[tuple[str, int]]:
        """(problem id, sample) of every sample on disk, whichever process wrote it."""
        return {
            (row["problem_id"], row["sample"]) for path in self.files(eval_dir) for row in iter_rows(path, SampleRow)
        }

    def files(self, eval_dir: Path) -> list[Path]:
        """Its files that are there, of all processes."""
        pattern = self.file(eval_dir, "*")
        return list(pattern.parent.glob(pattern.name))


@dataclass(frozen=True)
class Missing:
    """A sample to be drawn, and the settings (indices) that lack it."""

    problem: Problem
    sample: int
    settings: tuple[int, ...]


class SamplingEngine(Protocol):
    """What draws samples: led_rl's engine, or a vLLM."""

    def stream(self, prompts: Sequence[Prompt]) -> Iterator[Completion]:
        """Completions as they finish, in any order."""
        ...


class Rollouts:
    """Samples and grades what settings lack.

    Args:
        task: prompts and grader.
        problems: the problems of this process.
        encoded: their prompts' token ids.
        num_samples: samples per problem.
        seed: seed of the sample keys, the same in every arm (common random numbers).
    """

    def __init__(
        self,
        task: Task,
        problems: Sequence[Problem],
        encoded: Mapping[str, Sequence[int]],
        num_samples: int,
        seed: int,
    ) -> None:
        self.task, self.problems, self.encoded = task, problems, encoded
        self.num_samples, self.seed = num_samples, seed
        # The further a policy collapses, the more of its samples are the same text: a program is run once for all.
        self._grade = lru_cache(GRADES_KEPT)(self._grade_anew)
        self._by_id = {problem.id: problem for problem in problems}

    def missing(self, done: Sequence[set[tuple[str, int]]]) -> list[Missing]:
        """What settings lack that have these samples, ordered by problem."""
        everything = [(problem, sample) for problem in self.problems for sample in range(self.num_samples)]
        found = [
            Missing(problem, sample, tuple(i for i, have in enumerate(done) if (problem.id, sample) not in have))
            for problem, sample in everything
        ]
        return [one for one in found if one.settings]

    def write(
        self,
        eval_dir: Path,
        rank: int,
        settings: Sequence[Setting],
        engine: SamplingEngine,
        tokenizer: PreTrainedTokenizerBase,
        missing: Sequence[Missing],
        stop: Stop,
    ) -> Iterator[int]:
        """Sample, grade and append; yields the number of samples after each append. The engine has one sampler for each
        of the settings, in their order. Where it fails, what it had finished is appended first; SIGTERM lets an append
        come to its end, and what is sampled be appended."""
        groups: dict[str, list[Missing]] = defaultdict(list)
        for one in missing:
            groups[one.problem.id].append(one)
        asked = list(groups.values())
        prompts = [
            Prompt(
                self.encoded[group[0].problem.id],
                [sample_key(self.seed, one.problem.id, one.sample) for one in group],
                [one.settings for one in group],
            )
            for group in asked
        ]
        paths = [setting.file(eval_dir, rank) for setting in settings]
        ready: list[Completion] = []
        since = time.monotonic()

        def append() -> int:
            rows: list[list[SampleRow]] = [[] for _ in settings]
            tokens = sum(len(completion.tokens) for completion in ready)
            for completion in ready:
                share = (time.monotonic() - since) * len(completion.tokens) / tokens
                one = asked[completion.prompt][completion.sample]
                text, grade = self._graded(one.problem, completion, tokenizer)
                for index in completion.samplers:
                    rows[index].append(
                        {
                            "checkpoint": settings[index].target.checkpoint,
                            "rl_step": settings[index].target.rl_step,
                            "arm": settings[index].arm.name,
                            "top_k": settings[index].arm.top_k,
                            "temperature": settings[index].temperature,
                            "problem_id": one.problem.id,
                            "sample": one.sample,
                            "correct": grade.correct,
                            "status": grade.status,
                            "answer": grade.answer,
                            "length_tokens": len(completion.tokens),
                            "truncated": completion.truncated,
                            "completion": text,
                            "wall_s": round(share / len(completion.samplers), 6),
                        }
                    )
            for path, lines in zip(paths, rows, strict=True):
                if lines:
                    append_jsonl(path, lines)
            return sum(len(lines) for lines in rows)

        try:
            for completion in engine.stream(prompts):
                ready.append(completion)
                if time.monotonic() - since >= FLUSH_S:
                    with stop.postponed():
                        count = append()
                        ready, since = [], time.monotonic()
                    yield count
        except (Terminated, UserError):
            if ready:
                append()
            raise
        with stop.postponed():
            count = append()
        yield count

    def _graded(
        self, problem: Problem, completion: Completion, tokenizer: PreTrainedTokenizerBase
    ) -> tuple[str, Grade]:
        """The completion as text, and its grade."""
        text = decode(tokenizer, completion.tokens)
        return text, self._grade(problem.id, answered(tokenizer, self.encoded[problem.id], text))

    def _grade_anew(self, problem_id: str, text: str) -> Grade:
        return self.task.grade(self._by_id[problem_id], text)
