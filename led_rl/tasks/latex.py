"""Answers as text: one spelling for equal notation, and what brackets hold. Pure functions that evaluate nothing."""

import re
import unicodedata

MAX_CHARS = 500

_UNICODE = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{NON-BREAKING HYPHEN}": "-",
        "\N{MULTIPLICATION SIGN}": r"\times ",
        "\N{MIDDLE DOT}": r"\cdot ",
        "\N{DOT OPERATOR}": r"\cdot ",
        "\N{DIVISION SIGN}": "/",
        "\N{FRACTION SLASH}": "/",
        "\N{GREEK SMALL LETTER PI}": r"\pi ",
        "\N{GREEK SMALL LETTER THETA}": r"\theta ",
        "\N{DEGREE SIGN}": r"^{\circ}",
        "\N{INFINITY}": r"\infty ",
        "\N{UNION}": r"\cup ",
        "\N{PLUS-MINUS SIGN}": r"\pm ",
        "\N{LESS-THAN OR EQUAL TO}": r"\le ",
        "\N{GREATER-THAN OR EQUAL TO}": r"\ge ",
        "\N{ELEMENT OF}": r"\in ",
        "\N{NO-BREAK SPACE}": " ",
        "\N{THIN SPACE}": r"\,",
        "\N{NARROW NO-BREAK SPACE}": r"\,",
    }
)
_SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"
_STYLES = (
    "text|textbf|textit|textrm|textsf|texttt|textnormal|mathrm|mathbf|mathit|mathsf|mathtt|mathnormal|mbox|hbox|"
    "boldsymbol|bm|emph|underline"
)
STYLE = rf"\\(?:{_STYLES})(?![a-zA-Z])\s*"  # commands that change the looks of their argument only
_STYLED_NUMBER = re.compile(rf"{STYLE}\{{(\s*[-+]?[0-9][0-9.,/]*\s*)\}}")
_LOOKS = re.compile(
    r"\\(?:display|text|script)style(?![a-zA-Z])"
    r"|\\(?:bf|rm|it|sf|tt|em|bfseries|itshape|large|Large|LARGE|huge|Huge|small)(?![a-zA-Z])"
    r"|\\(?:text)?color\s*\{[a-zA-Z!0-9]*\}"
    r"|\\[hv]space\*?\s*\{[^{}]*\}"
)
OPEN, CLOSE = "([{", ")]}"


def normalise(text: str) -> str:
    r"""One spelling for what means the same: no `\left`, spacing commands or math `$`, `\frac43` as `\frac{4}{3}`.

    Meaning is kept, errors included: unbalanced text stays unbalanced.
    """
    text = re.sub("[\u00bc-\u00be\u2150-\u215e]", _vulgar_fraction, text)
    text = re.sub(f"[{_SUPERSCRIPT}]+", _superscript, text)
    text = text.translate(_UNICODE)
    text = re.sub(r"\N{SQUARE ROOT}\s*([0-9]+|[a-z])", r"\\sqrt{\1}", text)
    text = re.sub(r"(?<!\\)\$|(?<!\\)\\[()\[\]]", "", text)
    text = re.sub(r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\.?", "", text)
    text = re.sub(r",\s*\\!\s*|\{,\}", ",", text)
    text = re.sub(r"(?<=[0-9])(?:\\[,!;: ]|(?<!\\)~)\s*(?=[0-9]{3}(?![0-9]))", "", text)  # 12\,000
    # A space this wide between two values stands for a comma: `12 \quad 345` is not 12345, and `3 \quad -2` not 1.
    text = re.sub(
        r"(?<=[0-9)\]}])\s*(?:\\q?quad\s*)+(?=[-+]?(?:[0-9.]|\\frac(?![a-zA-Z])|\\sqrt(?![a-zA-Z])))", ";", text
    )
    text = re.sub(r"(?<!\\)\\[,;:! ]|(?<!\\)~|\\q?quad(?![a-zA-Z])", " ", text)
    text = _LOOKS.sub(" ", text)
    text = re.sub(r"\\(?:[dtc]|nice|s|x)frac(?![a-zA-Z])", r"\\frac", text)
    text = re.sub(r"\\(?:lbrace|rbrace)(?![a-zA-Z])", lambda found: r"\{" if found[0] == r"\lbrace" else r"\}", text)
    text = _STYLED_NUMBER.sub(r"\1", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\s*\.$", "", text) if not text.endswith("..") else text
    text = _over_as_frac(text)
    text = re.sub(r"\{\{([^{}]*)\}\}", r"{\1}", text)
    text = re.sub(r"\\frac\s*([0-9a-zA-Z])\s*([0-9a-zA-Z])", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\frac\s*([0-9a-zA-Z])\s*\{", r"\\frac{\1}{", text)
    text = re.sub(r"\\frac\s*(\{[^{}]*\})\s*([0-9a-zA-Z])", r"\\frac\1{\2}", text)
    text = re.sub(r"\\frac\s*(\{[^{}]*\})\s*\{", r"\\frac\1{", text)
    text = re.sub(r"\\sqrt\s*([0-9a-zA-Z])", r"\\sqrt{\1}", text)
    text = re.sub(r"([\^_])\s*([0-9a-zA-Z])", r"\1{\2}", text)
    text = re.sub(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\(?:text)?degree(?![a-zA-Z])", r"^{\\circ}", text)
    # `100, 200` is two numbers and `100,200` one: the space is kept as a semicolon.
    text = re.sub(r"(?<=[0-9]),\s+(?=[0-9]{3}(?![0-9]))", ";", text)
    return unwrapped(re.sub(r"(?<![0-9A-Za-z])\s+|\s+(?![0-9A-Za-z])", "", text))


def unwrapped(text: str) -> str:
    r"""The text without braces, bold type and the like around the whole of it: `\mathbf{7}` and `{7}` are `7`.

    Words without a digit stay wrapped: `\text{east}`.
    """
    for _ in range(len(text)):
        found = re.match(rf"(?:{STYLE})?\{{", text)
        if found is None or depth(text) is None or group(text, found.end() - 1) != text[found.end() - 1 :]:
            found = re.fullmatch(r"(\*\*|__?)([^*_]+)\1", text)  # Markdown's bold and italic
            if found is None:
                return text
            text = found[2].strip()
            continue
        if found.end() > 1 and not re.search("[0-9]", text):
            return text
        text = text[found.end() : -1].strip()
    return text


def _vulgar_fraction(found: re.Match[str]) -> str:
    above, _, below = unicodedata.normalize("NFKC", found[0]).partition("\N{FRACTION SLASH}")
    return rf"\frac{{{above}}}{{{below}}}" if below.isdigit() else found[0]


def _superscript(found: re.Match[str]) -> str:
    return f"^{{{''.join('-' if sign == '⁻' else str(_SUPERSCRIPT.index(sign)) for sign in found[0])}}}"


def _over_as_frac(text: str) -> str:
    r"""`{1 \over 2}` as `{\frac{1}{2}}`."""
    for _ in range(text.count(r"\over")):
        found = re.search(r"\\over(?![a-zA-Z])", text)
        if found is None:
            break
        start, end, level = found.start(), found.end(), 0
        while start > 0 and (level := level + (text[start - 1] == "}") - (text[start - 1] == "{")) >= 0:
            start -= 1
        level = 0
        while end < len(text) and (level := level + (text[end] == "{") - (text[end] == "}")) >= 0:
            end += 1
        above, below = text[start : found.start()].strip(), text[found.end() : end].strip()
        text = rf"{text[:start]}\frac{{{above}}}{{{below}}}{text[end:]}"
    return text


def group(text: str, start: int) -> str:
    """The bracketed group or single character at `start`."""
    if text[start : start + 1] not in ("{", "("):
        return text[start : start + 1]
    level = 0
    for position in range(start, len(text)):
        level += (text[position] in OPEN) - (text[position] in CLOSE)
        if level == 0:
            return text[start : position + 1]
    return text[start:]


def depth(text: str) -> int | None:
    """Deepest nesting of brackets of any kind (a half-open interval's may differ); None if they do not balance."""
    level = deepest = 0
    for character in text:
        level += (character in OPEN) - (character in CLOSE)
        deepest = max(deepest, level)
        if level < 0:
            return None
    return None if level else deepest


def split_top(text: str, separator: str) -> list[str]:
    """Parts of `text` between matches of a regular expression outside all brackets, stripped."""
    levels, level = [], 0
    for character in text:
        level -= character in CLOSE
        levels.append(level)
        level += character in OPEN
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
