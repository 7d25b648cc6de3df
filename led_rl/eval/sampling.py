"""Samples on disk: one JSON line a sample, appended as they finish, never sampled twice."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from led_rl.decoding.arms import Arm
from led_rl.decoding.engine import Completion, Engine, Prompt
from led_rl.decoding.randomness import sample_key
from led_rl.eval.targets import Target
from led_rl.models.loading import Policy
from led_rl.models.prompting import answered, decode
from led_rl.records import Row, append_jsonl, iter_jsonl
from led_rl.tasks.problem import Grade, Problem, Task

FLUSH_S = 5.0
GRADES_KEPT = 65_536


@dataclass(frozen=True)
class Cell:
    """One checkpoint, arm and temperature."""

    target: Target
    arm: Arm
    temperature: float

    @property
    def row(self) -> Row:
        """What each of its samples records of it."""
        return {
            "checkpoint": self.target.checkpoint,
            "rl_step": self.target.rl_step,
            "arm": self.arm.name,
            "top_k": self.arm.top_k,
            "temperature": self.temperature,
        }

    def file(self, eval_dir: Path, rank: int | str) -> Path:
        """Where one process writes its samples; with `*` for the rank, the pattern of all of them."""
        return eval_dir / "samples" / self.target.checkpoint / f"{self.arm.key}-T{self.temperature:g}.rank{rank}.jsonl"

    def finished(self, eval_dir: Path) -> set[tuple[str, int]]:
        """(problem id, sample) of every sample on disk, whichever process wrote it."""
        pattern = self.file(eval_dir, "*")
        return {
            (row["problem_id"], row["sample"]) for path in pattern.parent.glob(pattern.name) for row in iter_jsonl(path)
        }


@dataclass(frozen=True)
class Missing:
    """A sample to be drawn, and the cells (indices) that lack it."""

    problem: Problem
    sample: int
    cells: tuple[int, ...]


class Rollouts:
    """Samples and grades the missing samples of cells.

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
        """What cells lack that have these samples, ordered by problem."""
        everything = [(problem, sample) for problem in self.problems for sample in range(self.num_samples)]
        found = [
            Missing(problem, sample, tuple(i for i, cell in enumerate(done) if (problem.id, sample) not in cell))
            for problem, sample in everything
        ]
        return [one for one in found if one.cells]

    def write(
        self,
        eval_dir: Path,
        rank: int,
        cells: Sequence[Cell],
        engine: Engine,
        policy: Policy,
        missing: Sequence[Missing],
    ) -> Iterator[int]:
        """Sample, grade and append; yields the number of samples after each append. The engine has a sampler a cell."""
        groups: dict[str, list[Missing]] = defaultdict(list)
        for one in missing:
            groups[one.problem.id].append(one)
        asked = list(groups.values())
        prompts = [
            Prompt(
                self.encoded[group[0].problem.id],
                [sample_key(self.seed, one.problem.id, one.sample) for one in group],
                [one.cells for one in group],
            )
            for group in asked
        ]
        paths = [cell.file(eval_dir, rank) for cell in cells]
        ready: list[Completion] = []
        since = time.monotonic()

        def append() -> int:
            rows: list[list[Row]] = [[] for _ in cells]
            tokens = sum(len(completion.tokens) for completion in ready)
            for completion in ready:
                share = (time.monotonic() - since) * len(completion.tokens) / tokens
                graded = self._graded(asked[completion.prompt][completion.sample], completion, policy)
                for index in completion.samplers:
                    wall_s = round(share / len(completion.samplers), 6)
                    rows[index].append({**cells[index].row, **graded, "wall_s": wall_s})
            for path, lines in zip(paths, rows, strict=True):
                if lines:
                    append_jsonl(path, lines)
            return sum(len(lines) for lines in rows)

        for completion in engine.stream(prompts):
            ready.append(completion)
            if time.monotonic() - since >= FLUSH_S:
                yield append()
                ready, since = [], time.monotonic()
        yield append()

    def _graded(self, asked: Missing, completion: Completion, policy: Policy) -> Row:
        """What all cells that drew this completion record of it."""
        text = decode(policy.tokenizer, completion.tokens)
        problem = asked.problem
        grade = self._grade(problem.id, answered(policy.tokenizer, self.encoded[problem.id], text))
        return {
            "problem_id": problem.id,
            "sample": asked.sample,
            "correct": grade.correct,
            "status": grade.status,
            "answer": grade.answer,
            "length_tokens": len(completion.tokens),
            "truncated": completion.truncated,
            "completion": text,
        }

    def _grade_anew(self, problem_id: str, text: str) -> Grade:
        return self.task.grade(self._by_id[problem_id], text)
