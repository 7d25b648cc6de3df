r"""The units an answer may carry, a known list: any other word beside a number makes the answer wrong.

A list is needed because words change numbers: `7\text{ tenths}`, `7\text{ squared}` and `7\text{ plus one}` are not 7.
Units are compared, never converted: 5 km/h is neither 5 m/s nor 5 km.
"""

import re
from collections import Counter
from collections.abc import Iterator

# Canonical name: symbols, whose case counts; then words, in the singular, whose case does not.
_MEASURES: dict[str, tuple[str, str]] = {
    "mm": ("mm", "millimeter millimetre"), "cm": ("cm", "centimeter centimetre"), "dm": ("dm", "decimeter decimetre"),
    "m": ("m", "meter metre"), "km": ("km", "kilometer kilometre"), "in": ("in", "inch"), "ft": ("ft", "foot"),
    "yd": ("yd", "yard"), "mi": ("mi", "mile"), "light-year": ("ly", "light-year"),
    "acre": ("", "acre"), "hectare": ("ha", "hectare"),
    "ml": ("ml mL", "milliliter millilitre"), "l": ("l L", "liter litre"), "gal": ("gal", "gallon"),
    "qt": ("qt", "quart"), "pt": ("pt", "pint"), "cup": ("", "cup"), "tbsp": ("tbsp", "tablespoon"),
    "tsp": ("tsp", "teaspoon"),
    "mg": ("mg", "milligram"), "g": ("g", "gram"), "kg": ("kg", "kilogram kilo"), "t": ("", "ton tonne"),
    "lb": ("lb lbs", "pound"), "oz": ("oz", "ounce"),
    "ms": ("ms", "millisecond"), "s": ("s sec secs", "second"), "min": ("min mins", "minute"),
    "h": ("h hr hrs", "hour"), "day": ("", "day"), "week": ("wk wks", "week"), "month": ("mo", "month"),
    "year": ("yr yrs", "year"), "decade": ("", "decade"), "century": ("", "century"),
    "degree": ("deg", "degree"), "rad": ("rad", "radian"), "degC": ("", "celsius"), "degF": ("", "fahrenheit"),
    "K": ("K", "kelvin"),
    "Hz": ("Hz", "hertz"), "N": ("N", "newton"), "J": ("J", "joule"), "kJ": ("kJ", "kilojoule"), "W": ("W", "watt"),
    "kW": ("kW", "kilowatt"), "Pa": ("Pa", "pascal"), "V": ("V", "volt"), "A": ("", "ampere amp"), "ohm": ("", "ohm"),
    "mol": ("mol", "mole"), "cal": ("cal", "calorie"), "kcal": ("kcal", "kilocalorie"), "kWh": ("kWh", "kilowatt-hour"),
    "bit": ("", "bit"), "byte": ("", "byte"),
    "dollar": ("$ US$ USD", "dollar buck"), "cent": ("¢", "cent penny"), "euro": ("€ EUR", "euro"),
    "sterling": ("£ GBP", ""), "yen": ("¥ JPY", "yen"), "yuan": ("CNY RMB", "yuan"), "rupee": ("₹ INR Rs", "rupee"),
    "peso": ("", "peso"), "%": ("%", "percent percentage pct"),
    "unit": ("", "unit"), "point": ("pts", "point"),
}  # fmt: skip
_SPEEDS = {"mph": "mi/h", "kmph": "km/h", "kph": "km/h", "kmh": "km/h", "mpg": "mi/gal", "rpm": "revolution/min"}
# What answers to word problems count. Each stands for itself, so 5 apples are not 5 oranges, but both are 5.
_COUNTED = """
    animal answer apple arrangement bag ball balloon banana bar basket bead bean bear bee bird block boat book
    bottle box boy bracelet brick brownie bug bus button cake calculator candle candy car card carrot case cat chair
    cherry chicken child chip choice chocolate circle class classroom coin color colour combination computer cookie
    corner cow crayon crate cube cupcake customer cycle diagonal diaper digit dish divisor dog doll donut door
    doughnut dress duck edge egg element elephant employee envelope error event face factor family fish flag flower
    fly friend frog fruit function game gift girl glass goal goat grade grape group guest hand handshake hat head
    hole home horse house instruction integer item jar jellybean job kid king kitten lamp leaf leg lemon lesson
    letter line list loaf lollipop magazine man marble match meal member message movie mouse muffin necklace nickel
    number object orange order outcome outfit page painting pan part partition passenger path peach pear pen pencil
    penguin people permutation person petal phone photo picture pie piece pig pineapple pizza plane plant plate
    player plum polygon post potato present prize problem program pupil puppy question rabbit rectangle revolution
    ribbon ring road robot rock root rose row ruler salesman sandwich scarf school seashell seat section segment
    sequence set sheep sheet shell shirt shoe side slice snack sock solution song spider square stamp star step
    sticker stone student subset sweater table tadpole task teacher team term test ticket tile time toy train tree
    triangle trip truck tube turn turtle value vertex video visitor vote vowel walk watermelon way wheel window
    woman word worker zero
"""
_ADJECTIVES = {"different", "distinct", "possible", "unique", "positive"}  # before what is counted
SCALES = {
    "dozen": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_IRREGULAR = {
    "foot": "feet", "man": "men", "woman": "women", "salesman": "salesmen", "child": "children", "mouse": "mice",
    "sheep": "sheep", "fish": "fish", "people": "people", "penny": "pennies pence", "leaf": "leaves",
    "scarf": "scarves", "loaf": "loaves", "vertex": "vertices vertexes", "century": "centuries", "yen": "yen",
    "yuan": "yuan", "hertz": "hertz", "kelvin": "kelvin kelvins", "celsius": "celsius", "fahrenheit": "fahrenheit",
    "percent": "percent", "radius": "radii", "person": "persons", "potato": "potatoes", "zero": "zeros zeroes",
}  # fmt: skip


def _plurals(noun: str) -> list[str]:
    if noun in _IRREGULAR:
        return _IRREGULAR[noun].split()
    if re.search("[^aeiou]y$", noun):
        return [f"{noun[:-1]}ies"]
    return [f"{noun}es" if re.search("(?:s|x|ch|sh)$", noun) else f"{noun}s"]


_SYMBOL = {symbol: name for name, (symbols, _) in _MEASURES.items() for symbol in symbols.split()}
_WORD = {
    form: name
    for name, singulars in [*((name, words.split()) for name, (_, words) in _MEASURES.items()),
                            *((noun, [noun]) for noun in _COUNTED.split())]
    for singular in singulars
    for form in (singular, *_plurals(singular))
}  # fmt: skip
_WORD["person"] = _WORD["persons"] = "people"
# Two words that are one unit.
_PAIRS = {
    ("degree", "degC"): "degC", ("degree", "degF"): "degF", ("degree", "C"): "degC", ("degree", "F"): "degF",
    ("year", "old"): "year", ("light", "year"): "light-year", ("per", "cent"): "%", ("kW", "h"): "kWh",
}  # fmt: skip
_POWER_BEFORE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_POWER_AFTER = {"squared": 2, "cubed": 3}
_TOKEN = re.compile(
    r"\s*(?:(US\$|[$€£¥₹¢￠%]|[A-Za-z]+(?:-[A-Za-z]+)*)\.?|\^\{?\s*(-?[0-9])\s*\}?|([/()*]|\\cdot)|(°))"
)


def parse_unit(text: str) -> str | None:
    r"""One name for a unit written in plain text, `square miles per hour` as `h^-1 mi^2`; None if it is not known.

    Markup must be gone: `\text{cm}^{2}` is read as `cm^{2}`.
    """
    tokens = _tokens(text)
    if not tokens:
        return None
    powers: Counter[str] = Counter()
    sign, before, last = 1, 1, ""
    below_comes = False
    for token in tokens:
        if isinstance(token, int):  # an exponent
            if not last or before != 1:
                return None
            powers[last] += sign * (token - 1)
            last = ""
        elif token in ("/", "per"):
            if before != 1:
                return None
            sign, last, below_comes = -1, "", True
        elif token == "*":
            last = ""
        elif token in _POWER_BEFORE:
            before, last = _POWER_BEFORE[token], ""
        elif token in _POWER_AFTER:
            if not last:
                return None
            powers[last] += sign * (_POWER_AFTER[token] - 1)
            last = ""
        elif (name := _name(token)) is not None:
            for part, power in _parts(name):
                powers[part] += sign * before * power
            before, last, below_comes = 1, name, False
        else:
            return None
    if before != 1 or below_comes:
        return None
    return " ".join(name if power == 1 else f"{name}^{power}" for name, power in sorted(powers.items()) if power)


def leading_scale(text: str) -> tuple[int, str]:
    """The factor a unit text begins with and the rest: `million dollars` is (1000000, "dollars"); (1, text) without."""
    factor, rest = 1, text.strip()
    while found := re.match(r"([A-Za-z]+)\b\s*", rest):
        word = found[1].lower()
        if word not in SCALES:
            break
        factor, rest = factor * SCALES[word], rest[found.end() :]
    return factor, rest


def _tokens(text: str) -> list[str | int] | None:
    tokens: list[str | int] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            return None
        position = found.end()
        word, exponent, sign, degree = found.groups()
        if exponent is not None:
            tokens.append(int(exponent))
        elif sign is not None:
            if sign in ("(", ")"):
                return None
            tokens.append("/" if sign == "/" else "*")
        else:
            tokens.append("degree" if degree else word)
    return list(_joined(tokens))


def _joined(tokens: list[str | int]) -> Iterator[str | int]:
    """Pairs of words that are one unit joined, adjectives dropped, the unit's own words in lower case."""
    place = 0
    while place < len(tokens):
        token = tokens[place]
        following = tokens[place + 1] if place + 1 < len(tokens) else None
        if not isinstance(token, str):
            yield token
        elif isinstance(following, str) and (pair := _pair(token, following)) is not None:
            yield pair
            place += 1
        elif (lower := token.lower()) in _ADJECTIVES and following is not None:
            pass
        elif lower in _POWER_BEFORE or lower in _POWER_AFTER or lower == "per":
            yield lower
        else:
            yield token
        place += 1


def _pair(first: str, second: str) -> str | None:
    head = _WORD.get(first.lower(), first.lower())
    return _PAIRS.get((head, second)) or _PAIRS.get((head, _WORD.get(second.lower(), second.lower())))


def _name(token: str) -> str | None:
    """The canonical name of one word or symbol. Symbols keep their case, but for CM, Cm and the like."""
    if token in _SYMBOL:
        return _SYMBOL[token]
    if token in _MEASURES or token in _SPEEDS:
        return token
    lower = token.lower()
    if lower in _SPEEDS:
        return lower
    if lower in _WORD:
        return _WORD[lower]
    if token in (lower.upper(), lower.capitalize()) and len(token) > 1 and lower in _SYMBOL and lower != "mm":
        return _SYMBOL[lower]  # MM may stand for millions
    return None


def _parts(name: str) -> list[tuple[str, int]]:
    if name not in _SPEEDS:
        return [(name, 1)]
    above, below = _SPEEDS[name].split("/")
    return [(above, 1), (below, -1)]
