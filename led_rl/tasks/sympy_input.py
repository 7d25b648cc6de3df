"""What may be handed to sympy, and how it is spelt there. What costs too much or is known to be misread is refused."""

import re

from led_rl.tasks.latex import MAX_CHARS, depth, group
from led_rl.tasks.numerals import decimal

MAX_DIGITS = 50
MAX_NESTING = 20
MAX_EXPONENT = 1000
MAX_TOWER_LITERAL = 4
MAX_FACTORIAL = 200
MAX_BINOMIAL = 1000

_FUNCTIONS = "sin|cos|tan|cot|sec|csc|ln|log|exp|pi"
_COMMAND = re.compile(r"\\[a-zA-Z]+")


def refusal(text: str) -> str | None:
    r"""Why a normalised text is not handed to sympy, in a few words; None if it may be.

    What is refused either costs too much (long, deep, huge powers, factorials, binomials) or is known to be misread by
    latex2sympy, which reads `3 4` as 7, `52_8` as 52, and drops the prime of `a'` and the dots of `3.14\ldots`.
    """
    if len(text) > MAX_CHARS:
        return f"longer than {MAX_CHARS} characters"
    if not text.isascii() or not text.isprintable():
        return "characters outside printable ASCII"
    if depth(text) is None:
        return "unbalanced brackets"
    if (depth(text) or 0) > MAX_NESTING:
        return f"nested deeper than {MAX_NESTING}"
    literals = [int(digits) for digits in re.findall(r"[0-9]+", text) if len(digits) <= MAX_DIGITS]
    if re.search(rf"[0-9]{{{MAX_DIGITS + 1}}}", text):
        return f"a number of more than {MAX_DIGITS} digits"
    largest = max(literals, default=0)
    if re.search(r"[0-9]\s+[0-9]|[0-9]\}?_|[0-9]\{|[:@#?%'\"`]|\\boxed|\\fbox|\\circ|__", text):
        return "notation with no single reading"
    if re.search(
        r"\^\{?\\?(?:T|top|prime|dagger)(?![a-zA-Z])|\\p?mod(?![a-z])|\\bmod|\\equiv|\\approx|\\sim|\\[lcd]?dots", text
    ):
        return "notation that latex2sympy drops"
    if re.search(r"\\(?:i*int|oint|sum|prod|lim|Gamma)(?![a-z])", text):
        return "an operation still to be carried out"  # an answer that restates the question, and often slow
    if "!" in text and (largest > MAX_FACTORIAL or re.search(r"![ )}\]]*!", text)):
        return "a factorial too large"
    if "^" in text and re.search(r"[)\]}]!", text):
        return "a factorial too large"
    if re.search(r"binom|choose|\\(?:gcd|lcm)", text) and (largest > MAX_BINOMIAL or "^" in text or "!" in text):
        return "a binomial too large"
    return _refused_power(text)


def _refused_power(text: str) -> str | None:
    chain = 1
    for found in re.finditer(r"\^", text):
        exponent = group(text, found.end())
        largest = max((int(digits) for digits in re.findall(r"[0-9]+", exponent)), default=1)
        inner = exponent.find("^")
        if inner >= 0 and (largest > MAX_TOWER_LITERAL or "^" in group(exponent, inner + 1)):
            return "a tower of powers"
        end = found.end() + len(exponent)
        if text.startswith("^", end):
            return "a double superscript"
        # Only a power that is itself raised counts in the chain: x^8+x^7 is harmless, (9^{30})^{30} is not.
        chain *= largest if chain > 1 or re.compile(r"[ )}\]]+\^").match(text, end) else 1
        if largest > MAX_EXPONENT or chain > MAX_EXPONENT:
            return f"exponents above {MAX_EXPONENT}"
    return None


def has_trigonometry(text: str) -> bool:
    """Whether a degree sign in the text is an angle in an expression, `\\sin 45^\\circ`, and not the answer's unit."""
    return re.search(r"(?:sin|cos|tan|cot|sec|csc)(?![a-z])", text) is not None


def angles_as_radians(text: str) -> str:
    r"""`\sin 45^{\circ}` as `\sin (45\cdot\frac{\pi}{180})`."""
    angle = r"([0-9]+(?:\.[0-9]+)?|\([^()]*\))\^\{\\circ\}"
    return re.sub(angle, r"(\1\\cdot\\frac{\\pi}{180})", text) if has_trigonometry(text) else text


def letters_apart(*texts: str) -> list[str]:
    """The texts with capitals that also occur small in any of them renamed: latex2sympy may fold the case of letters.

    `3Rr` becomes `3R_{9}r`. A capital with an index of its own keeps it, and is left to `letter_case_differs`.
    """
    letters = set("".join(_COMMAND.sub(" ", text) for text in texts))
    both = "".join(sorted(letter for letter in letters if letter.isupper() and letter.lower() in letters))
    if not both:
        return list(texts)
    return [re.sub(rf"\\[a-zA-Z]+|[{both}](?!_)", _indexed, text) for text in texts]


def _indexed(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("\\") else f"{found[0]}_{{9}}"


def letter_case_differs(gold: str, answer: str) -> bool:
    """Whether a letter of one text occurs in the other in the other case only: it is another symbol there."""
    first, second = (set(_COMMAND.sub(" ", text)) for text in (gold, answer))
    missing = {letter.swapcase() for letter in first - second if letter.isalpha()}
    return bool(missing & second - first)


def for_sympy(text: str) -> str:
    r"""Normalised text as latex2sympy reads it right: decimals and mixed numbers exact, products explicit.

    It would read `2(3)` as the mixed number 5, and `0.1` as a float.
    """
    text = re.sub(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))", "", text).replace("**", "^").replace(";", ",")
    text = re.sub(r"(?<![0-9.}])([0-9]+)\\frac\{([0-9]+)\}\{([0-9]+)\}", _improper, text)
    text = re.sub(r"[0-9]*\.[0-9]+", lambda found: _exact(found[0]), text)
    text = re.sub(r"(?<=[0-9)])\(", r"\\cdot(", text)
    text = re.sub(r"\)(?=[0-9])", r")\\cdot ", text)
    return re.sub(rf"(?<![a-zA-Z\\])({_FUNCTIONS})(?![a-zA-Z])", r"\\\1", text)


def _improper(found: re.Match[str]) -> str:
    whole, above, below = (int(part) for part in found.groups())
    if above < below:
        return rf"\frac{{{whole * below + above}}}{{{below}}}"
    return rf"{whole}\cdot\frac{{{above}}}{{{below}}}"


def _exact(written: str) -> str:
    value = decimal(written)
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
