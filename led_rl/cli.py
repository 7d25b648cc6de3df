"""What every console command shares: options, help, dry runs, and how a command ends.

A command ends with 0, or with 2 and one line on stderr for bad input of the user's, or with 130 and one line that says
how to go on after Ctrl-C. Whatever else is raised is a bug or the machine's fault and keeps its traceback.
"""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from led_rl.config import Fields, parse, preset
from led_rl.environment import prepare
from led_rl.errors import UserError
from led_rl.help import page
from led_rl.plugins import FAMILY, allow, take_families
from led_rl.run_folder import RunFolder, command_line

Config = TypeVar("Config")
BAD_INPUT, INTERRUPTED = 2, 130
DRY_RUN = "--dry_run"


@dataclass(frozen=True)
class Command(Generic[Config]):
    """A console command: called with a command line (none: the process's own), it gives the exit code.

    Attributes:
        name: as it is typed.
        kind: the dataclass of its options. It and what it imports must be light, for --help to be quick.
        run: does the work; imports what is heavy itself. Takes the configuration, and the same as a dictionary.
        about: what it is for.
        examples: command lines, one a line.
        default: the YAML file for a command line that names none.
        fields: names that dictionaries among the options may hold.
        rehearse: what --dry_run does in place of `run`; none: there is no --dry_run.
        resumable: goes on with --resume; else the same command goes on.
        loads_models: takes --family, too.
    """

    name: str
    kind: type[Config]
    run: Callable[[Config, dict[str, Any]], None]
    about: str
    examples: str
    default: Callable[[Sequence[str]], Path | None] = lambda argv: None
    fields: Fields = field(default_factory=dict)
    rehearse: Callable[[Config, dict[str, Any]], None] | None = None
    resumable: bool = False
    loads_models: bool = False

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        arguments = list(sys.argv[1:] if argv is None else argv)
        prepare()
        named: list[str] = arguments
        plain: dict[str, Any] = {}
        try:
            if {"-h", "--help"} & set(arguments):
                try:
                    print(self.help(arguments), flush=True)
                except BrokenPipeError:  # `--help | head` has read enough
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return 0
            rest = [argument for argument in arguments if argument != DRY_RUN]
            if len(rest) < len(arguments) and self.rehearse is None:
                raise UserError(f"{DRY_RUN}: {self.name} has no dry run; leave it out")
            allow(rest)  # what is typed is consent to run it
            if self.loads_models:
                rest = take_families(rest)
            config, plain = parse(self.kind, rest, self.default(rest), self.fields)
            named = [*arguments, *_texts(plain)]
            work = self.rehearse if self.rehearse is not None and DRY_RUN in arguments else self.run
            work(config, plain)
        except UserError as error:
            return _end(f"error: {error}", BAD_INPUT)
        except OSError as error:
            if not _names_a_path_of(error, named):
                raise
            return _end(f"error: {error.filename}: {error.strerror}; name another path, or mend this one", BAD_INPUT)
        except KeyboardInterrupt:
            return self._interrupted(arguments, plain)
        except SystemExit as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):  # Lightning's answer to Ctrl-C
                return self._interrupted(arguments, plain)
            raise
        return 0

    def help(self, argv: Sequence[str] = ()) -> str:
        """The page of --help: with --config, of what that file makes of the options."""
        values, file = preset(self.kind, argv, self.default(argv))
        return page(self.name, self.about, self.examples, self.kind, values, file, self.fields, self.beside())

    def beside(self) -> dict[str, str]:
        """The options that are not of the configuration, with their help."""
        more = {"--config FILE": "YAML with any of these options; options typed beside it override it"}
        if self.loads_models:
            more[f"{FAMILY} MODULE:NAME"] = "how a family of models of your own is read (docs/own_model.md)"
        if self.rehearse is not None:
            more[DRY_RUN] = "print the configuration, what would be written, time and disk, and stop"
        return more

    def _interrupted(self, arguments: Sequence[str], plain: Mapping[str, Any]) -> int:
        if int(os.environ.get("LOCAL_RANK", "0")) > 0:  # the first process speaks for all
            return INTERRUPTED
        begun = self.resumable and RunFolder(Path(plain.get("output_dir", "."))).record_file.exists()
        more = ["--resume"] if begun and "--resume" not in arguments else []
        again = command_line([*arguments, *more], self.name)
        return _end(f"interrupted: `{again}` goes on", INTERRUPTED)


def dispatch(name: str, commands: Mapping[str, Command[Any]], argv: Sequence[str] | None = None) -> int:
    """A command of several parts, such as `led-bench grpo`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in commands:
        return commands[arguments[0]](arguments[1:])
    listed = "\n".join(f"  {name} {part}: {command.about}" for part, command in commands.items())
    if arguments in (["-h"], ["--help"]):
        print(f"usage: {name} <{'|'.join(commands)}> [--option value ..]\n\n{listed}")
        return 0
    given = shlex.join(arguments[:1]) or "nothing"
    return _end(f"error: {name} takes one of {', '.join(commands)} first, and {given} was given", BAD_INPUT)


def guarded(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a developer's script that reads its own options; bad input (UserError) becomes one line and exit code 2."""
    try:
        return main(argv)
    except UserError as error:
        return _end(f"error: {error}", BAD_INPUT)


SCRIPTS = {
    "led-train": "train_grpo.py",
    "led-eval": "eval_led.py",
    "led-report": "report.py",
}


def following(name: str, *arguments: str) -> str:
    """Another command as this process's user types commands: beside a script it is a script."""
    program = Path(sys.argv[0])
    beside = program.parent / SCRIPTS[name]
    start = [Path(sys.executable).name, str(beside)] if program.suffix == ".py" and beside.is_file() else [name]
    return shlex.join([*start, *arguments])


def _end(line: str, code: int) -> int:
    print(line, file=sys.stderr, flush=True)
    return code


def _texts(tree: Any) -> Iterator[str]:
    """All texts in a configuration."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping | list):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _texts(value)


def _names_a_path_of(error: OSError, texts: Sequence[str]) -> bool:
    """Whether this is about a path that the user named, a folder above it, or, but for a file that is missing there,
    something below it."""
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return False
    path = Path(os.fsdecode(error.filename)).absolute()
    values = [text.partition("=")[2] if text.startswith("--") else text for text in texts]
    for given in (Path(value).absolute() for value in values if value and "\0" not in value):
        below = given in path.parents and not isinstance(error, FileNotFoundError | IsADirectoryError)
        if path == given or path in given.parents or below:
            return True
    return False
