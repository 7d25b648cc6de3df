"""Published benchmarks as tasks: schemas, splits, audit, choices, and errors that say what to do. Small files of our
own making stand for the Hub's; the Hub itself is a folder of its cache or a local server."""

import http.server
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from led_rl.tasks import Task, TaskConfig, load_task
from led_rl.tasks.benchmarks import Benchmark, Report, judge_choice, split_of
from led_rl.tasks.sources import SOURCES

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data" / "benchmarks"
SHARED = Path(os.environ.get("LED_RL_BENCHMARKS", ROOT.parent / "shared" / "data" / "benchmarks"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the benchmark files are not on this machine")


def fixture(name: str) -> str:
    return str(DATA / name)


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def sums(path: Path, count: int, offset: int = 0) -> str:
    """A file of `count` different problems in the plain schema."""
    return write(
        path, [{"problem": f"What is {n} + {n * n}?", "answer": n + n * n} for n in range(offset, offset + count)]
    )


@pytest.fixture
def gsm8k() -> Benchmark:
    return Benchmark("gsm8k", fixture("gsm8k_test.jsonl"), fixture("gsm8k_train.jsonl"))


def named(problems, word):
    return next(problem for problem in problems if word in problem.question)


# Schemas


def test_gsm8k_as_the_hub_has_it(gsm8k):
    as_task: Task = gsm8k
    problems = as_task.problems("test", 3)
    mina, hall, otto = (named(problems, word) for word in ("Mina", "hall", "Otto"))
    assert (mina.answer, hall.answer, otto.answer) == ("42", "1450", "-5")
    assert re.fullmatch("gsm8k/test/[0-9a-f]{20}", mina.id)
    assert as_task.prompt(otto) == (
        "Otto owes 9 coins and pays back 4. What is his balance in coins?\n\n"
        "Please reason step by step, and put your final answer within \\boxed{}."
    )
    assert as_task.reference(mina) == ("She packs 4*12=48 pears.\nShe has 48-6=42 pears left.\n\\boxed{42}")
    for problem in problems:
        assert as_task.grade(problem, as_task.reference(problem)).correct
        assert not as_task.grade(problem, r"\boxed{7}").correct


def test_math_takes_its_gold_from_the_box():
    task = Benchmark("math", fixture("math_test.jsonl"))
    problems = task.problems("test", 2)
    half = named(problems, "Simplify")
    assert half.answer == r"\frac{3}{4}"
    assert task.reference(half) == r"Divide by 2: $\frac{6}{8} = \boxed{\frac{3}{4}}$."
    assert task.grade(named(problems, "Solve"), r"\boxed{3, -3}").correct
    assert task.report == {"test": Report(loaded=3, duplicates=0, ungradable=1, contaminated=0)}


def test_math500_has_ids_and_a_wrong_solution_is_no_reference():
    task = Benchmark("math500", fixture("math500.jsonl"))
    problems = task.problems("test", 2)
    assert {problem.id for problem in problems} == {f"math500/test/test/prealgebra/{n}.json" for n in (1, 2)}
    assert task.reference(named(problems, "Simplify")).endswith(r"\boxed{\frac{3}{4}}$.")
    assert named(problems, "2^5").answer == "32" and task.reference(named(problems, "2^5")) is None


@pytest.mark.parametrize(("file", "key", "answer"), [("aime_capitals", "2024-I-1", "1"), ("aime", "60", "025")])
def test_aime_in_both_spellings(file, key, answer):
    task = Benchmark("aime2024", fixture(f"{file}.jsonl"))
    problem = next(p for p in task.problems("test", 2 if file == "aime_capitals" else 1) if p.id.endswith(f"/{key}"))
    assert problem.answer == answer
    assert (
        task.grade(problem, rf"\boxed{{{int(answer)}}}").correct and task.grade(problem, rf"\boxed{{{answer}}}").correct
    )
    assert task.grade(problem, rf"\boxed{{{int(answer) + 1}}}").status == "wrong"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_benchmark_reads_the_plain_columns(name, tmp_path):
    """`id` and `solution` are optional; answers may be numbers; the answer of a choice is a letter."""
    answer = "C" if name == "gpqa_diamond" else 12
    rows = [{"id": n, "problem": f"Problem {n}?", "answer": answer} for n in range(3)]
    task = load_task(TaskConfig(name=name, path=write(tmp_path / "plain.jsonl", rows)))
    problems = task.problems("test", 3)
    assert task.name == name and sorted(p.id for p in problems) == [f"{name}/test/{n}" for n in range(3)]
    assert all(p.answer == str(answer) and task.reference(p) is None for p in problems)
    assert all(task.grade(p, rf"\boxed{{{answer}}}").correct for p in problems)


def test_parquet_is_read_like_jsonl(tmp_path):
    import datasets

    for name, file in [("gsm8k", "gsm8k_test"), ("gpqa_diamond", "gpqa"), ("aime2025", "aime_capitals")]:
        parquet = str(tmp_path / f"{file}.parquet")
        rows = [json.loads(line) for line in Path(fixture(f"{file}.jsonl")).read_text(encoding="utf-8").splitlines()]
        datasets.Dataset.from_list(rows).to_parquet(parquet)
        count = 3 if file == "gsm8k_test" else 2
        assert Benchmark(name, parquet).problems("test", count) == Benchmark(name, fixture(f"{file}.jsonl")).problems(
            "test", count
        )


# Splits


def test_problems_are_distinct_repeatable_and_a_prefix(tmp_path):
    path = sums(tmp_path / "sums.jsonl", 80)
    many = [problem.id for problem in Benchmark("aime2025", path).problems("test", 80, seed=3)]
    task = Benchmark("aime2025", path)
    assert len(set(many)) == 80
    assert [p.id for p in task.problems("test", 20, seed=3)] == many[:20]
    assert [p.id for p in task.problems("test", 80, seed=4)] != many
    assert task.problems("test", 0) == []
    backwards = Path(path).read_text(encoding="utf-8").splitlines()[::-1]
    reversed_file = tmp_path / "backwards.jsonl"
    reversed_file.write_text("\n".join(backwards), encoding="utf-8")
    assert [p.id for p in Benchmark("aime2025", str(reversed_file)).problems("test", 80, seed=3)] == many


def test_train_and_validation_are_disjoint_and_cover_the_file(tmp_path):
    task = Benchmark("gsm8k", sums(tmp_path / "test.jsonl", 5), sums(tmp_path / "train.jsonl", 300, offset=5))
    found = {}
    for split in ("train", "validation", "test"):
        size = int(re.search(r"it has (\d+)", error_of(lambda split=split: task.problems(split, 1_000)))[1])
        found[split] = {problem.question for problem in task.problems(split, size)}
        assert all(p.id.startswith(f"gsm8k/{split}/") for p in task.problems(split, size))
    assert len(found["train"]) + len(found["validation"]) == 300 and len(found["test"]) == 5
    for left, right in itertools.combinations(found.values(), 2):
        assert not left & right
    assert task.report["train"] == Report(300, 0, 0, 0)


def test_a_tenth_is_validation():
    """Of 4000 hashes the share is binomial; 5 standard deviations (0.024) are crossed once in 1.7 million."""
    from hashlib import sha256

    splits = [split_of(sha256(str(n).encode()).hexdigest()) for n in range(4000)]
    assert set(splits) == {"train", "validation"}
    assert abs(splits.count("validation") / 4000 - 0.1) < 0.024


def test_training_problems_are_cleaned(gsm8k, caplog):
    """Of six: two overlap with the test split (one equal, one by a run of 13 words), one is there twice, one has no
    answer."""
    assert len(gsm8k.problems("train", kept_in(gsm8k, "train"))) + kept_in(gsm8k, "validation") == 2
    report = Report(loaded=6, duplicates=1, ungradable=1, contaminated=2)
    assert gsm8k.report == {"train": report}
    assert f"gsm8k: left out of its train split: {report}; the first ungradable: gold answer ''" in caplog.text


def kept_in(task, split):
    """The size of a split, as its error tells it."""
    return int(re.search(r"it has (\d+)", error_of(lambda: task.problems(split, 10**6)))[1])


def error_of(call):
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_training_file_without_a_test_file_is_not_checked_and_says_so(caplog):
    task = Benchmark("gsm8k", train_path=fixture("gsm8k_train.jsonl"))
    assert kept_in(task, "train") + kept_in(task, "validation") == 4
    assert task.report["train"].contaminated == 0
    assert "not checked against its test split; give that by --task.path" in caplog.text


def test_a_training_file_makes_a_benchmark_without_training_problems_trainable(tmp_path):
    task = Benchmark("aime2024", fixture("aime.jsonl"), sums(tmp_path / "train.jsonl", 40))
    assert kept_in(task, "train") + kept_in(task, "validation") == 40


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("name", ["math500", "aime2024", "aime2025", "gpqa_diamond"])
def test_no_training_problems_is_an_error(name, split):
    message = error_of(lambda: Benchmark(name).problems(split, 1))
    assert message.startswith(f"task.name={name}: it has no training problems") and "--task.train_path" in message


def test_duplicates_are_dropped_and_counted(tmp_path):
    rows = [{"problem": text, "answer": "1"} for text in ("One?", "Two?", "One?", " One? ", "one?")]
    task = Benchmark("math500", write(tmp_path / "twice.jsonl", rows))
    assert {p.question for p in task.problems("test", 3)} == {"One?", "Two?", "one?"}
    assert task.report["test"] == Report(5, 2, 0, 0)


def test_ungradable_golds_are_left_out_counted_and_logged(tmp_path, caplog):
    answers = ["7", "", None, r"\frac{1", "12"]
    rows = [{"problem": f"Problem {n}?", "answer": answer} for n, answer in enumerate(answers)]
    task = Benchmark("math500", write(tmp_path / "gold.jsonl", rows))
    assert sorted(p.answer for p in task.problems("test", 2)) == ["12", "7"]
    assert task.report["test"] == Report(5, 0, 3, 0)
    assert "ungradable=3" in caplog.text
    assert "it has 2 (Report(loaded=5, duplicates=0, ungradable=3, contaminated=0)); ask for fewer" in error_of(
        lambda: task.problems("test", 3)
    )


# Choices


@pytest.fixture
def gpqa() -> Benchmark:
    return Benchmark("gpqa_diamond", fixture("gpqa.jsonl"))


def test_choices_are_lettered_by_the_problem_alone(gpqa):
    problems = gpqa.problems("test", 2)
    quarks = named(problems, "quarks")
    assert quarks.id == "gpqa_diamond/test/recB"
    lines = quarks.question.split("\n")
    assert lines[:2] == ["How many quarks does a proton hold as valence quarks?", ""]
    assert [line[:4] for line in lines[2:]] == ["(A) ", "(B) ", "(C) ", "(D) "]
    assert sorted(line[4:] for line in lines[2:]) == ["1", "2", "3", "4"]
    assert f"({quarks.answer}) 3" in lines
    assert ") Carbon dioxide" in named(problems, "gas").question
    instruction = r"Please reason step by step, and put the letter of your final answer within \boxed{}."
    assert gpqa.prompt(quarks) == f"{quarks.question}\n\n{instruction}"
    assert Benchmark("gpqa_diamond", fixture("gpqa.jsonl")).problems("test", 2, seed=0) == problems
    assert {p.id: p for p in gpqa.problems("test", 2, seed=5)} == {p.id: p for p in problems}
    assert gpqa.reference(quarks) is None
    assert gpqa.report["test"] == Report(loaded=3, duplicates=0, ungradable=1, contaminated=0)  # recC has joule twice


def test_equal_questions_with_other_choices_are_two_problems(tmp_path):
    """The choices in another order are the same problem; another choice makes another one."""
    columns = ("Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))
    rows = [
        {"Question": "Which is prime?", **dict(zip(columns, choices, strict=True))}
        for choices in (("2", "4", "6", "8"), ("2", "8", "6", "4"), ("3", "4", "6", "8"))
    ]
    task = Benchmark("gpqa_diamond", write(tmp_path / "primes.jsonl", rows))
    assert len({problem.id for problem in task.problems("test", 2)}) == 2
    assert task.report["test"] == Report(loaded=3, duplicates=1, ungradable=0, contaminated=0)


def test_no_letter_is_favoured(tmp_path):
    """Of 400 problems a share is binomial; 5 standard deviations (0.108) are crossed once in 1.7 million."""
    columns = ("Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))
    rows = [
        {"Question": f"Question {n}?", **dict(zip(columns, ("right", "wrong", "wronger", "wrongest"), strict=True))}
        for n in range(400)
    ]
    answers = Counter(
        p.answer for p in Benchmark("gpqa_diamond", write(tmp_path / "q.jsonl", rows)).problems("test", 400)
    )
    assert all(abs(answers[letter] / 400 - 0.25) < 0.108 for letter in "ABCD")


@pytest.mark.parametrize("box", ["C", "(C)", r"\text{C}", "C.", r"\text{(C)}", r"\text{C.}", " C ", r"\text{ C }"])
def test_letters_that_count(box):
    assert judge_choice("C", rf"<think>\boxed{{A}}</think> so \boxed{{{box}}}").status == "correct"
    assert judge_choice("B", rf"\boxed{{{box}}}").status == "wrong"


@pytest.mark.parametrize(
    "box",
    ["c", "E", "CC", "(C", "C)", "[C]", "C:", "C. newton", "newton", r"\mathrm{C}", r"\textbf{C}", "A, C", "3", "$C$"],
)
def test_anything_else_is_unparsable(box):
    """The text of the right choice too: the prompt asks for its letter."""
    assert judge_choice("C", rf"\boxed{{{box}}}").status == "unparsable"


@pytest.mark.parametrize(
    ("completion", "thinking", "status"),
    [
        ("the answer is C", "optional", "no_answer"),
        (r"\boxed{}", "optional", "no_answer"),
        (r"<think> \boxed{C}", "optional", "unclosed_think"),
        (r"\boxed{C}", "required", "unclosed_think"),
        (r"</think>\boxed{C}", "required", "correct"),
        (r"\boxed{C} no \boxed{D}", "optional", "wrong"),
        (r"\boxed{" * 20_000, "optional", "no_answer"),
        ("\\boxed{\x00\ud800}", "optional", "unparsable"),
    ],
)
def test_statuses_of_choices(completion, thinking, status):
    assert judge_choice("C", completion, thinking).status == status


def test_thinking_reaches_the_grader():
    strict = Benchmark("gsm8k", fixture("gsm8k_test.jsonl"), thinking="required")
    problem = named(strict.problems("test", 3), "Mina")
    assert strict.grade(problem, r"\boxed{42}").status == "unclosed_think"
    assert strict.grade(problem, r"</think>\boxed{42}").correct
    assert strict.reference(problem) is None
    choices = Benchmark("gpqa_diamond", fixture("gpqa.jsonl"), thinking="required")
    problem = choices.problems("test", 1)[0]
    assert choices.grade(problem, rf"\boxed{{{problem.answer}}}").status == "unclosed_think"
    assert choices.grade(problem, rf"</think>\boxed{{{problem.answer}}}").correct


# Errors of options and files


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "gsm8", "path": "x"}, "task.name='gsm8' is unknown: .* a benchmark: gsm8k, math, .* livecodebench"),
        (
            {"name": "countdown", "path": "x.jsonl"},
            r"task.path='x.jsonl': countdown does not take it; remove it or name",
        ),
        ({"name": "countdown", "run_code": True}, "task.run_code=true: consent is given on the command line only"),
        ({"name": "reasoning_gym:chain_sum", "revision": COMMIT}, f"task.revision='{COMMIT}': reasoning_gym:chain_sum"),
        ({"name": "gsm8k", "options": {"a": 1}}, r"task.options=\{'a': 1\}: gsm8k does not take it"),
        ({"name": "livecodebench", "train_path": "x.jsonl"}, "task.train_path='x.jsonl': livecodebench does not take"),
        ({"name": "gsm8k+math", "path": "x.jsonl"}, r"task.path='x.jsonl': gsm8k\+math does not take it"),
        ({"name": "gsm8k", "path": "none.jsonl"}, "task.path='none.jsonl': no such file; download it"),
        (
            {"name": "gsm8k", "train_path": "x.csv"},
            "task.train_path='x.csv': .* ends in .jsonl, .json, .parquet .*convert",
        ),
        ({"name": "gsm8k", "revision": "main"}, "task.revision='main': a full commit, 40 hexadecimal digits"),
        ({"name": "gsm8k", "revision": COMMIT[:39]}, "a full commit"),
        (
            {"name": "aime2024", "path": fixture("aime.jsonl"), "revision": COMMIT},
            f"task.revision={COMMIT}: files are given in place of the Hub; remove one or the other",
        ),
    ],
)
def test_options_that_do_not_fit_are_named(config, message):
    if config["name"] == "livecodebench":
        pytest.importorskip("led_rl.tasks.code")
    with pytest.raises(ValueError, match=message):
        load_task(TaskConfig(**config))


def test_an_unknown_benchmark_or_split_is_an_error():
    with pytest.raises(ValueError, match=r"task.name='gsm9k': the benchmarks are gsm8k, math"):
        Benchmark("gsm9k")
    with pytest.raises(ValueError, match="split='dev': the splits are train, validation, test"):
        Benchmark("gsm8k").problems("dev", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"query": "q", "label": "1"}\n',
            r"columns \(query, label\) are not those of gsm8k: \(question, answer\) or \(pr",
        ),
        (
            '{"problem": "One?", "answer": "1"}\n{"problem": null, "answer": "2"}\n',
            "row 2: column 'problem' is empty; mend",
        ),
        ('{"problem": "One?", "answer": "1"}\n{"problem": \n', "not readable as one table"),
        ("", "no rows"),
        ("\n", "not readable as one table"),
        (
            '{"id": "a", "problem": "One?", "answer": "1"}\n{"id": "a", "problem": "Two?", "answer": "2"}\n',
            "gsm8k: 2 problems of its test split have the id 'a'",
        ),
    ],
)
def test_files_that_do_not_fit_are_named(text, message, tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text(text, encoding="utf-8")
    assert re.search(message, error_of(lambda: Benchmark("gsm8k", str(path)).problems("test", 1)))


# The Hub


def in_process(code, **environment):
    """A fresh process, as the Hub's client reads its environment once. Its lines on stdout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


ASK = """
from led_rl.tasks import TaskConfig, load_task
try:
    for problem in load_task(TaskConfig(name="{name}")).problems("{split}", {count}):
        print(problem.id, problem.answer)
except ValueError as error:
    print(error)
"""


@pytest.mark.timeout(120)
def test_a_hub_out_of_reach_is_one_line_and_quick(tmp_path):
    """The endpoint refuses connections, as without a network: no minute of retries."""
    began = time.monotonic()
    lines = in_process(
        ASK.format(name="gsm8k", split="test", count=1), HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path)
    )
    assert time.monotonic() - began < 15
    assert len(lines) == 1
    assert re.fullmatch(
        r"task.name=gsm8k: openai/gsm8k at [0-9a-f]{40} cannot be had \(.*\); "
        r"download its test split and give the file as --task.path",
        lines[0],
    )


class _Gate(http.server.BaseHTTPRequestHandler):
    """A Hub whose every data set is gated."""

    def do_GET(self):
        self.send_response(401)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.timeout(120)
def test_a_gated_data_set_says_how_to_get_in(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Gate) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        lines = in_process(
            ASK.format(name="gpqa_diamond", split="test", count=1),
            HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
            HF_HOME=str(tmp_path),
        )
        server.shutdown()
    assert len(lines) == 1 and "GatedRepoError" in lines[0]
    assert "accept the terms at https://huggingface.co/datasets/Idavidrein/gpqa and run `hf auth login`, or" in lines[0]
    assert lines[0].endswith("give the file as --task.path")


@pytest.mark.timeout(120)
def test_the_pinned_commit_in_the_cache_needs_no_network_and_no_other_commit_will_do(tmp_path):
    """The layout of the Hub's cache, with the data set's card and our own rows for its files."""
    source = SOURCES["gsm8k"]
    folder = tmp_path / "hub" / "datasets--openai--gsm8k" / "snapshots" / source.revision
    (folder / "main").mkdir(parents=True)
    card = ["---", "configs:", "- config_name: main", "  data_files:"]
    for split in ("test", "train"):
        card += [f"  - split: {split}", f"    path: main/{split}.jsonl"]
        (folder / "main" / f"{split}.jsonl").write_bytes(Path(fixture(f"gsm8k_{split}.jsonl")).read_bytes())
    (folder / "README.md").write_text("\n".join([*card, "---", ""]), encoding="utf-8")
    offline = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    lines = in_process(ASK.format(name="gsm8k", split="test", count=3), **offline)
    local = Benchmark("gsm8k", fixture("gsm8k_test.jsonl")).problems("test", 3)
    assert lines == [f"{problem.id} {problem.answer}" for problem in local]
    train = in_process(ASK.format(name="gsm8k", split="train", count=100), **offline)
    assert "loaded=6, duplicates=1, ungradable=1, contaminated=2" in train[0]
    folder.rename(folder.parent / COMMIT)
    assert "cannot be had" in in_process(ASK.format(name="gsm8k", split="test", count=3), **offline)[0]


def test_sources_are_pinned():
    assert set(SOURCES) == {"gsm8k", "math", "math500", "aime2024", "aime2025", "gpqa_diamond"}
    for name, source in SOURCES.items():
        assert source.name == name and re.fullmatch("[0-9a-f]{40}", source.revision)
        assert source.licence and source.url.startswith("https://")


def test_a_benchmark_is_used_without_torch():
    code = (
        "import sys; from led_rl.tasks import TaskConfig, load_task; import led_rl.tasks.contamination; "
        "assert 'datasets' not in sys.modules; "
        f"task = load_task(TaskConfig(name='gsm8k', path={fixture('gsm8k_test.jsonl')!r})); "
        "problem = task.problems('test', 1)[0]; assert task.grade(problem, task.reference(problem)).correct; "
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    assert in_process(code) == ["[]"]


# The benchmarks themselves


@needs_shared
@pytest.mark.parametrize(("name", "count"), [("gsm8k", 1319), ("math500", 500), ("aime2024", 30)])
def test_the_real_files_are_whole(name, count):
    task = Benchmark(name, str(SHARED / f"{name}.jsonl"))
    problems = task.problems("test", count)
    assert task.report["test"] == Report(count, 0, 0, 0)
    assert len({problem.id for problem in problems}) == count
    assert [p.id for p in task.problems("test", 10, seed=0)] == [p.id for p in problems[:10]]
    for problem in problems[:20]:
        assert task.grade(problem, rf"<think> hm </think> So it is \boxed{{{problem.answer}}}.").correct
        assert not task.grade(problem, rf"\boxed{{{problem.answer} + 1}}").correct
    assert f"it has {count}" in error_of(lambda: task.problems("test", count + 1))
