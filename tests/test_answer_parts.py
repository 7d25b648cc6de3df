r"""The parts of the grader one by one: spelling, numbers, structure, units, what sympy may see, equality, bounds."""

from fractions import Fraction

import pytest

from led_rl.tasks import questions
from led_rl.tasks.equality import MAX_COMPARED_DIGITS, UnparsableError, compare_equations, compare_values
from led_rl.tasks.grading import MAX_ITEMS, grade, judge
from led_rl.tasks.latex import MAX_CHARS, depth, enclosed, group, normalise, split_top, unwrapped
from led_rl.tasks.leaves import based, clock, has_words, quantity, same_tail, word
from led_rl.tasks.numerals import decimal, number
from led_rl.tasks.questions import MAX_QUESTIONS, ExhaustedError, Questions, UnreadableError
from led_rl.tasks.structure import assignments, is_name, items, matrix, sides, solution_set, unions
from led_rl.tasks.sympy_input import (
    MAX_BINOMIAL,
    MAX_DIGITS,
    MAX_EXPONENT,
    MAX_FACTORIAL,
    MAX_NESTING,
    MAX_TOWER_LITERAL,
    angles_as_radians,
    for_sympy,
    letter_case_differs,
    letters_apart,
    refusal,
)
from led_rl.tasks.units import leading_scale, parse_unit


def boxed(answer: str) -> str:
    return rf"so \boxed{{{answer}}}."


def numbered(count: int, backwards: bool = False) -> str:
    return ",".join(map(str, sorted(range(count), reverse=backwards)))


# What the review found, by the name of the bug: gold, answer, whether it is right.
FOUND = {
    "text around a number": ("7", r"\text{7}", True),
    "bold around a number": ("7", r"\mathbf{7}", True),
    "bold text around a number": ("7", r"\textbf{7}", True),
    "braces around a number": ("7", "{7}", True),
    "thin space between thousands": ("12000", r"12\,000", True),
    "repeating decimal": (r"\frac{7}{9}", r"0.\overline{7}", True),
    "TeX's over": (r"\frac{1}{2}", r"{1 \over 2}", True),
    "sine of degrees": (r"\frac{\sqrt{2}}{2}", r"\sin 45^\circ", True),
    "inequalities joined by or": (r"(-\infty,2)\cup(3,\infty)", "x<2 or x>3", True),
    "morning counted as afternoon": (r"3:45\text{ PM}", "3:45 AM", False),
    "a.m. counted as a unit": (r"10\text{ p.m.}", r"10\text{ a.m.}", False),
    "power of a unit lost": (r"5\text{ cm}", r"5\text{ cm}^2", False),
    "quotient of units lost": (r"5\text{ m/s}", r"5\text{ km/h}", False),
    "tenths counted as a unit": ("7", r"7\text{ tenths}", False),
    "squared counted as a unit": ("7", r"7\text{ squared}", False),
    "halves counted as a unit": ("7", r"7\text{ halves}", False),
    "thousandths counted as a unit": ("7", r"7\text{ thousandths}", False),
    "M counted as a unit": ("7", r"7\text{ M}", False),
    "bn counted as a unit": ("7", r"7\text{ bn}", False),
    "plus one counted as a unit": ("7", r"7\text{ plus one}", False),
    "two primes counted as a unit": ("7", "7''", False),
    "equations compared at points only": ("y=|b|", "y=b", False),
    "names lost": ("x=2,y=3", "3,2", False),
    "digits after the thirtieth lost": (r"\pi", r"\pi+10^{-40}", False),
    "chained equations": ("a=b=c", "c=a=b", True),
    "chained equations that differ": ("a=b=c", "a=b=d", False),
    # Found while mending those.
    "another name's interval": ("x>2", "y>2", False),
    "capitals folded": ("A+a", "2a", False),
    "prime dropped": ("a", "a'", False),
    "transposition dropped": ("A", "A^{T}", False),
    "list read as thousands": ("100, 200", "200, 100", True),
    "point read as thousands": ("1234", "(1,234)", False),
    "agreement where points are small": ("|x-100|", "100-x", False),
    "millions": ("5000000", r"\$5\text{ million}", True),
    "brackets of a list": ("7", "[7]", False),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("bug", FOUND)
def test_what_was_graded_wrongly(bug):
    gold, answer, right = FOUND[bug]
    assert grade(gold, boxed(answer)) == right


@pytest.mark.parametrize(
    ("gold", "answer", "status"),
    [
        ("7", r"7\text{ tenths}", "unknown_word"),
        ("7", "7 plus one", "unknown_word"),
        ("7", r"\text{about }7", "unknown_word"),
        ("7", r"8\text{ widgets}", "unknown_word"),
        (r"7\text{ widgets}", r"8\text{ widgets}", "wrong"),
        (r"7\text{ widgets}", r"7\text{ gadgets}", "unknown_word"),
        ("7", r"8\text{ apples}", "wrong"),
        (r"\text{east}", "west", "wrong"),
        ("6abc", "7abc", "wrong"),
        ("7", "x+y", "wrong"),
        ("12:30", "12:30", "correct"),  # identical text is equal, whether it can be read or not
        ("12:30", "2:5", "unparsable"),
        ("7", "7''", "unparsable"),
        ("7", "+".join(["1"] * 300), "unparsable"),
        ("7", "1" * (4 * MAX_CHARS + 1), "unparsable"),
        ("1,2", ",".join(["1"] * 30), "wrong"),
        (numbered(MAX_ITEMS), numbered(MAX_ITEMS, backwards=True), "correct"),
        (numbered(MAX_ITEMS + 1), numbered(MAX_ITEMS + 1, backwards=True), "timeout"),
    ],
)  # fmt: skip
def test_why_an_answer_is_not_right(gold, answer, status):
    assert judge(gold, boxed(answer)).status == status


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        (r"\frac43", r"\frac{4}{3}"), (r"\frac 4{3}", r"\frac{4}{3}"), (r"\frac{4}3", r"\frac{4}{3}"),
        (r"\dfrac{4} {3}", r"\frac{4}{3}"), (r"\nicefrac{1}{2}", r"\frac{1}{2}"), (r"\sqrt2", r"\sqrt{2}"),
        (r"\left[2 , 3\right)", "[2,3)"), (r"12\,000", "12000"), (r"1\,234\,567", "1234567"), (r"1\,2", "1 2"),
        (r"12\,0000", "12 0000"), (r"\text{7}", "7"), (r"x=\mathbf{7}", "x=7"), ("{{7}}", "7"), ("{7}{8}", "{7}{8}"),
        (r"\text{east}", r"\text{east}"), (r"\mathbf{v}", r"\mathbf{v}"), (r"\text{7 cm}", "7 cm"), ("**7**", "7"),
        ("2**3", "2**3"), ("½", r"\frac{1}{2}"), ("2⅔", r"2\frac{2}{3}"), ("⅟", "⅟"), ("x²", "x^{2}"),
        ("10⁻¹²", "10^{-12}"),
        ("−3", "-3"), ("3 ÷ 4", "3/4"), (r"{1 \over 2}", r"\frac{1}{2}"), (r"1\over 2", r"\frac{1}{2}"),
        (r"x+{\sqrt{a}+1 \over 2}", r"x+{\frac{\sqrt{a}+1}{2}}"),
        (r"x+{a \over {b+1}}", r"x+{\frac{a}{b+1}}"), (r"\overline{7}", r"\overline{7}"), ("5.", "5"),
        ("5...", "5..."),
        ("100, 200", "100;200"), ("100,200", "100,200"), ("10, 200", "10;200"), ("1, 2", "1,2"),
        ("1,\\! 234", "1,234"),
        (r"\(7\)", "7"), (r"\[7\]", "7"), (r"a\\(2)", r"a\\(2)"), (r"\textcolor{red}{7}", "7"), (r"{\bf 7}", "7"),
        (r"90^\circ", r"90^{\circ}"), ("90°", r"90^{\circ}"), (r"90\degree", r"90^{\circ}"), ("$5$", "5"),
        (r"\$5", r"\$5"),
        ("a  b", "a b"), ("x^2", "x^{2}"), (r"\lbrace 1\rbrace", r"\{1\}"), (r"1\hspace{1cm}2", "1 2"),
        ("√2", r"\sqrt{2}"),
    ],
)  # fmt: skip
def test_one_spelling_for_what_means_the_same(text, spelt):
    assert normalise(text) == spelt
    assert normalise(spelt) == spelt


def test_unwrapping_stops_at_words_and_at_several_groups():
    assert unwrapped(r"\textbf{{5}}") == "5" and unwrapped("{a}+{b}") == "{a}+{b}"
    assert unwrapped(r"\text{a}") == r"\text{a}" and unwrapped("{") == "{" and unwrapped("") == ""
    assert unwrapped("_7_") == "7" and unwrapped("{" * 300 + "7" + "}" * 300) == "7"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("+7", 7), ("-7", -7), ("007", 7), ("1,234", 1234), ("-1,234.5", Fraction(-2469, 2)),
        ("12 000", 12000),
        ("1 234 567", 1234567), ("7.", 7), (".5", Fraction(1, 2)), ("1/3", Fraction(1, 3)), ("-1/-3", None),
        (r"\frac{1}{3}", Fraction(1, 3)), (r"-\frac{-1}{3}", Fraction(1, 3)), (r"\frac{-1}{-3}", Fraction(1, 3)),
        (r"-\frac{-1}{-3}", Fraction(-1, 3)), (r"\frac{1}{-3}", Fraction(-1, 3)), (r"\frac{0.5}{2}", Fraction(1, 4)),
        (r"2\frac{1}{2}", Fraction(5, 2)), ("2 1/2", Fraction(5, 2)), (r"-2\frac{1}{2}", Fraction(-5, 2)),
        ("2 2/2", None),
        ("2 3/2", None), ("1e3", 1000), ("1E-3", Fraction(1, 1000)), (r"2\times 10^{3}", 2000),
        (r"2\cdot10^{-1}", Fraction(1, 5)),
        ("2*10^3", 2000), ("2x10^{3}", 2000), ("1e999", 10**999), ("1e99999", None),
        (r"0.\overline{7}", Fraction(7, 9)),
        (r"0.1\overline{6}", Fraction(1, 6)), (r"-1.2\bar{3}", Fraction(-37, 30)), (r"0.\dot{3}", Fraction(1, 3)),
        (r"0.\dot{1}4285\dot{7}", Fraction(1, 7)), (r".\overline{09}", Fraction(1, 11)), ("0.(7)", Fraction(7, 9)),
        ("0.5(3)", None), (r"3\overline{7}", None), (r"0.\overline{}", None), ("1/0", None), (r"\frac{1}{0}", None),
        ("", None),
        ("x", None), ("1 2", None), ("0 000", None), ("1234 567", None), ("12 00", None), ("1,23", None),
        ("1,2345", None),
        ("9" * MAX_CHARS, int("9" * MAX_CHARS)), ("9" * (MAX_CHARS + 1), None), ("--5", None), ("1.2.3", None),
    ],
)  # fmt: skip
def test_numbers_exactly(text, value):
    assert number(text) == value


def test_decimals():
    assert [decimal(text) for text in ("1.25", ".5", "3", "3.", "0.10")] == [
        Fraction(5, 4), Fraction(1, 2), 3, 3, Fraction(1, 10)]  # fmt: skip


def test_brackets():
    assert [depth(text) for text in ("", "x", "(x)", "((x))[y]", "(x", "x)", ")(", "[2,3)")] == [
        0,
        0,
        1,
        2,
        None,
        None,
        None,
        1,
    ]
    assert split_top("a,(b,c),d", ",") == ["a", "(b,c)", "d"]
    assert split_top(" a = b ", "=") == ["a", "b"] and split_top("", ",") == [""]
    assert enclosed("(a)") == ("(", "a", ")") and enclosed(r"\{1,2\}") == (r"\{", "1,2", r"\}")
    assert enclosed("[2,3)") == ("[", "2,3", ")") and enclosed("(a)(b)") is None and enclosed("(a") is None
    assert (
        enclosed(r"\{1)") is None
        and enclosed(r"(1\}") is None
        and enclosed("(") is None
        and enclosed("()") == ("(", "", ")")
    )
    assert (
        group("{ab}c", 0) == "{ab}"
        and group("x{a}", 0) == "x"
        and group("{a", 0) == "{a"
        and group("(a(b))c", 0) == "(a(b))"
    )
    assert group("ab", 2) == ""


def test_lists_and_sides():
    assert items("1,2") == ["1", "2"] and items("1;2") == ["1", "2"] and items("1 and 2") == ["1", "2"]
    assert items("1,2 and 3") == ["1", "2", "3"] and items(r"1\text{ or }2") == ["1", "2"] and items("sand") == ["sand"]
    assert items("1,234") == ["1,234"] and items("1,234", bracketed=True) == ["1", "234"]
    assert items("x=1,234 cm") == ["x=1,234 cm"] and items("x=1,234,5") == ["x=1", "234", "5"]
    assert items(r"1\pm2") == ["1+2", "1-2"] and items(r"1\mp2") == ["1-2", "1+2"] and items(r"(1\pm2)") == [r"(1\pm2)"]
    assert items("(1,2),3") == ["(1,2)", "3"] and items("1,") == ["1,"]
    assert sides("a=b=c") == ["a", "b", "c"] and sides("a<=b") == ["a<=b"] and sides("a!=b") == ["a!=b"]
    assert sides("f(x=1)") == ["f(x=1)"] and sides("a!=b") == ["a!=b"]


@pytest.mark.parametrize(
    "text", ["x", "x_{1}", "AB", r"\theta", r"\text{area}", "f(x)", "(r,s)", r"\angle ABC", "f(2)", "x'"]
)
def test_names(text):
    assert is_name(text)


@pytest.mark.parametrize("text", ["5", "e", "i", "x+1", "", r"\pi", "2x", "(1,2)", r"\frac{x}{2}", "k(2)"])
def test_what_is_no_name(text):
    assert not is_name(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x<2", ("x", r"(-\infty,2)")), (r"x\le2", ("x", r"(-\infty,2]")), ("x>2", ("x", r"(2,\infty)")),
        ("x>=2", ("x", r"[2,\infty)")), ("2<x", ("x", r"(2,\infty)")), (r"2\geq x", ("x", r"(-\infty,2]")),
        (r"1\le x<2", ("x", "[1,2)")), ("2>x>=1", ("x", "[1,2)")), ("1<x>2", (None, "1<x>2")), ("x<y", (None, "x<y")),
        ("1<2", (None, "1<2")), ("1<2<x<3", (None, "1<2<x<3")), (r"x\in[1,2]", ("x", "[1,2]")),
        (r"5\in x", (None, r"5\in x")),
        ("x<2 or x>3", ("x", r"(-\infty,2)\cup(3,\infty)")),
        (r"x<2\text{ or }x>3", ("x", r"(-\infty,2)\cup(3,\infty)")),
        (r"x<2\lor x>3", ("x", r"(-\infty,2)\cup(3,\infty)")), ("x<2 or y>3", (None, "x<2 or y>3")),
        ("x>2 and x<=5", ("x", "(2,5]")), ("x<5 and x>2", ("x", "(2,5)")), ("x>2 and x>5", (None, "x>2 and x>5")),
        ("x<2 or 5", (None, "x<2 or 5")), ("5", (None, "5")), ("x>1 and x<2 and x<3", (None, "x>1 and x<2 and x<3")),
    ],
)  # fmt: skip
def test_sets_of_solutions(text, expected):
    assert solution_set(text) == expected


def test_assignments_unions_and_matrices():
    assert assignments(["x=2", "y=3"]) == {"x": "2", "y": "3"} and assignments(["(x,y)=(2,3)"]) == {"x": "2", "y": "3"}
    assert assignments(["x=2", "x=3"]) is None and assignments(["x_{1}=2", "x_{2}=3"]) is None
    assert assignments(["x=2"]) is None and assignments(["x=2", "3"]) is None and assignments(["2=x", "y=3"]) is None
    assert assignments(["(x,y)=(2,3,4)"]) is None and assignments(["x=2=3", "y=1"]) is None
    assert unions(r"(0,1)\cup(2,3)") == ["(0,1)", "(2,3)"] == unions("(0,1)U(2,3)") and unions("xU(y)") == ["xU(y)"]
    assert matrix(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}") == [["1", "2"], ["3", "4"]]
    assert matrix(r"\begin{bmatrix}1\\2\\\end{bmatrix}") == [["1"], ["2"]]
    assert matrix("x") is None and matrix(r"\begin{vmatrix}1\end{vmatrix}") is None
    assert matrix(r"\begin{pmatrix}1\end{bmatrix}") is None
    assert matrix(r"\begin{pmatrix}\begin{pmatrix}1\end{pmatrix}\end{pmatrix}") is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cm", "cm"), ("centimeters", "cm"), ("CM", "cm"), ("Cm", "cm"), ("Centimetre", "cm"), ("cm^2", "cm^2"),
        ("cm^{2}", "cm^2"),
        ("square cm", "cm^2"), ("sq. cm", "cm^2"), ("cm squared", "cm^2"), ("cubic feet", "ft^3"), ("cu ft", "ft^3"),
        ("inches cubed", "in^3"), ("m/s", "m s^-1"), ("meters per second", "m s^-1"), ("m s^{-1}", "m s^-1"),
        ("mph", "h^-1 mi"),
        ("miles per hour", "h^-1 mi"), ("MPH", "h^-1 mi"), ("m/s^2", "m s^-2"), ("m/s/s", "m s^-2"),
        ("m per s squared", "m s^-2"),
        ("dollars", "dollar"), ("$", "dollar"), ("US$", "dollar"), ("USD", "dollar"), ("€", "euro"),
        ("cents", "cent"),
        ("degrees", "degree"), ("°", "degree"), ("degrees Celsius", "degC"), ("°F", "degF"), ("years old", "year"),
        ("per cent", "%"), ("percent", "%"), ("people", "people"), ("persons", "people"), ("men", "man"),
        ("cherries", "cherry"),
        ("boxes", "box"), ("ways", "way"), ("different ways", "way"), ("square units", "unit^2"), ("kWh", "kWh"),
        ("kilowatt hours", "kWh"), ("square miles per hour", "h^-1 mi^2"), ("m*s", "m s"), ("m", "m"),
        ("dollars per hour", "dollar h^-1"),
        ("apples.", "apple"), ("cm/cm", ""), ("m^2 squared", None), ("m^3/m", "m^2"), ("lbs", "lb"),
        ("mi/h", "h^-1 mi"),
        ("tenths", None), ("squared", None), ("cubed", None), ("M", None), ("bn", None), ("MM", None), ("", None),
        ("plus one", None),
        ("a.m.", None), ("PM", None), ("square", None), ("per", None), ("cm per", None), ("square per cm", None),
        ("different", None),
        ("cm dollars of", None), ("^2", None), ("square ^2", None), ("()", None), ("5", None), ("half", None),
        ("S", None), ("dozen", None),
        ("cm squared squared", None), ("cm/squared", None), ("square/cm", None), ("/s", "s^-1"), ("cm ^2 ^2", None),
        ("mls", "mls"),
    ],
)  # fmt: skip
def test_units_are_a_known_list(text, name):
    assert parse_unit(text) == (None if name == "mls" else name)


def test_scales_multiply():
    assert leading_scale("million dollars") == (10**6, "dollars") and leading_scale("hundred thousand") == (10**5, "")
    assert (
        leading_scale("dozen") == (12, "")
        and leading_scale("millionaires") == (1, "millionaires")
        and leading_scale("") == (1, "")
    )


@pytest.mark.parametrize(
    ("text", "value", "unit", "unknown"),
    [
        (r"15\text{cm}^{2}", "15", "cm^2", False), (r"\$5\text{ million}", r"(5)\cdot 1000000", "dollar", False),
        ("5 cm", "5", "cm", False),
        (r"-\$5", "-5", "dollar", False), (r"\$-5", "-5", "dollar", False), ("5", "5", "", False),
        (r"50\%", "50", "%", False),
        (r"90^{\circ}", "90", "degree", False), (r"\sin45^{\circ}", r"\sin45^{\circ}", "", False),
        ("5m", "5m", "", False),
        (r"2\pi\text{cm}", r"2\pi", "cm", False), (r"7\text{tenths}", r"7\text{tenths}", "", True),
        (r"7\text{widgets}", "7", "", True),
        (r"5\frac{\text{m}}{\text{s}^{2}}", "5", "m s^-2", False), (r"20^{\circ}\text{C}", "20", "degC", False),
        ("x^{2}", "x^{2}", "", False),
        (r"\text{cm}", r"\text{cm}", "", False), (r"3\mathrm{x}", r"3\mathrm{x}", "", False),
        ("60 miles per hour", "60", "h^-1 mi", False),
        (r"5\text{million}", r"(5)\cdot 1000000", "", False), ("18.90 dollars", "18.90", "dollar", False),
        ("€7", "7", "euro", False),
        (r"2+3\text{cm}", "2+3", "cm", False), ("x+cm", "x+cm", "", False), ("2^{cm}", "2^{cm}", "", False),
        ("12abc", "12abc", "", False),
        (r"5x\text{cm}", "5x", "cm", False), (r"\$5\text{ per hour}", "5", "dollar h^-1", False),
        (r"5/\text{s}", "5", "", True),
    ],
)  # fmt: skip
def test_quantities(text, value, unit, unknown):
    found = quantity(text)
    assert (found.value, found.unit, found.unknown) == (value, unit, unknown)
    assert found.number == (number(value) if "cdot" not in value else 5 * 10**6)


def test_a_unit_of_one_letter_needs_the_golds():
    assert quantity("5m", written=r"7\text{m}").unit == "m" and quantity("5m", written=r"7\text{s}").unit == ""
    assert quantity("5m", written="7").unit == "" and quantity("5m", written="7").value == "5m"


def test_words():
    assert (
        word(r"\text{East}") == "east" == word("East", loose=True) == word(r"\textbf{ east.}")
        and word("even") == "even"
    )
    assert (
        word(r"\text{(C)}")
        == "c"
        == word("C", loose=True)
        == word("(C)", loose=True)
        == word(r"(\text{C})", loose=True)
    )
    assert (
        word("C") is None and word("abc") is None and word("Yes") == "yes" == word(r"\text{yes}") and word("5") is None
    )
    assert word(r"\text{5}") is None and word(r"\text{north  east}") == "north east" and word("x+1", loose=True) is None
    assert clock(r"3:45\text{ p.m.}") == "3:45 p" == clock("03:45PM") and clock("10 AM") == "10:00 a" == clock(
        r"10\text{a.m.}"
    )
    assert clock("3:45") is None and clock("3 apples") is None and clock("3:4 pm") is None and clock("123 am") is None
    assert based("52_{8}") == ("52", "8") == based("(52)_{8}") == based(r"052_{\text{8}}") and based("1a_{16}") == (
        "1A",
        "16",
    )
    assert based("52") is None and based("x_{8}") is None and based("AB_{8}") is None
    assert same_tail(r"12\text{foo}", "12.0 foo") == ("12", "12.0") and same_tail(r"12\text{foo}", "12 bar") is None
    assert same_tail("12x", "13x") is None
    assert (
        has_words("7 plus")
        and has_words(r"\text{about }7")
        and not has_words(r"\sin x")
        and not has_words("sin x + ab")
    )
    assert not has_words("sqrt(2)") and has_words("abc")


CAPS = [
    ("9" * MAX_DIGITS, "9" * (MAX_DIGITS + 1), "digits"),
    ("(" * MAX_NESTING + "x" + ")" * MAX_NESTING, "(" * (MAX_NESTING + 1) + "x" + ")" * (MAX_NESTING + 1), "nested"),
    (f"x^{{{MAX_EXPONENT}}}", f"x^{{{MAX_EXPONENT + 1}}}", "exponents"),
    (f"x^{{x^{{{MAX_TOWER_LITERAL}}}}}", f"x^{{x^{{{MAX_TOWER_LITERAL + 1}}}}}", "tower"),
    ("x^{y^{2}}", "x^{y^{z^{2}}}", "tower"),
    ("(x^{30})^{30}", "(x^{30})^{40}", "exponents"),
    ("x^{999}+x^{999}", "((x^{99})^{9})^{9}", "exponents"),
    (f"{MAX_FACTORIAL}!", f"{MAX_FACTORIAL + 1}!", "factorial"),
    ("3!", "3!!", "factorial"),
    ("(3)!", "(3^{2})!", "factorial"),
    (rf"\binom{{{MAX_BINOMIAL}}}{{2}}", rf"\binom{{{MAX_BINOMIAL + 1}}}{{2}}", "binomial"),
    (r"\binom{9}{2}", r"\binom{9^{2}}{2}", "binomial"),
    (r"\binom{9}{2}", r"\binom{9!}{2}", "binomial"),
    ("x" * MAX_CHARS, "x" * (MAX_CHARS + 1), "characters"),
    ("3 x", "3 4", "reading"),
    ("x_{3}", "3_{x}", "reading"),
    ("x", "x?", "reading"),
    ("x", "x'", "reading"),
    (r"45", r"45^{\circ}", "reading"),
    ("x^{t}", "x^{T}", "drops"),
    ("x", r"7\pmod{9}", "drops"),
    (r"\sin x", r"\int x", "carried out"),
    (r"\sin x", r"\sum_{k} x", "carried out"),
    ("x^{2}", "x^{2}^{2}", "double superscript"),
    ("x", "é", "ASCII"),
    ("x", "x\n", "ASCII"),
    ("(x)", "(x", "unbalanced"),
]


@pytest.mark.parametrize(("allowed", "refused", "reason"), CAPS)
def test_what_sympy_may_see(allowed, refused, reason):
    assert refusal(allowed) is None
    assert reason in (refusal(refused) or "")


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("0.1", r"\frac{1}{10}"), (".25x", r"\frac{1}{4}x"), ("2(3)", r"2\cdot(3)"), ("(2)3", r"(2)\cdot 3"),
        ("(a)(b)", r"(a)\cdot(b)"),
        (r"2\frac{1}{3}", r"\frac{7}{3}"), (r"2\frac{3}{3}", r"2\cdot\frac{3}{3}"),
        (r"x2\frac{1}{3}", r"x\frac{7}{3}"), ("sin x", r"\sin x"),
        (r"\sin x", r"\sin x"), ("2**3", "2^3"), ("1,234", "1234"), ("a;b", "a,b"), ("pi", r"\pi"), ("pin", "pin"),
        ("1,23", "1,23"),
    ],
)  # fmt: skip
def test_how_sympy_is_told(text, spelt):
    assert for_sympy(text) == spelt


def test_angles_and_letters():
    assert (
        angles_as_radians(r"\sin 45^{\circ}") == r"\sin (45\cdot\frac{\pi}{180})"
        and angles_as_radians(r"45^{\circ}") == r"45^{\circ}"
    )
    assert angles_as_radians(r"\cos(60.5)^{\circ}") == r"\cos((60.5)\cdot\frac{\pi}{180})"
    assert letters_apart("2Rr", "rR") == ["2R_{9}r", "rR_{9}"] and letters_apart("2R", "R") == ["2R", "R"]
    assert letters_apart(r"R\Rightarrow r", "R_{1}") == [r"R_{9}\Rightarrow r", "R_{1}"]
    assert letter_case_differs("R", "r") and not letter_case_differs("R", "R") and not letter_case_differs("R", "x")
    assert not letter_case_differs(r"\Pi", r"\pi") and not letter_case_differs("Rr", "r")


EQUAL = [
    ("x+1", "1+x"), (r"\sqrt{8}", r"2\sqrt{2}"), ("(x+1)^{2}", "x^{2}+2x+1"), (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"),
    ("|x|", r"\sqrt{x^{2}}"),
    ("0", r"\sin\pi"), ("i^{2}", "-1"), (r"e^{-100}", r"\frac{1}{e^{100}}"),
    (r"10^{300}\sqrt{3+2\sqrt{2}}", r"10^{300}(1+\sqrt{2})"), (r"\frac{1}{100!}", r"\frac{1}{100\cdot 99!}"),
]  # fmt: skip
DIFFERENT = [
    ("x", "y"), ("x", "-x"), (r"\pi", r"\pi+10^{-40}"), (r"\pi", r"\pi+10^{-900}"), (r"\pi", r"\pi+e^{-200}"),
    (r"\pi", r"\pi+\frac{1}{150!}"),
    (r"\pi", r"\pi+(\sqrt{2}-1)^{500}"), ("|x-100|", "100-x"), ("|x|", "x"), ("x^{3}", "x^{2}"), ("0", "10^{-100}"),
    ("1", "1+10^{-200}"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"), ("x+10^{-50}", "x"), (r"\infty", "5"), ("f(x)", "g(x)"),
    (r"\log{x}", r"\log{y}"), ("|x y|", "x y"),
]  # fmt: skip


@pytest.mark.timeout(120)
def test_values_are_equal_to_the_last_digit_that_could_be_written():
    """In this process, to see the functions the child runs."""
    for left, right in EQUAL:
        assert compare_values(left, right) and compare_values(right, left), (left, right)
    for left, right in DIFFERENT:
        assert not compare_values(left, right) and not compare_values(right, left), (left, right)


@pytest.mark.timeout(120)
def test_equations_need_a_constant_quotient():
    line = ["y", "2x+3"]
    for other in (["2x+3", "y"], ["2y", "4x+6"], ["y-3", "2x"], ["-y", "-2x-3"], [r"\frac{y}{7}", r"\frac{2x+3}{7}"]):
        assert compare_equations(line, other) and compare_equations(other, line)
    for other in (["y", "2x+4"], ["y", "3x+3"], ["0", "0"], ["xy", "x(2x+3)"], ["y^{2}", "(2x+3)^{2}"], ["x", "2y+3"]):
        assert not compare_equations(line, other) and not compare_equations(other, line)
    assert not compare_equations(["y", "|b|"], ["y", "b"]) and not compare_equations(["y", "|x-9999|"], ["y", "9999-x"])
    assert compare_equations(["y", r"\sqrt{x^{2}}"], ["y", "|x|"]) and not compare_equations(["0", "0"], ["0", "0"])


def test_too_many_digits_are_not_compared():
    factor = r"10^{-999}\cdot"
    assert not compare_values(r"\pi", r"\pi+" + factor + "1")
    with pytest.raises(UnparsableError, match=f"{MAX_COMPARED_DIGITS} are allowed"):
        compare_values(r"\pi", r"\pi+" + factor * 3 + "1")
    with pytest.raises(UnparsableError):
        compare_values("+*", "1")


def test_the_number_of_questions_is_bounded():
    child = Questions()
    for _ in range(MAX_QUESTIONS):
        assert not child.values_equal("x", "y")
    with pytest.raises(ExhaustedError, match=f"more than {MAX_QUESTIONS}"):
        child.values_equal("x", "x")


def test_an_answers_questions_share_one_clock():
    """Twenty slow items would each get a second of their own; what is used up by one is not there for the next."""
    child = Questions()
    assert not child.values_equal("x", "y")
    assert 0 < child._spent_s < questions.BUDGET_S * 10
    child._spent_s = questions.BUDGET_S
    with pytest.raises(ExhaustedError, match="ran out of time"):
        child.values_equal(r"\log(" * 10 + "7" + ")" * 10, r"\log(" * 10 + "8" + ")" * 10)
    assert questions.BUDGET_S < child._spent_s < questions.BUDGET_S + 0.5  # a twentieth of a second at least is given


def test_questions_refuse_before_they_ask():
    child = Questions()
    for left, right, reason in (("", "x", "empty"), ("x", "9" * 60, "digits"), ("x", "3 4", "reading")):
        with pytest.raises(UnreadableError, match=reason):
            child.values_equal(left, right)
    with pytest.raises(UnreadableError):
        child.values_equal("x", "+*")
    assert not child.values_equal("R", "r") and child.equations_equal(["y", "x"], ["2x", "2y"])
    assert not child.equations_equal(["Y", "x"], ["y", "x"])
