"""What may import what: read from the syntax tree of every module, and for the light ones from a fresh process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import led_rl

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "led_rl"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Data flows upwards through these; equals do not see one another.
# `scores` reads what `eval` wrote, from disk: as code it is arithmetic on counts, which training may use as well.
LAYERS = {
    "tasks": 0,
    "models": 1,
    "scores": 1,
    "decoding": 2,
    "probe": 3,
    "adapters": 3,
    "serving": 3,
    "pretrain": 4,
    "rl": 4,
    "eval": 4,
    "report": 5,
    "commands": 6,
}
# Open to all, and what each may import itself.
SHARED = {
    "errors": set(),
    "arm_card": set(),
    "schema": {"arm_card", "errors", "records"},
    "launch": {"errors"},
    "signals": set(),
    "links": {"errors"},
    "storage": {"errors"},
    "lock": {"errors", "launch", "links", "signals", "storage"},
    "checkpoints": {"errors", "records"},
    "shipped": set(),
    "environment": set(),
    "progress": set(),
    "options": set(),
    "build_wheel": set(),
    "plugins": {"errors"},
    "records": {"errors"},
    "yaml_files": {"errors"},
    "run_folder": {"records", "errors", "checkpoints", "launch", "yaml_files"},
    "config": {"errors", "options", "shipped"},
    "help": {"config", "options"},
    "cli": {"config", "environment", "errors", "help", "plugins", "run_folder"},
    "matrix": {"config", "records", "run_folder", "errors"},
}


def imports(path):
    """Every module a file imports, anywhere in it, under functions and TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: absolute imports only"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part(path):
    """The part of the package a file is in: `tasks`, `records`, or `` for the package's own __init__."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def ours(path):
    """The parts of led_rl a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.split(".")[0] == "led_rl" and "." in name}


def others(path):
    """The top-level packages of others a file imports."""
    return {name.split(".")[0] for name in imports(path)} - {"led_rl"}


def named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_arrows_follow_the_data(path):
    here = part(path)
    if here == "":
        assert not ours(path), "the package's __init__ imports lazily"
        return
    if here in SHARED:
        assert ours(path) <= SHARED[here] | {here}
        return
    assert here in LAYERS, f"{named(path)}: a part of the package that the data flow does not know"
    for there in ours(path) - {here} - SHARED.keys():
        assert LAYERS[there] < LAYERS[here], f"{named(path)} imports led_rl.{there}"


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "scripts").glob("*.py"))], ids=named)
def test_trl_is_imported_in_rl_only(path):
    if path.parent != PACKAGE / "rl":
        assert "trl" not in others(path)


@pytest.mark.parametrize("path", [path for path in MODULES if part(path) in ("tasks", "scores", "report")], ids=named)
def test_tasks_scores_and_report_import_no_model_library(path):
    banned = {"torch", "transformers", "lightning", "trl", "peft", "accelerate"}
    assert not others(path) & (banned if path.name == "sources.py" else {*banned, "datasets"})
    below = {"tasks": set(), "scores": {"tasks"}, "report": {"scores"}}
    assert ours(path) <= {part(path), *SHARED, *below[part(path)]}


def test_reasoning_gym_is_an_extra():
    """Whoever has not installed it grades everything else: no other module so much as mentions it to Python."""
    importers = {path.name for path in MODULES if "reasoning_gym" in others(path)}
    assert importers == {"gym.py", "gym_scorer.py"}


@pytest.mark.parametrize("path", [path for path in MODULES if part(path) in (*SHARED, "")], ids=named)
def test_shared_modules_are_light(path):
    light = {"yaml", "jsonargparse", "docstring_parser", "tqdm", "setuptools", "pydantic", "typing_extensions"}
    assert others(path) <= set(sys.stdlib_module_names) | light


LIGHT = [
    "led_rl",
    "led_rl.tasks",
    "led_rl.report",
    "led_rl.report.build",
    "led_rl.scores.scoring",
    "led_rl.records",
    "led_rl.run_folder",
    "led_rl.config",
    "led_rl.cli",
    *(
        f"led_rl.commands.{path.stem}"
        for path in sorted((PACKAGE / "commands").glob("*.py"))
        if path.stem not in ("__init__", "dry_run")
    ),
]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_neither_torch_nor_transformers(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'lightning', 'trl'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_of_tasks_scores_and_report_loads_neither():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in MODULES
        if part(path) in ("tasks", "scores", "report") and path.name != "__init__.py"
    ]
    code = f"import sys, {', '.join(modules)}; print(sorted({{'torch', 'transformers'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_whole_task_is_used_without_torch():
    code = (
        "import sys; from led_rl.tasks import TaskConfig, load_task; task = load_task(TaskConfig()); "
        "problem = task.problems('test', 1)[0]; assert task.grade(problem, task.reference(problem)).correct; "
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_scripts_do_nothing_on_import_and_the_report_needs_no_torch():
    code = (
        "import runpy, sys; [runpy.run_path(f'scripts/{name}.py', run_name='imported') for name in "
        "('pretrain_base', 'train_grpo', 'eval_led', 'report', 'warmup', 'diagnose', 'run_matrix')]; "
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", led_rl.__all__)
def test_lazy_exports_are_what_they_say(name):
    exported = getattr(led_rl, name)
    assert name in dir(led_rl)
    if hasattr(exported, "__module__"):
        assert exported.__module__ == led_rl._EXPORTS[name]


def test_an_unknown_export_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'led_rl' has no attribute 'nothing'"):
        led_rl.__getattr__("nothing")


def test_no_drawer_for_everything():
    files = [path for folder in ("led_rl", "scripts", "tests") for path in (ROOT / folder).rglob("*.py")]
    assert not [path for path in files if path.stem in ("utils", "util", "helpers", "common", "misc")]


def test_no_two_test_files_share_a_name():
    """pytest imports a test file by its bare name: tests/serving/test_engine.py hid tests/test_engine.py as soon as
    both could be collected, which needs vLLM."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
