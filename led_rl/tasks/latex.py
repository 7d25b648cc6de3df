"""Answers as text: one spelling for equal notation, exact numbers, top-level structure, and caps on what sympy may see.

Pure functions, without sympy and without evaluating anything.
"""

import re
from fractions import Fraction

MAX_CHARS = 500
MAX_DIGITS = 50
MAX_NESTING = 20
MAX_EXPONENT = 1000
MAX_TOWER_LITERAL = 4
MAX_FACTORIAL = 200
MAX_BINOMIAL = 1000
MAX_ITEMS = 20

_UNICODE = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{MULTIPLICATION SIGN}": r"\times ",
        "\N{MIDDLE DOT}": r"\cdot ",
        "\N{DIVISION SIGN}": "/",
        "\N{GREEK SMALL LETTER PI}": r"\pi ",
        "\N{DEGREE SIGN}": r"^{\circ}",
        "\N{INFINITY}": r"\infty ",
        "\N{UNION}": r"\cup ",
        "\N{PLUS-MINUS SIGN}": r"\pm ",
        "\N{LESS-THAN OR EQUAL TO}": r"\le ",
        "\N{GREATER-THAN OR EQUAL TO}": r"\ge ",
        "\N{ELEMENT OF}": r"\in ",
        "\N{NO-BREAK SPACE}": " ",
    }
)
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_ONE_NUMBER = re.compile(rf"(?:[^,;=]*=)?\s*-?(?:\\\$)?-?{_THOUSANDS.pattern}(?![0-9,])[^,;]*")  # with a name or a unit
_SIGN = r"(?P<sign>[+-]?)\s*"
_PLAIN = re.compile(rf"{_SIGN}(?P<a>{_NUMBER})(?:\s*/\s*(?P<b>{_NUMBER}))?")
_FRACTION = re.compile(
    rf"{_SIGN}\\frac\{{\s*(?P<s>[+-]?)\s*(?P<a>{_NUMBER})\s*\}}\{{\s*(?P<t>[+-]?)\s*(?P<b>{_NUMBER})\s*\}}"
)
_MIXED = re.compile(rf"{_SIGN}(?P<whole>[0-9]+)\s*(?:\\frac\{{([0-9]+)\}}\{{([0-9]+)\}}|\s([0-9]+)\s*/\s*([0-9]+))")
_SCIENTIFIC = re.compile(
    rf"{_SIGN}(?P<a>{_NUMBER})\s*(?:[eE](?P<e>[+-]?[0-9]+)|(?:\\times|\\cdot|\*)\s*10\s*\^\s*\{{?\s*(?P<x>[+-]?[0-9]+)\s*\}}?)"
)
_OPEN, _CLOSE = "([{", ")]}"


def normalise(text: str) -> str:
    r"""One spelling for what means the same: no `\left`, spacing commands or math `$`, `\frac43` as `\frac{4}{3}`.

    Meaning is kept, errors included: unbalanced text stays unbalanced.
    """
    text = text.translate(_UNICODE)
    text = re.sub(r"\N{SQUARE ROOT}\s*([0-9]+|[a-z])", r"\\sqrt{\1}", text)
    text = re.sub(r"(?<!\\)\$", "", text)
    text = re.sub(r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\.?", "", text)
    text = re.sub(r",\s*\\!\s*|\{,\}", ",", text)
    text = re.sub(r"(?<!\\)\\[,;:! ]|(?<!\\)~|\\q?quad(?![a-zA-Z])|\\(?:display|text)style(?![a-zA-Z])", " ", text)
    text = re.sub(r"\\[dtc]frac(?![a-zA-Z])", r"\\frac", text)
    text = re.sub(r"\\(?:lbrace|rbrace)(?![a-zA-Z])", lambda found: r"\{" if found[0] == r"\lbrace" else r"\}", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\s*\.$", "", text) if not text.endswith("..") else text
    text = re.sub(r"\\frac\s*([0-9a-zA-Z])\s*([0-9a-zA-Z])", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\frac\s*([0-9a-zA-Z])\s*\{", r"\\frac{\1}{", text)
    text = re.sub(r"\\frac\s*(\{[^{}]*\})\s*([0-9a-zA-Z])", r"\\frac\1{\2}", text)
    text = re.sub(r"\\frac\s*(\{[^{}]*\})\s*\{", r"\\frac\1{", text)
    text = re.sub(r"\\sqrt\s*([0-9a-zA-Z])", r"\\sqrt{\1}", text)
    text = re.sub(r"([\^_])\s*([0-9a-zA-Z])", r"\1{\2}", text)
    text = re.sub(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree(?![a-zA-Z])", r"^{\\circ}", text)
    return re.sub(r"(?<![0-9A-Za-z])\s+|\s+(?![0-9A-Za-z])", "", text)


def number(text: str) -> Fraction | None:
    r"""Exact value of a normalised integer, decimal, fraction, mixed number or `a \times 10^b`; None for the rest."""
    if len(text) > MAX_CHARS:
        return None
    thousands = text.lstrip("+-")
    if _THOUSANDS.fullmatch(thousands):
        text = text[: len(text) - len(thousands)] + thousands.replace(",", "")
    if found := _PLAIN.fullmatch(text):
        return _ratio(found["sign"], _decimal(found["a"]), _decimal(found["b"] or "1"))
    if found := _FRACTION.fullmatch(text):
        sign = "-" if [found["sign"], found["s"], found["t"]].count("-") % 2 else "+"
        return _ratio(sign, _decimal(found["a"]), _decimal(found["b"]))
    if found := _MIXED.fullmatch(text):
        whole, above, below = (int(part) for part in found.groups()[1:] if part is not None)
        return _ratio(found["sign"], Fraction(whole * below + above), Fraction(below)) if above < below else None
    if found := _SCIENTIFIC.fullmatch(text):
        exponent = found["e"] or found["x"]
        if len(exponent) <= 4:
            return _ratio(found["sign"], _decimal(found["a"]) * Fraction(10) ** int(exponent), Fraction(1))
    return None


def _decimal(text: str) -> Fraction:
    whole, _, decimals = text.partition(".")
    return Fraction(int(whole + decimals or "0"), 10 ** len(decimals))


def _ratio(sign: str, above: Fraction, below: Fraction) -> Fraction | None:
    if not below:
        return None
    return -above / below if sign == "-" else above / below


def refusal(text: str) -> str | None:
    """Why a normalised text is not handed to sympy, in a few words; None if it may be.

    What is refused either costs too much (long, deep, huge powers, factorials, binomials) or is known to be misread by
    latex2sympy, which reads `3 4` as 7 and `52_8` as 52.
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
    if re.search(r"[0-9]\s+[0-9]|[0-9]\}?_|[0-9]\{|[:@#?%;]|\\boxed|\\fbox|\\circ|__", text):
        return "notation with no single reading"
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
        exponent = _group(text, found.end())
        largest = max((int(digits) for digits in re.findall(r"[0-9]+", exponent)), default=1)
        inner = exponent.find("^")
        if inner >= 0 and (largest > MAX_TOWER_LITERAL or "^" in _group(exponent, inner + 1)):
            return "a tower of powers"
        end = found.end() + len(exponent)
        if text.startswith("^", end):
            return "a double superscript"
        # Only a power that is itself raised counts in the chain: x^8+x^7 is harmless, (9^{30})^{30} is not.
        chain *= largest if chain > 1 or re.compile(r"[ )}\]]+\^").match(text, end) else 1
        if largest > MAX_EXPONENT or chain > MAX_EXPONENT:
            return f"exponents above {MAX_EXPONENT}"
    return None


def _group(text: str, start: int) -> str:
    """The bracketed group or single character at `start`."""
    if text[start : start + 1] not in ("{", "("):
        return text[start : start + 1]
    level = 0
    for position in range(start, len(text)):
        level += (text[position] in _OPEN) - (text[position] in _CLOSE)
        if level == 0:
            return text[start : position + 1]
    return text[start:]


def depth(text: str) -> int | None:
    """Deepest nesting of brackets of any kind (a half-open interval's may differ); None if they do not balance."""
    level = deepest = 0
    for character in text:
        level += (character in _OPEN) - (character in _CLOSE)
        deepest = max(deepest, level)
        if level < 0:
            return None
    return None if level else deepest


def split_top(text: str, separator: str) -> list[str]:
    """Parts of `text` between matches of a regular expression outside all brackets, stripped."""
    levels, level = [], 0
    for character in text:
        level -= character in _CLOSE
        levels.append(level)
        level += character in _OPEN
    parts, start = [], 0
    for found in re.finditer(separator, text):
        if levels[found.start()] == 0:
            parts.append(text[start : found.start()])
            start = found.end()
    return [part.strip() for part in (*parts, text[start:])]


def enclosed(text: str) -> tuple[str, str, str] | None:
    r"""(opening, inside, closing) if one pair of `( [ \{` and `) ] \}` holds the whole text, else None."""
    opening = r"\{" if text.startswith(r"\{") else text[:1]
    closing = r"\}" if text.endswith(r"\}") else text[-1:]
    if opening not in ("(", "[", r"\{") or closing not in (")", "]", r"\}") or len(text) < len(opening) + len(closing):
        return None
    if (opening == r"\{") != (closing == r"\}"):
        return None
    inside = text[len(opening) : -len(closing)]
    return (opening, inside.strip().removesuffix("\\"), closing) if depth(inside) is not None else None


def items(text: str) -> list[str]:
    r"""Top-level items of a list, split at commas, ";", "and", "or"; `2,125` is one number, `a \pm b` two."""
    if number(text) is not None or _ONE_NUMBER.fullmatch(text):
        return [text]
    words = r"\\(?:text|mbox|textrm|mathrm)\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])"
    parts = split_top(text, rf",?\s*(?:{words})|,(?!\s*$)|;")
    return [choice for part in parts for choice in _plus_minus(part)]


def _plus_minus(text: str) -> list[str]:
    if not re.search(r"\\(?:pm|mp)(?![a-zA-Z])", text) or enclosed(text) is not None:
        return [text]
    return [
        re.sub(
            r"\\(pm|mp)(?![a-zA-Z])\s*",
            lambda found, plus=plus: "+" if (found[1] == "pm") == plus else "-",  # type: ignore[misc]
            text,
        )
        for plus in (True, False)
    ]


def matrix(text: str) -> list[list[str]] | None:
    r"""Rows of cells of a `\begin{pmatrix}...` (also bmatrix, Bmatrix, matrix); None if the text is not one."""
    found = re.fullmatch(r"\\begin\{([pbB]?matrix)\}(.*)\\end\{\1\}", text)
    if found is None or r"\begin" in found[2]:
        return None
    rows = re.split(r"\\\\", found[2].strip().removesuffix(r"\\"))
    return [[cell.strip() for cell in row.split("&")] for row in rows]


def for_sympy(text: str) -> str:
    r"""Normalised text as latex2sympy reads it right: decimals and mixed numbers exact, products explicit.

    It would read `2(3)` as the mixed number 5, and `0.1` as a float.
    """
    text = re.sub(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))", "", text).replace("**", "^")
    text = re.sub(r"(?<![0-9.}])([0-9]+)\\frac\{([0-9]+)\}\{([0-9]+)\}", _improper, text)
    text = re.sub(r"[0-9]*\.[0-9]+", lambda found: _exact(found[0]), text)
    text = re.sub(r"(?<=[0-9)])\(", r"\\cdot(", text)
    text = re.sub(r"\)(?=[0-9])", r")\\cdot ", text)
    return re.sub(r"(?<![a-zA-Z\\])(sin|cos|tan|ln|log|pi)(?![a-zA-Z])", r"\\\1", text)


def _improper(found: re.Match[str]) -> str:
    whole, above, below = (int(part) for part in found.groups())
    if above < below:
        return rf"\frac{{{whole * below + above}}}{{{below}}}"
    return rf"{whole}\cdot\frac{{{above}}}{{{below}}}"


def _exact(decimal: str) -> str:
    value = _decimal(decimal)
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
