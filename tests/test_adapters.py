"""Our decoders inside inspect-ai, lighteval and lm-eval: what the harness records is what the engine draws.

The harnesses' tests are skipped where they are not installed; docs/adapters.md says how they were run.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_models import SHIPPED

from led_rl.adapters import LIGHTEVAL
from led_rl.adapters.decoder import Decoder, Sampling
from led_rl.decoding.arms import Matched, resolve
from led_rl.decoding.engine import Engine, EngineConfig, Prompt
from led_rl.decoding.hub import write_hub_folder
from led_rl.decoding.randomness import sample_key
from led_rl.errors import UserError
from led_rl.models.prompting import decode, think_tokens
from led_rl.tasks.countdown import Countdown

ARM = "led_countdown"
PROBLEMS = Countdown().problems("test", 3)
PROMPTS = [Countdown().prompt(problem) for problem in PROBLEMS]
SAMPLING = Sampling(temperature=1.0, max_new_tokens=40, seed=3)


def needs(name):
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")


@pytest.fixture(scope="module")
def decoder():
    return Decoder(str(SHIPPED), ARM)


def expected(samples, sampling=SAMPLING, arm=ARM):
    """The texts of a fresh decoder, for each prompt."""
    fresh = Decoder(str(SHIPPED), arm)
    answers = fresh.answer([fresh.encode(prompt) for prompt in PROMPTS], samples, sampling)
    return [[answer.text for answer in found] for found in answers]


class TestDecoder:
    def test_it_is_the_engine_with_the_arms_sampler(self, decoder):
        policy, lens = decoder.policy, decoder.lens
        (arm,) = resolve([ARM], Matched())
        think = think_tokens(policy.tokenizer)
        sampler = arm.build(1.0, lens, (*policy.end_tokens, think.end))
        engine = Engine(lens, sampler, policy.end_tokens, EngineConfig(40), think)
        ids = [decoder.encode(prompt) for prompt in PROMPTS]
        names = [" ".join(map(str, one)) for one in ids]
        keys = [[sample_key(3, name, number) for number in range(4)] for name in names]
        run = engine.run([Prompt(one, of_it) for one, of_it in zip(ids, keys, strict=True)])
        fresh = Decoder(str(SHIPPED), ARM)
        answers = fresh.answer(ids, 2, SAMPLING), fresh.answer(ids, 2, SAMPLING)  # the second two are new ones
        found = [answer.tokens for first, second in zip(*answers, strict=True) for answer in (*first, *second)]
        assert found == [one.tokens for one in run]
        assert len({tuple(one) for one in found}) > 6

    def test_a_stop_is_cut_off(self, decoder):
        text = decode(decoder.policy.tokenizer, decoder.encode("7 + 3 = 10"))
        assert "=" in text
        (whole,), (cut,) = (expected(1, Sampling(max_new_tokens=40, stop=stop))[0] for stop in ((), ("=", "+")))
        assert cut == whole[: min(at for at in (whole.find("="), whole.find("+")) if at >= 0)] != whole

    def test_an_answer_that_a_stop_ended_is_not_truncated(self, decoder):
        """It kept the word of the engine, which draws on to the budget and knows no stops."""
        ids = [decoder.encode(prompt) for prompt in PROMPTS]
        for found in Decoder(str(SHIPPED), ARM).answer(ids, 2, Sampling(max_new_tokens=12, stop=("=",))):
            assert not any(answer.truncated for answer in found)
        (whole,), *_ = Decoder(str(SHIPPED), ARM).answer(ids, 1, Sampling(max_new_tokens=4))
        assert whole.truncated

    def test_without_an_arm_it_is_the_led_that_suits(self):
        assert Decoder(str(SHIPPED)).name == "led_countdown"

    @pytest.mark.parametrize(
        ("arm", "message"), [("nope", "arm 'nope' is unknown"), ("wise_0.5", "needs a run's base")]
    )
    def test_arms_that_cannot_be(self, arm, message):
        with pytest.raises(UserError, match=message):
            Decoder(str(SHIPPED), arm)

    def test_no_temperature(self):
        with pytest.raises(UserError, match="temperature=0: LED and its controls sample"):
            Sampling(temperature=0)


@needs("inspect_ai")
class TestInspect:
    @pytest.fixture
    def task(self):
        from inspect_ai import Task
        from inspect_ai.dataset import MemoryDataset, Sample
        from inspect_ai.scorer import includes
        from inspect_ai.solver import generate

        samples = [Sample(input=prompt, target="boxed", id=str(at)) for at, prompt in enumerate(PROMPTS)]
        return Task(dataset=MemoryDataset(samples), solver=[generate()], scorer=includes())

    def log(self, task, tmp_path, **options):
        from inspect_ai import eval as run

        import led_rl.adapters.inspect_provider  # noqa: F401 as the entry point does, once led_rl is installed anew

        (log,) = run(
            task, model=f"led/{SHIPPED}", model_args={"arm": ARM}, log_dir=str(tmp_path), display="none",
            **{"temperature": 1.0, "max_tokens": 40, "seed": 3, **options},
        )  # fmt: skip
        return log

    def test_samples_are_those_of_the_engine(self, task, tmp_path):
        log = self.log(task, tmp_path, epochs=2)
        assert log.status == "success", log.error
        found = {}
        for sample in log.samples:
            found.setdefault(int(sample.id), []).append(sample.output.completion)
            assert sample.output.usage.output_tokens > 0
        wanted = expected(2)
        assert {at: sorted(texts) for at, texts in found.items()} == {at: sorted(one) for at, one in enumerate(wanted)}

    def test_what_it_cannot_do_it_says(self, task, tmp_path):
        log = self.log(task, tmp_path, top_k=5)
        assert log.status == "error" and "top_k=5: led_rl's provider has no such setting" in log.error.message

    @pytest.mark.parametrize(
        "setting",
        [
            {"top_logprobs": 5},
            {"best_of": 4},
            {"prompt_logprobs": 1},
            {"reasoning_effort": "high"},
            {"reasoning_tokens": 100},
            {"extra_body": {"min_p": 0.1}},
            {"response_schema": {"name": "x", "json_schema": {"type": "object"}}},
        ],
    )
    def test_no_setting_is_passed_over(self, setting):
        """Those that no list of refused ones named were accepted and ignored."""
        from inspect_ai.model import GenerateConfig

        from led_rl.adapters.inspect_provider import _sampling

        with pytest.raises(UserError, match=f"{next(iter(setting))}=.* has no such setting; leave it out"):
            _sampling(GenerateConfig(**setting))

    def test_settings_that_change_no_answer_are_taken(self):
        from inspect_ai.model import GenerateConfig

        from led_rl.adapters.inspect_provider import _sampling

        config = GenerateConfig(max_retries=3, timeout=60, system_message="x", top_k=0, stop_seqs=["="], seed=4)
        assert _sampling(config) == Sampling(seed=4, stop=("=",))


@needs("lighteval")
class TestLighteval:
    """By lighteval's own loader of custom models, with its documents. Its command does the same once it has started,
    for which it needs the network and, in 0.13.0, a huggingface_hub below 2."""

    @pytest.fixture(scope="class")
    def model(self):
        from lighteval.models.custom.custom_model import CustomModelConfig
        from lighteval.models.model_loader import load_model

        name = f"{SHIPPED},arm={ARM},temperature=1.0,seed=3,max_new_tokens=40"
        return load_model(CustomModelConfig(model_name=name, model_definition_file_path=LIGHTEVAL))

    def test_answers_are_those_of_the_engine(self, model):
        from lighteval.tasks.requests import Doc

        docs = [Doc(query=prompt, choices=["x"], gold_index=0, num_samples=2) for prompt in PROMPTS]
        docs[1].generation_size, docs[2].stop_sequences = 10, ["="]
        responses = model.greedy_until(docs)
        whole, short, cut = expected(2), expected(2, dataclasses.replace(SAMPLING, max_new_tokens=10)), expected(
            2, dataclasses.replace(SAMPLING, stop=("=",))
        )  # fmt: skip
        assert [response.text for response in responses] == [whole[0], short[1], cut[2]]
        assert whole[1] != short[1] and whole[2] != cut[2]
        assert [len(response.output_tokens) for response in responses] == [2, 2, 2]
        assert responses[0].input == PROMPTS[0] and responses[0].input_tokens == model.decoder.encode(PROMPTS[0])

    def test_likelihoods_are_refused(self, model):
        with pytest.raises(UserError, match="an arm decodes, and this task compares likelihoods"):
            model.loglikelihood([])

    def test_settings_in_the_name(self):
        from led_rl.adapters.lighteval_model import _parsed

        assert _parsed("a/b,arm=led_norm@depth=3,temperature=0.5") == (
            "a/b",
            {"arm": "led_norm@depth=3", "temperature": 0.5},
        )
        with pytest.raises(UserError, match=r"'top_k=3' of 'm,top_k=3': name=value, the name one of arm, dtype"):
            _parsed("m,top_k=3")


@needs("lm_eval")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lm_eval(tmp_path):
    """LED as `custom_generate` needs no adapter: LED samples, and not the same as plain ones."""
    lines = [{"query": prompt, "answer": "nothing"} for prompt in PROMPTS]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "puzzles.yaml").write_text(
        f"task: puzzles\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/test.jsonl}}}}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: '{{query}}'\ndoc_to_target: '{{answer}}'\n"
        "generation_kwargs: {until: [], max_gen_toks: 40}\nmetric_list: [{metric: exact_match}]\n"
    )
    write_hub_folder(tmp_path / "led_hub")
    kept = {}
    for name, led in (
        ("plain", ""),
        ("led", ",custom_generate=led_hub,trust_remote_code=true,led_depth=4,led_top_k=4"),
    ):
        command = [
            str(Path(sys.executable).with_name("lm_eval")), "--model", "hf", "--model_args",
            f"pretrained={SHIPPED},dtype=float32", "--tasks", "puzzles", "--include_path", str(tmp_path), "--device",
            "cpu", "--batch_size", "3", "--output_path", f"out_{name}", "--log_samples", "--gen_kwargs",
            f"do_sample=true,temperature=1.0,top_k=0{led}",
        ]  # fmt: skip
        environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr[-3000:]
        (file,) = (tmp_path / f"out_{name}").rglob("samples_*.jsonl")
        kept[name] = [json.loads(line)["resps"][0][0] for line in file.read_text().splitlines()]
    assert len(kept["led"]) == len(PROMPTS) and all(kept["led"]) and kept["led"] != kept["plain"]
    shutil.rmtree(tmp_path / "hf", ignore_errors=True)
