r"""The benchmarks: where each comes from, at which pinned commit, and how its columns become rows.

Revisions are commits of the Hub. A local file may stand in for either split, in the Hub's own columns or in the plain
ones (`problem`, `answer`, and if it has them `id` and `solution`).
"""

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from led_rl.errors import UserError
from led_rl.tasks.answers import last_boxed

Kind = Literal["math", "choice"]  # how answers are graded

FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}

_REACH_S = 10.0
_ID_COLUMNS = ("unique_id", "id", "ID", "Record ID")
_REVISION = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Entry:
    """One problem as its source has it.

    `key` is the source's id, or a hash of the text where it has none; `answer` the gold, "" where none could be read;
    `choices` the right one first, empty where the answer is free; `solution` a worked solution that ends in a box.
    """

    key: str
    text: str
    answer: str
    choices: tuple[str, ...] = ()
    solution: str | None = None

    @property
    def identity(self) -> str:
        """Hexadecimal sha256 of the question and its choices, in any order: equal for the same problem."""
        parts = (self.text, *sorted(self.choices))
        return hashlib.sha256("\x00".join(" ".join(part.split()) for part in parts).encode()).hexdigest()


@dataclass(frozen=True)
class Schema:
    """Columns of one kind of file; `gold` and `worked` read the answer and the solution from theirs."""

    problem: str
    answer: str
    solution: str | None = None
    wrong: tuple[str, ...] = ()
    gold: Callable[[str], str | None] = str.strip
    worked: Callable[[str], str] = str.strip

    @property
    def required(self) -> tuple[str, ...]:
        return (self.problem, self.answer, *self.wrong)

    def read(self, record: Mapping[str, Any]) -> Entry:
        """A row. Raises ValueError if it has no question."""
        text, answer = _text(record[self.problem]), self.gold(_text(record[self.answer])) or ""
        if not text:
            raise UserError(f"column {self.problem!r} is empty")
        choices = (answer, *(_text(record[column]) for column in self.wrong)) if self.wrong else ()
        solution = _text(record.get(self.solution)) if self.solution else ""
        row = Entry("", text, answer, choices, self.worked(solution) if solution else None)
        key = next((_text(record[column]) for column in _ID_COLUMNS if column in record), "")
        return Entry(key or row.identity[:20], row.text, row.answer, row.choices, row.solution)


@dataclass(frozen=True)
class Source:
    """A benchmark on the Hub: `revision` is a commit, `licence` what its card states, `url` where it is described."""

    name: str
    hub_id: str
    revision: str
    test_split: str
    train_split: str | None
    licence: str
    url: str
    schemas: tuple[Schema, ...]
    config: str | None = None
    kind: Kind = "math"
    gated: bool = False


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _after_hashes(solution: str) -> str:
    _, mark, gold = solution.rpartition("####")
    return gold.strip().replace(",", "") if mark else ""  # a comma only separates thousands here


def _without_marks(solution: str) -> str:
    r"""`2*3=<<2*3=6>>6 .. #### 6` as `2*3=6 .. \boxed{6}`."""
    worked = re.sub(r"<<[^<>]*>>", "", solution).rpartition("####")[0].strip()
    return f"{worked}\n\\boxed{{{_after_hashes(solution)}}}"


_PLAIN = Schema("problem", "answer", "solution")
_GSM8K = Schema("question", "answer", "answer", gold=_after_hashes, worked=_without_marks)
_MATH = Schema("problem", "solution", "solution", gold=last_boxed)
_AIME = Schema("Problem", "Answer", "Solution")
_GPQA = Schema("Question", "Correct Answer", wrong=("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"))

SOURCES = {
    source.name: source
    for source in (
        Source(
            name="gsm8k",
            hub_id="openai/gsm8k",
            config="main",
            revision="740312add88f781978c0658806c59bc2815b9866",
            test_split="test",
            train_split="train",
            licence="MIT",
            url="https://arxiv.org/abs/2110.14168",
            schemas=(_GSM8K, _PLAIN),
        ),
        Source(
            name="math",
            hub_id="DigitalLearningGmbH/MATH-lighteval",
            config="default",
            revision="0530c78699ea5e8eb5530600900e1f328b48acad",
            test_split="test",
            train_split="train",
            licence="MIT",
            url="https://arxiv.org/abs/2103.03874",
            schemas=(_PLAIN, _MATH),
        ),
        Source(
            name="math500",  # 500 of MATH's test problems, of "Let's Verify Step by Step"
            hub_id="HuggingFaceH4/MATH-500",
            revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
            test_split="test",
            train_split=None,
            licence="none stated (MATH is MIT)",
            url="https://arxiv.org/abs/2305.20050",
            schemas=(_PLAIN, _MATH),
        ),
        Source(
            name="aime2024",
            hub_id="HuggingFaceH4/aime_2024",
            revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
            test_split="train",  # its only split, whatever its name: 30 problems to evaluate on
            train_split=None,
            licence="none stated",
            url="https://huggingface.co/datasets/HuggingFaceH4/aime_2024",
            schemas=(_PLAIN, _AIME),
        ),
        Source(
            name="aime2025",
            hub_id="math-ai/aime25",
            revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
            test_split="test",
            train_split=None,
            licence="none known to us",
            url="https://huggingface.co/datasets/math-ai/aime25",
            schemas=(_PLAIN, _AIME),
        ),
        Source(
            name="gpqa_diamond",
            hub_id="Idavidrein/gpqa",
            config="gpqa_diamond",
            revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
            test_split="train",  # the Hub's name for its only split
            train_split=None,
            licence="CC-BY-4.0, behind terms that ask not to publish its questions",
            url="https://arxiv.org/abs/2311.12022",
            schemas=(_GPQA, _PLAIN),
            kind="choice",
            gated=True,
        ),
    )
}


def check_file(option: str, path: str) -> None:
    """ValueError unless a file of a known format is there."""
    if Path(path).suffix not in FORMATS:
        raise UserError(f"{option}={path!r}: a file that ends in {', '.join(FORMATS)} is needed; convert it")
    if not Path(path).is_file():
        raise UserError(f"{option}={path!r}: no such file; download it or mend the path")


def check_revision(revision: str) -> None:
    """ValueError unless it is a full commit: branches and tags move."""
    if not _REVISION.fullmatch(revision):
        raise UserError(
            f"task.revision={revision!r}: a full commit, 40 hexadecimal digits, is needed, as branches and tags move; "
            "copy it from the data set's page of commits"
        )


def from_file(source: Source, path: str) -> list[Entry]:
    """Rows of a local file. ValueError if it cannot be read or its columns fit no schema of the source."""
    if not Path(path).stat().st_size:
        raise UserError(f"{path}: no rows; it is empty, download it again")
    try:
        columns, records = _table(FORMATS[Path(path).suffix], split="train", data_files=path)
    except Exception as error:  # each format's reader has errors of its own
        reason = _line(error.__cause__ or error)
        raise UserError(f"{path}: not readable as one table ({reason}); mend the file") from error
    return _rows(source, path, columns, records)


def from_hub(source: Source, split: str, revision: str | None, option: str) -> list[Entry]:
    """Rows of a split of the Hub's data set at a commit, by default the source's own.

    The commit is taken whole and read from the disk: given a name, `datasets` falls back to any version in its cache
    when the Hub does not answer. Raises ValueError that says what to do, naming `option`, which takes a local file
    instead.
    """
    commit = revision or source.revision
    try:
        columns, records = _table(_snapshot(source.hub_id, commit), name=source.config, split=split)
    except Exception as error:  # the transport's errors are of another library in each release of the Hub's client
        page = f"https://huggingface.co/datasets/{source.hub_id}"
        terms = f"accept the terms at {page} and run `hf auth login`, or " if source.gated else ""
        raise UserError(
            f"task.name={source.name}: {source.hub_id} at {commit} cannot be had ({_line(error)}); {terms}"
            f"download its {split} split and give the file as {option}"
        ) from error
    return _rows(source, source.hub_id, columns, records)


def _snapshot(hub_id: str, commit: str) -> str:
    """Folder of a data set at a commit; from the Hub's cache if the Hub cannot be reached."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # Asked first, as downloads retry for half a minute without a network.
        HfApi().dataset_info(hub_id, revision=commit, timeout=_REACH_S)
    except Exception as unreachable:
        try:
            return snapshot_download(hub_id, repo_type="dataset", revision=commit, local_files_only=True)
        except LocalEntryNotFoundError:
            raise unreachable from None
    return snapshot_download(hub_id, repo_type="dataset", revision=commit)


def _rows(source: Source, where: str, columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> list[Entry]:
    schema = next((schema for schema in source.schemas if set(schema.required) <= set(columns)), None)
    if schema is None:
        wanted = " or ".join(f"({', '.join(schema.required)})" for schema in source.schemas)
        raise UserError(
            f"{where}: columns ({', '.join(columns)}) are not those of {source.name}: {wanted}; rename them"
        )
    rows = []
    for number, record in enumerate(records, 1):
        try:
            rows.append(schema.read(record))
        except ValueError as error:
            raise UserError(f"{where}, row {number}: {error}; mend or remove the row") from error
    return rows


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _table(path: str, **options: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and records of `datasets.load_dataset`, without its progress bars and without leaving a cache behind."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as cache:
            table = datasets.load_dataset(path, cache_dir=cache, keep_in_memory=True, **options)
            return table.column_names, table.to_list()
    finally:
        if shown:
            datasets.enable_progress_bars()
