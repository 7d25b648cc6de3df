"""Keeps foreign graders that call `eval` from running what a model wrote: only plain expressions are evaluated.

Several scorers of reasoning-gym hand an answer to Python's `eval`, or to sympy's `parse_expr`, which does the same. A
process that evaluates whatever it is given can give itself any score it likes, wherever it is locked in. So, in the
process that scores, `install` puts a check in front of every evaluation of text: numbers, strings, names, lists,
operators and calls of known mathematical functions go through, and nothing that could reach further, such as an
attribute, an index, a function definition, or a call of anything else.

The check sits on Python's own audit events "compile" and "exec", which a text has to pass before it can run. It is no
wall around code that already runs. Other events (processes, sockets, written files, ctypes) are refused as well: a seat
belt, for the case that a library can be talked into them without `eval`.
"""

import ast
import os
import sys
import warnings
from typing import Any, NoReturn

MAX_SOURCE_CHARS = 20_000

# What sympy's parse_expr runs before it looks at an answer.
_OF_LIBRARIES = frozenset({"from sympy import *"})
# Modules that make classes or functions by evaluating text of their own, from names and counts they have checked.
_MAKERS = frozenset({"collections", "dataclasses", "sympy.polys.monomials"})

_NODES = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.BinOp, ast.UnaryOp,
    ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Call,
)  # fmt: skip
# What parse_expr makes of numbers and names in the text, and then mathematics.
_NAMES = """
Integer Float Rational Symbol Function Add Mul Pow Mod sqrt cbrt root exp log ln Abs abs sign floor ceiling factorial
binomial gamma gcd lcm Min Max min max round int float re im conjugate arg erf erfc Ei Si Ci li sin cos tan cot sec csc
asin acos atan atan2 acot asec acsc sinh cosh tanh coth sech csch asinh acosh atanh acoth Eq Ne Lt Le Gt Ge Heaviside
DiracDelta Integral Derivative Piecewise
"""
_FUNCTIONS = frozenset(_NAMES.split())

_FORBIDDEN = (
    "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.fork", "os.kill",
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "os.link", "os.symlink",
    "os.putenv", "os.unsetenv", "shutil.", "socket.", "pty.", "ctypes.", "pickle.find_class", "code.__new__",
    "function.__new__", "cpython.run_", "resource.setrlimit", "resource.prlimit", "signal.pthread_kill", "syslog.",
    "fcntl.", "mmap.__new__", "ftplib.", "urllib.", "http.", "sqlite3.", "webbrowser.", "sys.settrace",
    "sys.setprofile",
)  # fmt: skip


class ForbiddenError(PermissionError):
    """Refused while text of a model is being graded."""


def is_plain(source: str) -> bool:
    """Whether this is one expression that can only compute a value, for all that is known of the names in it."""
    if len(source) > MAX_SOURCE_CHARS:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as `2(3)`, which is no call
            tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return all(map(_is_plain, ast.walk(tree)))


def _is_plain(node: ast.AST) -> bool:
    match node:
        case ast.Name():
            return not node.id.startswith("_")
        case ast.Call(func=ast.Name(id=name)):
            return name in _FUNCTIONS and not node.keywords
        # f(x), where nothing is known of f: parse_expr writes Function('f')(Symbol('x')).
        case ast.Call(func=ast.Call(func=ast.Name(id="Function"), args=[ast.Constant(value=str())])):
            return not node.keywords
        case ast.Call():
            return False
    return isinstance(node, _NODES)


class Guard:
    """The check; `refused` says what it last refused, None if nothing, as graders swallow the error."""

    def __init__(self) -> None:
        self.refused: str | None = None
        self._checked = 0  # texts that were found plain and are not yet run
        self._checking = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "compile":
            self._compile(*arguments[:2])
        elif event == "exec":
            self._exec(arguments[0].co_filename)
        elif event.startswith(_FORBIDDEN):
            self._refuse(f"{event} is not allowed while grading")
        elif event == "open":
            mode, flags = arguments[1], arguments[2]
            writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
            if writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                self._refuse("writing files is not allowed while grading")

    def _refuse(self, why: str) -> NoReturn:
        self.refused = why
        raise ForbiddenError(why)

    def _compile(self, source: object, filename: object) -> None:
        if self._checking or _is_module(filename):
            return
        text = source.decode("utf-8", "replace") if isinstance(source, bytes) else source
        if isinstance(text, str) and (text in _OF_LIBRARIES or _made_by_a_library()):
            self._checked += 1
            return
        self._checking = True
        try:
            plain = isinstance(text, str) and is_plain(text)
        finally:
            self._checking = False
        if not plain:
            self._refuse("only plain expressions are evaluated while grading")
        self._checked += 1

    def _exec(self, filename: str) -> None:
        if _is_module(filename):
            return
        if not self._checked:
            self._refuse("only plain expressions are evaluated while grading")
        self._checked -= 1


def _is_module(filename: object) -> bool:
    """Whether code is of a file that is imported; `eval` of a text calls it "<string>"."""
    return isinstance(filename, str) and (
        (filename.endswith(".py") and os.path.isabs(filename)) or filename.startswith("<frozen ")
    )


def _made_by_a_library() -> bool:
    """Whether the function that evaluates is one of `_MAKERS`, which is found above the guard's own frames."""
    frame = sys._getframe(3)
    return frame.f_globals.get("__name__") in _MAKERS


def install() -> Guard:
    """Guard this process, for as long as it lives."""
    guard = Guard()
    sys.addaudithook(guard)
    return guard
