"""LiveCodeBench (arXiv 2403.07974, data set livecodebench/code_generation_lite) as a task: programs, graded by tests.

A program is right if it passes every test of its problem. What a model wrote runs in `led_rl.tasks.jail` only, whose
docstring says what that protects against; the comparison is made here, with outputs the program never sees.

A test compares as LiveCodeBench's own grader does:

- stdin: what the program prints against the expected output, both stripped of white space at their ends, line by line,
  each line stripped; two lines are equal as text or, token by token, as exact decimal numbers (`1.0` and `1.00`). There
  is no tolerance.
- functional: what `Solution().<name>(*arguments)` returns against the expected value, both as JSON (so a tuple is a
  list), by Python's `==` (so 1, 1.0 and true are equal), again without tolerance.

Programs have the standard library only; `numpy` is not in the jail. The data set, its tests and how they compare stand
in this one file, longer than others, so that whoever doubts a verdict finds all of its rules together.
"""

import base64
import binascii
import functools
import hashlib
import json
import logging
import pickletools
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import Any

from led_rl.errors import UserError
from led_rl.tasks.answers import Thinking, response
from led_rl.tasks.jail import Jail, JailError, Limits, check_jail
from led_rl.tasks.problem import SPLITS, Grade, Problem, Split, Status

HUB = "livecodebench/code_generation_lite"
MAX_SOURCE_CHARS = 100_000  # of a program
MAX_TESTS_BYTES = 512 << 20  # of a problem's decoded private tests
SLACK_BYTES = 1 << 16  # a program may print this more than twice what is expected

_TEXT_COLUMNS = ("question_content", "starter_code", "public_test_cases", "private_test_cases", "metadata")
_ROLE = (
    "You are an expert in Python and in competitive programming. You are given the statement of a problem; write a "
    "correct Python program that does what it says and passes all of its tests."
)
_STARTER = "Complete the starter code below, and put the whole program in one code block like it."
_SCRIPT = (
    "Read the input from stdin and write the answer to stdout (do not run the program on the examples). Put the whole "
    "program in one code block like this."
)
_RISK = (
    "livecodebench runs the programs a model writes. They run in a jail: a child process without network, without your "
    "files and without privileges, limited in time, memory and processes. It does not protect against a hole in the "
    "Linux kernel, nor against heavy use of CPU and memory within the limits; run hostile models in a virtual machine. "
    "If you agree, add --consent.run_code true"
)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One test: `function` is the method to call with `input`, one JSON value a line; None to run a script on it."""

    input: str
    output: str
    function: str | None


class LiveCodeBench:
    """Task protocol over local files of LiveCodeBench.

    Nothing is read before problems are asked for, and then only their rows: the Hub's files have gigabytes of packed
    tests. A row is used with all of its tests or not at all; `left_out` counts by reason what was not.

    Args:
        path: a JSONL file of the data set, or a folder with its `test*.jsonl`
        revision: must be None: local files have no revision to choose
        run_code: the user's consent to run what a model writes
        thinking: whether a completion must close a `</think>` before its answer, see `answers.response`
        limits: of each program

    Raises ValueError without consent or path, for a missing file, and where there can be no jail.
    """

    name = "livecodebench"

    def __init__(
        self,
        path: str | None,
        revision: str | None,
        run_code: bool,
        thinking: Thinking = "optional",
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        if not run_code:
            raise UserError(_RISK)
        if path is None:
            raise UserError(
                f"task.path is needed: {HUB} on the Hub is a loading script, which the datasets library no longer "
                f"runs; download its test*.jsonl (hf download {HUB} --repo-type dataset --include 'test*.jsonl' "
                "--local-dir livecodebench) and give the folder or one of its files by --task.path"
            )
        if revision is not None:
            raise UserError(
                f"task.revision={revision}: a revision is chosen when the files of task.path are downloaded; remove it"
            )
        try:
            check_jail()
        except JailError as error:
            raise UserError(f"livecodebench cannot be graded safely on this machine: {error}") from error
        self.thinking: Thinking = thinking
        self.limits = limits
        self.left_out: Mapping[str, int] = MappingProxyType({})
        self._files = _files(Path(path))
        self._places: dict[str, tuple[Path, int]] = {}  # of each row, by id: its file and where it starts
        self._repeated = 0

    def problems(self, split: Split, count: int, seed: int = 0) -> Sequence[Problem]:
        """`count` distinct problems of `test`, the same for the same seed; a prefix of what a larger count gives.

        Rows whose tests cannot all be used are left out, counted in `left_out` and logged; rows that come after the
        last problem asked for are not looked at. Raises ValueError for another split, for a file that is not
        LiveCodeBench's and if there are fewer problems.
        """
        if split not in SPLITS:
            raise UserError(f"split {split!r}: not one of {', '.join(SPLITS)}")
        if split != "test":
            raise UserError(
                f"{self.name} has no {split} split: all of its problems are test problems, so that none is trained on"
            )
        self._index()
        found: list[Problem] = []
        left_out = Counter({"repeated": self._repeated} if self._repeated else {})
        for identity in sorted(self._places, key=lambda identity: _digest(f"{self.name}/{seed}/{identity}")):
            if len(found) >= count:
                break
            try:
                found.append(self._problem(identity))
            except ValueError as error:
                left_out[str(error)] += 1
        self.left_out = MappingProxyType(dict(left_out))
        said = ", ".join(f"{number} {reason}" for reason, number in sorted(left_out.items())) or "none"
        if left_out:
            _LOG.warning("%s: rows left out: %s", self.name, said)
        if len(found) < count:
            raise UserError(
                f"{self.name}: {count} problems asked for, but the files of task.path have {len(found)} (rows left "
                f"out: {said}); ask for fewer"
            )
        return found

    def prompt(self, problem: Problem) -> str:
        """LiveCodeBench's format in our words: the question, the starter code if any, and the request for a block."""
        starter = problem.data["starter"]
        form, code = (_STARTER, starter.strip("\n")) if starter.strip() else (_SCRIPT, "# your program")
        return (
            f"{_ROLE}\n\n### Question:\n{problem.question.strip()}\n\n### Format: {form}\n```python\n{code}\n```\n\n"
            "### Answer: (in a code block like the one above)\n\n"
        )

    def reference(self, problem: Problem) -> str | None:
        """None: LiveCodeBench has tests but no solutions."""
        return None

    def grade(self, problem: Problem, completion: str) -> Grade:
        """Verdict on the last code block: "correct" if the program in it passes every test, in order, up to a failure.

        "unparsable": it does not compile, or is longer than `MAX_SOURCE_CHARS`. "timeout": a test took too long, or
        the program brought its jail down twice. Raises KeyError for a problem of another task, JailError if no jail
        starts.
        """
        data = problem.data
        packed = data["public"], data["private"], data["function"]
        text = response(completion, self.thinking)
        if text is None:
            return Grade("unclosed_think")
        source = last_block(text)
        if source is None:
            return Grade("no_answer")
        if len(source) > MAX_SOURCE_CHARS:
            return Grade("unparsable", source)
        cases = _cases(*packed)
        # A jail that dies twice, died of the program; once may have been anyone's doing (the OOM killer's, say).
        status = self._test(source, cases) or self._test(source, cases) or "timeout"
        return Grade(status, source)

    def _test(self, source: str, cases: Sequence[Case]) -> Status | None:
        """Verdict on a program; None if the jail was lost."""
        with Jail(self.limits) as jail:
            loaded = jail.load(source)
            if loaded.ended == "lost":
                return None
            if loaded.ended != "finished":
                return "timeout" if loaded.ended == "timeout" else "unparsable"
            for case in cases:
                most_bytes = 2 * len(case.output.encode("utf-8", "replace")) + SLACK_BYTES
                if case.function is None:
                    run = jail.run(case.input, most_bytes)
                else:
                    run = jail.call(case.function, case.input, most_bytes)
                if run.ended == "lost":
                    return None
                if run.ended == "timeout":
                    return "timeout"
                same = same_text if case.function is None else same_value
                if run.ended != "finished" or not same(case.output, run.output.decode("utf-8", "replace")):
                    return "wrong"
        return "correct"

    def _index(self) -> None:
        if not self._places:
            rows = [(identity, (file, start)) for file in self._files for identity, start in _rows(file)]
            self._places = dict(reversed(rows))  # of rows with the same id the first counts
            self._repeated = len(rows) - len(self._places)

    def _problem(self, identity: str) -> Problem:
        """Raises ValueError if a test of the row cannot be used."""
        file, start = self._places[identity]
        with file.open("rb") as lines:
            lines.seek(start)
            row = json.loads(lines.readline())
        try:
            function = json.loads(row["metadata"] or "{}").get("func_name")
        except (ValueError, AttributeError) as error:
            raise UserError("with unreadable metadata") from error
        data = {
            "starter": row["starter_code"],
            "public": row["public_test_cases"],
            "private": row["private_test_cases"],  # as it is in the file: decoded, it is many times as long
            "function": function,
            **{key: row.get(key) for key in ("platform", "difficulty", "contest_date", "question_title")},
        }
        _cases(data["public"], data["private"], function)
        return Problem(f"{self.name}/{identity}", row["question_content"], "", MappingProxyType(data))


def last_block(text: str) -> str | None:
    """Content of the last closed fenced code block that is not blank; None if there is none. Linear in the length."""
    found: str | None = None
    opened: list[str] | None = None
    ticks = indent = 0
    for line in text.split("\n"):
        bare = line.strip()
        fence = len(bare) - len(bare.lstrip("`"))
        if opened is None:
            if fence >= 3 and "`" not in bare[fence:]:
                opened, ticks, indent = [], fence, len(line) - len(line.lstrip())
        elif fence >= ticks and fence == len(bare):
            block = "\n".join(opened)
            found, opened = (block if block.strip() else found), None
        else:
            # The block of a list item is indented as a whole.
            opened.append(line[min(indent, len(line) - len(line.lstrip())) :])
    return found


def same_text(expected: str, printed: str) -> bool:
    """Whether two outputs are equal line by line, as text or as exact decimal numbers."""
    left, right = expected.strip().split("\n"), printed.strip().split("\n")
    return len(left) == len(right) and all(map(_same_line, left, right))


def same_value(expected: str, returned: str) -> bool:
    """Whether two JSON texts are equal values. False if the second is no JSON; ValueError if the first is none."""
    gold = json.loads(expected)
    try:
        return bool(json.loads(returned) == gold)
    except (ValueError, RecursionError):
        return False


def _same_line(left: str, right: str) -> bool:
    if left.strip() == right.strip():
        return True
    try:
        return [Decimal(token) for token in left.split()] == [Decimal(token) for token in right.split()]
    except InvalidOperation:  # a word, or a signalling NaN
        return False


@functools.lru_cache(maxsize=2)  # samples of a problem come one after another, and its tests may be large
def _cases(public: str, private: str, function: str | None) -> tuple[Case, ...]:
    """All tests of a row. Raises ValueError, with a reason to count by, if it has none or one cannot be used."""
    try:
        tests = [*json.loads(public), *_private(private)]
    except (ValueError, TypeError, RecursionError) as error:
        # Public tests alone are the examples in the question: grading by them would pay for copying them.
        raise UserError("with unreadable tests") from error
    if not tests:
        raise UserError("without tests")
    return tuple(_case(test, function) for test in tests)


def _case(test: Any, function: str | None) -> Case:
    try:
        given, expected, kind = test["input"], test["output"], test["testtype"]
        if not (isinstance(given, str) and isinstance(expected, str)):
            raise UserError("not text")
        if kind == "stdin":
            return Case(given, expected, None)
        if kind != "functional" or not (isinstance(function, str) and function.isidentifier()):
            raise UserError(f"neither a script's nor a function's: {kind}, {function}")
        for line in (*given.split("\n"), expected):
            json.loads(line)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError("with an unusable test") from error
    return Case(given, expected, function)


def _private(text: str) -> list[Any]:
    """Private tests: JSON, or the Hub's base64 of zlib of a pickle of JSON. Raises ValueError."""
    try:
        tests = json.loads(text)
    except ValueError:
        try:
            unzip = zlib.decompressobj()
            content = unzip.decompress(base64.b64decode(text, validate=True), MAX_TESTS_BYTES)
        except (binascii.Error, zlib.error) as error:
            raise UserError("neither JSON nor base64 of zlib") from error
        if not unzip.eof:
            raise UserError(f"cut off, or more than {MAX_TESTS_BYTES} bytes") from None
        tests = json.loads(pickled_text(content))
    if not isinstance(tests, list):
        raise UserError("not a list")
    return tests


def pickled_text(content: bytes) -> str:
    """The string that a pickle of one string holds, read without unpickling. Raises ValueError for any other pickle.

    A pickle is a program. `pickletools.genops` takes it apart and runs none of it, and only one text and the framing
    around it are let pass, so nothing is imported, called or built. An Unpickler whose `find_class` raises would do
    less: it still keeps the memo, and 14 bytes that write to memo entry 2^27 cost it gigabytes.
    """
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"):
            texts.append(str(argument))
        elif operation.name not in ("PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP"):
            raise UserError(f"a pickle with {operation.name} in it")
    if len(texts) != 1:
        raise UserError(f"a pickle of {len(texts)} texts")
    return texts[0]


def _files(path: Path) -> list[Path]:
    """The JSONL files that `task.path` names."""
    files = sorted(path.glob("test*.jsonl")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise UserError(f"task.path={path}: no such file, or a folder without test*.jsonl of {HUB}")
    if any(file.suffix != ".jsonl" for file in files):
        raise UserError(f"task.path={path}: only JSONL is read, as {HUB} has it; convert it")
    return files


def _rows(file: Path) -> Iterator[tuple[str, int]]:
    """Id and place of every row.

    Line by line, not by the datasets library: one field of a row may be larger than a block of Arrow's JSON reader, and
    one row at a time is all that need be in memory.
    """
    start = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                    identity = str(row["question_id"])
                    absent = [column for column in _TEXT_COLUMNS if not isinstance(row.get(column), str)]
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    raise UserError(f"{file}, line {number}: not a row of {HUB} ({error!r})") from error
                if absent:
                    raise UserError(f"{file}, line {number}: not a row of {HUB}: {', '.join(absent)} is not text")
                yield identity, start
            start += len(line)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
