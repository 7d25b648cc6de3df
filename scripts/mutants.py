"""Change the code one small thing at a time and see whether the tests notice: mutation testing.

python scripts/mutants.py --groups tasks --sample 60
python scripts/mutants.py --sample 60 --output results/mutants/mutants.json    # all groups; takes hours on two cores
python scripts/mutants.py --groups scores --only bootstrap.py:37:11:arithmetic   # one again

The groups, and the tests of each module, are in tests/mutants.yaml. Mutants are made in a copy of the repository; each
is tried in a fork of a process that has already imported the libraries, so a try costs what its tests cost.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "tests" / "mutants.yaml"
COPIED = ("led_rl", "tests", "scripts", "configs", "checkpoints", "pyproject.toml")
PRELOADED = ("numpy", "scipy", "yaml", "pytest", "hypothesis", "torch", "transformers", "safetensors", "peft")
_LEFT_ALONE = ("annotation", "returns", "decorator_list", "type_params", "bases")

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, what it does, and the module's source with it."""

    module: str
    name: str
    before: str
    after: str
    source: str


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in order of place. Left alone: docstrings, texts, annotations, messages of errors."""
    tree = ast.parse(source)
    for path, node in _places(tree, ()):
        for operator, changed in _changes(node):
            whole = copy.deepcopy(tree)
            _put(whole, path, changed)
            name = f"{Path(module).name}:{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}:{operator}"
            after = ast.unparse(ast.fix_missing_locations(changed)) if not isinstance(changed, ast.Pass) else "removed"
            yield Mutant(module, name, ast.unparse(node)[:160], after[:160], ast.unparse(whole))


Step = tuple[str, int | None]


def _places(node: ast.AST, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], ast.AST]]:
    for field, value in ast.iter_fields(node):
        if field in _LEFT_ALONE:
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or isinstance(child, (ast.Raise, ast.Assert, ast.JoinedStr, ast.alias)):
                continue
            if isinstance(child, ast.AnnAssign) and child.value is None:
                continue
            where = (*path, (field, index if isinstance(value, list) else None))
            yield where, child
            yield from _places(child, where)


def _put(tree: ast.AST, path: Sequence[Step], changed: ast.AST) -> None:
    node: Any = tree
    for field, index in path[:-1]:
        node = getattr(node, field) if index is None else getattr(node, field)[index]
    field, index = path[-1]
    if index is None:
        setattr(node, field, changed)
    else:
        getattr(node, field)[index] = changed


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Compare(left, ops, comparators):
            for place, sign in enumerate(ops):
                if type(sign) in _COMPARISONS:
                    signs = [*ops[:place], _COMPARISONS[type(sign)](), *ops[place + 1 :]]
                    yield f"compare{place}", ast.Compare(left, signs, comparators)
        case ast.BinOp(left, sign, right) if type(sign) in _ARITHMETIC:
            yield "arithmetic", ast.BinOp(left, _ARITHMETIC[type(sign)](), right)
        case ast.BoolOp(sign, values):
            yield "boolean", ast.BoolOp(ast.Or() if isinstance(sign, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield "unary", operand
        case ast.Constant(bool(value)):
            yield "constant", ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield "constant", ast.Constant(value + 1)
        case ast.IfExp(test, body, orelse):
            yield "branches", ast.IfExp(test, orelse, body)
        case ast.Return(value) if value is not None and not (isinstance(value, ast.Constant) and value.value is None):
            yield "return", ast.Return(ast.Constant(None))
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Delete():
            yield "statement", ast.Pass()
        case ast.Continue():
            yield "statement", ast.Break()
        case ast.Break():
            yield "statement", ast.Continue()


class Workshop:
    """A copy of the repository in which one module at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "pytest.log"
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
            elif source.exists():
                shutil.copy(source, folder / name)

    def survives(self, mutant: Mutant | None, tests: Sequence[str], timeout_s: float) -> tuple[str, float]:
        """("killed" | "timeout" | "survived", seconds) of the tests with this change, or of the code as it is."""
        original = None
        if mutant is not None:
            path = self.folder / mutant.module
            original = path.read_text(encoding="utf-8")
            path.write_text(mutant.source, encoding="utf-8")
        start = time.monotonic()
        try:
            return self._try(tests, timeout_s), round(time.monotonic() - start, 2)
        finally:
            if original is not None:
                path.write_text(original, encoding="utf-8")

    def _try(self, tests: Sequence[str], timeout_s: float) -> str:
        child = os.fork()
        if child == 0:
            self._run(tests)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "timeout"

    def _run(self, tests: Sequence[str]) -> None:
        """In the fork: pytest on the copy. Never returns."""
        os.setsid()
        os.chdir(self.folder)
        output = os.open(self.output, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.environ["PYTHONPATH"] = str(self.folder)
        others = [entry for entry in sys.path if not _is_ours(entry)]
        sys.path[:] = [str(self.folder), str(self.folder / "tests"), *others]
        sys.dont_write_bytecode = True
        code = 3
        try:
            import pytest

            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", *tests]))
        finally:
            os._exit(code)


def _is_ours(entry: str) -> bool:
    return Path(entry or ".").resolve() in (ROOT, ROOT / "tests", ROOT / "scripts")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--groups", nargs="+", help="groups of tests/mutants.yaml; all by default")
    parser.add_argument("--sample", type=int, default=60, help="mutants tried in each group, 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", nargs="+", default=[], help="names of mutants to try, in place of a sample")
    parser.add_argument("--timeout-s", type=float, default=240.0, help="for the tests of one mutant; slower is killed")
    parser.add_argument("--output", type=Path, help="JSON record; the survivors of each group are in it")
    arguments = parser.parse_args(argv)

    import yaml

    from led_rl.errors import UserError
    from led_rl.records import write_json
    from led_rl.run_folder import provenance

    groups = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for name in arguments.groups or []:
        if name not in groups:
            raise UserError(f"--groups {name}: the groups of {CONFIG.name} are {', '.join(groups)}")
    record = {**provenance({"sample": arguments.seed}), "groups": {}}
    for name in [loaded for loaded in list(sys.modules) if loaded.split(".")[0] == "led_rl"]:
        del sys.modules[name]  # each fork imports its own
    for library in PRELOADED:
        __import__(library)
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        for name in arguments.groups or groups:
            record["groups"][name] = _group(workshop, groups[name], arguments)
            if arguments.output is not None:
                write_json(arguments.output, record)
    return 0


def _group(workshop: Workshop, modules: dict[str, list[str]], arguments: argparse.Namespace) -> dict[str, Any]:
    for tests in dict.fromkeys(tuple(tests) for tests in modules.values()):
        verdict, seconds = workshop.survives(None, tests, 4 * arguments.timeout_s)
        print(f"unchanged: {verdict} in {seconds} s: {' '.join(tests)}", flush=True)
        if verdict != "survived":
            raise RuntimeError(f"the tests fail on the code as it is:\n{workshop.output.read_text()[-3000:]}")
    sources = {module: (workshop.folder / module).read_text(encoding="utf-8") for module in modules}
    found = [mutant for module, source in sources.items() for mutant in mutants_of(module, source)]
    chosen = found
    if arguments.only:
        chosen = [mutant for mutant in found if mutant.name in arguments.only]
    elif 0 < arguments.sample < len(found):
        chosen = sorted(random.Random(arguments.seed).sample(found, arguments.sample), key=found.index)
    rows = []
    for mutant in chosen:
        verdict, seconds = workshop.survives(mutant, modules[mutant.module], arguments.timeout_s)
        row = {"mutant": mutant.name, "before": mutant.before, "after": mutant.after, "verdict": verdict, "s": seconds}
        rows.append(row)
        print(f"{verdict:9}{seconds:7.1f} s  {mutant.name}  {mutant.before!r} -> {mutant.after!r}", flush=True)
    killed = sum(row["verdict"] != "survived" for row in rows)
    print(f"killed {killed} of {len(rows)} tried, of {len(found)} mutants", flush=True)
    return {"mutants": len(found), "tried": len(rows), "killed": killed, "modules": list(modules), "rows": rows}


if __name__ == "__main__":
    from led_rl.cli import guarded

    sys.exit(guarded(main))
