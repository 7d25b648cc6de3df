"""How a countdown trace is written down: the steps alone, or more and more of what follows from them.

The choices of a trace are its operands and operators. `verbosity` is how many words follow from each choice: a dose of
*forced* words, none of which decides anything, and each of which can go wrong. The choices are the same at every dose.

| verbosity | after `13 + 6` of 6 4 13, target 15 |
|---|---|
| 0 | `= 19 ,` |
| 1 | digit by digit, then what is left: `= 0 1 3 + 0 0 6 = 0 1 9 = 19 left 4 19 target 15 ,` |
| 2 | as 1, then the step undone as a check, and what is left in digits too; an attempt opens with the numbers it has |
| 3 | as 2, with step and check written three times, and what is left three times |

Results are made of the digits before them, and what a step may use stands restated right before it, so that a slip in
forced words can lead a trace astray, as in a long chain of thought.
"""

from collections.abc import Sequence

from led_rl.errors import UserError

Step = tuple[int, str, int, int]  # left, operator, right, result
Trace = tuple[Step, ...]  # one step fewer than there are numbers

VERBOSITIES = (0, 1, 2, 3)
COPIES = 3  # of everything, at the last verbosity
_INVERSE = {"+": "-", "-": "+", "*": "/", "/": "*"}
# What each verbosity adds to the words of the one before; digits are numbers already, all but 0.
_ADDED: tuple[tuple[str, ...], ...] = ((), ("0", "left"), ("have", "check", "digits"), ("again",))


class Writing:
    """The words around the choices of a trace.

    Args:
        verbosity: 0 to 3, see above.
        max_value: the largest number there can be; it says how many digits a number is written with.
    """

    def __init__(self, verbosity: int, max_value: int) -> None:
        if verbosity not in VERBOSITIES:
            raise UserError(
                f"countdown.verbosity={verbosity}: how fully a trace is written out, one of "
                f"{', '.join(map(str, VERBOSITIES))}"
            )
        self.verbosity, self.places = verbosity, len(str(max_value))
        # Where in `after` the result stands: behind `=`, or behind operands and result in digits.
        self.result_at = 3 * self.places + 4 if verbosity else 1

    def words(self) -> list[str]:
        """Words that verbosity 0 does not know."""
        return [word for added in _ADDED[: self.verbosity + 1] for word in added]

    def opening(self, numbers: Sequence[int], target: int) -> list[str]:
        """What an attempt opens with, before its first choice."""
        return ["have", *_shown(numbers, target)] if self.verbosity >= 2 else []

    def after(self, left: Sequence[int], step: Step, target: int) -> list[str]:
        """What follows the three chosen words of a step on the numbers `left`, with the separator or the verdict."""
        a, operator, b, result = step
        rest = remaining(left, step)
        end = "," if len(rest) > 1 else "yes" if rest[0] == target else "no"
        if not self.verbosity:
            return ["=", str(result), end]
        words = self._worked(step)
        if self.verbosity >= 2:
            check = ["check", *self._line((result, _INVERSE[operator], b, a))]
            words += check
            if self.verbosity >= 3:
                words += (COPIES - 1) * ["again", *self._line(step), *check]
        state = ["left", *_shown(rest, target)]
        if self.verbosity >= 2:
            digits = [digit for number in rest for digit in self._digits(number)]
            state = ["digits", *digits, "target", *self._digits(target), *state]
        return [*words, *(COPIES if self.verbosity >= 3 else 1) * state, end]

    def attempt(self, numbers: Sequence[int], trace: Trace, target: int) -> list[str]:
        """The words of a whole attempt."""
        words, left = self.opening(numbers, target), tuple(numbers)
        for step in trace:
            words += [*map(str, step[:3]), *self.after(left, step, target)]
            left = remaining(left, step)
        return words

    def render(self, numbers: Sequence[int], attempts: Sequence[Trace], target: int) -> str:
        """The completion that writes these attempts down and boxes the last."""
        written = " ; ".join(" ".join(self.attempt(numbers, attempt, target)) for attempt in attempts)
        return f"{written} </think> \\boxed{{ {expression_of(attempts[-1])} }}"

    def _line(self, step: Step) -> list[str]:
        return [*map(str, step[:3]), *self._worked(step)]

    def _worked(self, step: Step) -> list[str]:
        """`= 0 1 3 + 0 0 6 = 0 1 9 = 19`"""
        a, operator, b, result = step
        in_digits = ["=", *self._digits(a), operator, *self._digits(b), "=", *self._digits(result)]
        return [*in_digits, "=", str(result)]

    def _digits(self, number: int) -> str:  # of one word each
        return str(number).zfill(self.places)


def _shown(numbers: Sequence[int], target: int) -> list[str]:
    return [*map(str, numbers), "target", str(target)]


def remaining(numbers: Sequence[int], step: Step) -> tuple[int, ...]:
    """The numbers after a step: its operands gone, its result there."""
    left = list(numbers)
    left.remove(step[0])
    left.remove(step[2])
    return (*left, step[3])


def expression_of(trace: Trace) -> str:
    """One expression for a chain of operations: an operand that an earlier step made stands in parentheses."""
    made: list[tuple[int, str]] = []

    def operand(value: int) -> str:
        for index, (result, text) in enumerate(made):
            if result == value:
                del made[index]
                return f"( {text} )"
        return str(value)

    for left, operator, right, result in trace:
        left_text, right_text = operand(left), operand(right)
        made.append((result, f"{left_text} {operator} {right_text}"))
    return made[-1][1]
