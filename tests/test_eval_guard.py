"""Graders that evaluate text compute, and run nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from led_rl.tasks.eval_guard import MAX_SOURCE_CHARS, is_plain

ROOT = Path(__file__).resolve().parents[1]

PLAIN = [
    "1 + 2*x", " -(3.5e2 // 4) % 7 ** 2", "[['_', 'Q'], ['Q', '_']]", "('a', 1, None, True)", "{1: 'x'}", "{1, 2}",
    "x**2 - 3*x + C", "sin(x)**2 + exp(-x)*log(x)", "Integer (2 )*Symbol ('x' )", "Function ('f' )(Symbol ('x' ))",
    "Integral(x**2, (x, 0, 1))", "1 <= x", "not x or y", "open", "2 ^ 3", "1j",
]  # fmt: skip
NOT_PLAIN = [
    "__import__('os').system('id')", "().__class__", "x.y", "x[0]", "open('x')", "eval('1')", "getattr(x, 'y')",
    "(lambda: 0)()", "lambda: 0", "[y for y in x]", "{y for y in x}", "{y: y for y in x}", "(y for y in x)", "f'{x}'",
    "[*x]", "sin(*x)", "sin(**x)", "Symbol('x', commutative=False)", "(x := 1)", "1 if x else 2", "__builtins__", "_x",
    "x = 1", "import os", "1; 2", "", "(", "Function(x)(y)", "Function('f')(x)(y)", "sin(x)(y)", "'a'.join(x)",
    "Function('f', x)(y)", "lambdify(x)", "sympify('x')", "S('x')", "await x", "(" * 5000, "-" * 15_000 + "1", "\x00",
    "\ud800", "1" + "+1" * MAX_SOURCE_CHARS, "print(1)", "type('A', (), {})", "help()", "exit()", "breakpoint()",
]  # fmt: skip


@pytest.mark.parametrize("source", PLAIN)
def test_expressions_are_plain(source):
    assert is_plain(source)


@pytest.mark.parametrize("source", NOT_PLAIN)
def test_what_could_reach_further_is_not(source):
    assert not is_plain(source)


GUARDED = """
import collections, os, sys, sympy
from led_rl.tasks.eval_guard import ForbiddenError, install
refused = 0
guard = install()


def try_to(action):
    global refused
    try:
        action()
    except ForbiddenError:
        assert guard.refused
        refused += 1
    else:
        sys.exit(f"allowed: {action}")


import this
assert eval("1 + 1") == 2 and str(sympy.parse_expr("x**2 + f(x)")) == "x**2 + f(x)"
assert collections.namedtuple("Point", "x y")(1, 2).y == 2
assert sympy.ring("x,y", sympy.ZZ)[1]
for text in (
    "open('/etc/passwd')", "().__class__", "__import__('os').system('id')", "sin('().__class__')", "S('open(1)')",
    "sympify('().__class__')", "Symbol('x').free_symbols.pop()", "exec('1')", "'{0.__class__}'.format(1)",
):
    try_to(lambda: sympy.parse_expr(text))
    if "sin" not in text:
        try_to(lambda: eval(text))
        try_to(lambda: exec(text))
        try_to(lambda: eval(compile(text, "<string>", "eval")))
        try_to(lambda: eval(compile(text, "x.py", "eval")))
        try_to(lambda: eval(text.encode()))
for action in (
    lambda: __import__("ctypes").CDLL(None), lambda: os.system("id"), os.fork, lambda: os.kill(os.getpid(), 0),
    lambda: os.posix_spawn("/bin/true", ["true"], {}), lambda: os.execv("/bin/true", ["true"]),
    lambda: open("/tmp/x", "w"), lambda: os.open("/tmp/x", os.O_CREAT | os.O_WRONLY), lambda: os.remove("/tmp/x"),
    lambda: __import__("socket").socket(), lambda: __import__("subprocess").run(["true"]),
):
    try_to(action)
print(refused)
"""


def test_the_guard_sits_where_text_is_evaluated():
    """Whoever calls eval, exec, compile or parse_expr; libraries that make classes or functions from text still can."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", GUARDED],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) == 9 + 8 * 5 + 11
