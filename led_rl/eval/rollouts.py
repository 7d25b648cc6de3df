"""Samples on disk: one JSON line a sample, appended as they finish, never sampled twice."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from led_rl.decoding.engine import Completion, Engine, Prompt
from led_rl.decoding.prompting import answered, decode
from led_rl.decoding.randomness import sample_key
from led_rl.eval.arms import Arm
from led_rl.eval.targets import Target
from led_rl.models.loading import Policy
from led_rl.records import Row, append_jsonl, iter_jsonl
from led_rl.tasks.problem import Problem, Task

FLUSH_S = 5.0


def cell_file(eval_dir: Path, target: Target, arm: Arm, temperature: float, rank: int) -> Path:
    """Where one process writes one cell's samples."""
    return eval_dir / "samples" / target.checkpoint / f"{arm.key}-T{temperature:g}.rank{rank}.jsonl"


def finished(eval_dir: Path, target: Target, arm: Arm, temperature: float) -> set[tuple[str, int]]:
    """(problem id, sample) of every sample on disk, whichever process wrote it."""
    folder = eval_dir / "samples" / target.checkpoint
    return {
        (row["problem_id"], row["sample"])
        for path in folder.glob(f"{arm.key}-T{temperature:g}.rank*.jsonl")
        for row in iter_jsonl(path)
    }


class Rollouts:
    """Samples and grades the missing samples of a cell.

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

    def missing(self, done: set[tuple[str, int]]) -> list[tuple[Problem, list[int]]]:
        """Problems with the sample indices that are not done, those with none left out."""
        wanted = [
            (problem, [sample for sample in range(self.num_samples) if (problem.id, sample) not in done])
            for problem in self.problems
        ]
        return [(problem, samples) for problem, samples in wanted if samples]

    def write(
        self,
        path: Path,
        cell: Row,
        engine: Engine,
        policy: Policy,
        missing: Sequence[tuple[Problem, list[int]]],
    ) -> Iterator[int]:
        """Sample, grade and append; yields the number of samples after each append."""
        prompts = [
            Prompt(self.encoded[problem.id], [sample_key(self.seed, problem.id, sample) for sample in samples])
            for problem, samples in missing
        ]
        ready: list[Completion] = []
        since = time.monotonic()
        for completion in engine.stream(prompts):
            ready.append(completion)
            if time.monotonic() - since >= FLUSH_S:
                yield self._append(path, cell, policy, missing, ready, time.monotonic() - since)
                ready, since = [], time.monotonic()
        yield self._append(path, cell, policy, missing, ready, time.monotonic() - since)

    def _append(
        self,
        path: Path,
        cell: Row,
        policy: Policy,
        missing: Sequence[tuple[Problem, list[int]]],
        ready: Sequence[Completion],
        wall_s: float,
    ) -> int:
        tokens = sum(len(completion.tokens) for completion in ready)
        rows = []
        for completion in ready:
            problem, samples = missing[completion.prompt]
            text = decode(policy.tokenizer, completion.tokens)
            grade = self.task.grade(problem, answered(policy.tokenizer, self.encoded[problem.id], text))
            rows.append(
                {
                    **cell,
                    "problem_id": problem.id,
                    "sample": samples[completion.sample],
                    "correct": grade.correct,
                    "status": grade.status,
                    "answer": grade.answer,
                    "length_tokens": len(completion.tokens),
                    "truncated": completion.truncated,
                    "wall_s": round(wall_s * len(completion.tokens) / tokens, 6),
                    "completion": text,
                }
            )
        append_jsonl(path, rows)
        return len(rows)
