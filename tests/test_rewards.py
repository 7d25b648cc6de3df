"""The trace reward as TRL calls it, on the words of the small base's tokenizer."""

import pytest

from led_rl.models.prompting import encode_prompts
from led_rl.models.tokenizer import word_tokenizer
from led_rl.rl.rewards import CorrectReward, Reader, TraceReward
from led_rl.tasks.answers import THINK_OPEN
from led_rl.tasks.countdown import Countdown, CountdownConfig, identity, question
from led_rl.tasks.grammar import grammar_of
from led_rl.tasks.problem import Problem

SOUND = r"13 + 6 = 19 , 19 - 4 = 15 yes </think> \boxed{ ( 13 + 6 ) - 4 }"
HONEST = r"13 + 6 = 19 , 19 + 4 = 23 no </think> \boxed{ ( 13 + 6 ) + 4 }"
WORN = r"13 + 6 = 29 , 29 - 4 = 15 yes </think> \boxed{ ( 13 + 6 ) - 4 }"
CUT = "13 + 6 = 19 , 19 - 4 = 15 yes"
CLOSES_THE_TURN = "{% for message in messages %}{{ message['content'] }} yes{% endfor %}"


def problem_of(numbers, target):
    data = {"numbers": numbers, "target": target}
    return Problem(identity(numbers, target), question(numbers, target), "", data)


PROBLEMS = [problem_of((6, 4, 13), 15), problem_of((6, 4, 13), 23)]


def rewarded(config=None, template=None):
    """Completions with the index of their problem to (correctness, trace) of each."""
    task = Countdown(config)
    tokenizer = word_tokenizer(Countdown().vocabulary(), model_max_length=128)
    tokenizer.chat_template = template
    reader = Reader(tokenizer, PROBLEMS, encode_prompts(tokenizer, [task.prompt(problem) for problem in PROBLEMS]))
    correct, trace = CorrectReward(task, reader), TraceReward(grammar_of(task), reader)

    def both(*completions, problem=0, messages=False):
        given = [[{"role": "assistant", "content": text}] for text in completions] if messages else list(completions)
        columns = {"completions": given, "problem_id": [PROBLEMS[problem].id] * len(completions), "trainer_state": None}
        return list(zip(correct(**columns), trace(**columns), strict=True))

    return both


def test_a_group_of_equal_completions_is_graded_once():
    graded = []

    class Counting(Countdown):
        def grade(self, problem, completion):
            graded.append((problem.id, completion.removeprefix(THINK_OPEN)))
            return super().grade(problem, completion)

    task = Counting()
    tokenizer = word_tokenizer(task.vocabulary(), model_max_length=128)
    reader = Reader(tokenizer, PROBLEMS, encode_prompts(tokenizer, [task.prompt(problem) for problem in PROBLEMS]))
    first, second = (problem.id for problem in PROBLEMS[:2])
    texts, ids = [SOUND, HONEST, SOUND, SOUND, HONEST], [first, first, first, second, second]
    assert CorrectReward(task, reader)(completions=texts, problem_id=ids) == [1.0, 0.0, 1.0, 0.0, 1.0]
    assert graded == [(first, SOUND), (first, HONEST), (second, SOUND), (second, HONEST)]


def test_the_trace_is_rewarded_apart_from_the_answer():
    assert rewarded()(SOUND, HONEST, WORN, CUT, "") == [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (0.0, 0.0)]


def test_each_completion_is_read_against_its_own_problem():
    """The verdict of the first is wrong there, and that of the second too."""
    assert rewarded()(SOUND, HONEST, HONEST.replace("no", "yes"), problem=1) == [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]


def test_the_space_of_the_task_decides():
    assert rewarded(CountdownConfig(operators="+*"))(SOUND, HONEST) == [(1.0, 0.0), (0.0, 1.0)]
    assert rewarded(CountdownConfig(max_value=20, max_target=20, max_number=20))(SOUND, HONEST) == [
        (1.0, 1.0),
        (0.0, 0.0),
    ]


@pytest.mark.parametrize("opener", ["<think> ", "<think>\n", " <think>", ""])
def test_a_chat_model_may_open_the_thinking_itself(opener):
    both = rewarded(template=CLOSES_THE_TURN)
    assert both(opener + SOUND, opener + WORN, messages=True) == [(1.0, 1.0), (1.0, 0.0)]
    assert both(f"<think> {opener}" + SOUND, messages=True)[0][1] == float(not opener)


def test_thinking_that_the_prompt_opened_is_not_opened_again():
    assert rewarded()(f"<think> {SOUND}") == [(1.0, 0.0)]
