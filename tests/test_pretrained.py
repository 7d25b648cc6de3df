"""What users bring: a chat model with its template, a system prompt, thinking in the template, adapters on some layers.

The model is a random Llama of 4 layers over bytes, so it can read any task, and its answers are noise: the tests are of
what it is shown, what is rewarded and what is recorded.
"""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from test_scripts import command, execute, here, script
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from led_rl.models.config import BARE, PromptConfig
from led_rl.models.loading import load_policy
from led_rl.models.prompting import answered, dress, encode_prompts
from led_rl.records import read_json, read_jsonl
from led_rl.rl.rewards import CorrectReward, FormatReward, Reader
from led_rl.rl.trainer import EngineGRPOTrainer
from led_rl.run_folder import RunFolder
from led_rl.tasks.problem import Problem
from led_rl.tasks.registry import TaskConfig, load_task

pytest.importorskip("reasoning_gym")

ROOT = Path(__file__).resolve().parents[1]

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)
ASKED = ["--consent.recorded_task", "true"]  # the runs' task is reasoning-gym's, whose grader is foreign code
SUMS = ["--task.name", "reasoning_gym:chain_sum", "--task.options", '{"min_terms": 2, "max_terms": 2}']
SYSTEM = "Be brief."
GRPO = [
    "--grpo.max_steps", "2", "--grpo.save_steps", "2", "--grpo.logging_steps", "1", "--grpo.num_generations", "2",
    "--grpo.per_device_train_batch_size", "4", "--grpo.max_completion_length", "8",
    "--probe.problems", "2", "--probe.samples", "1", "--probe.max_new_tokens", "8",
    "--grpo.gradient_accumulation_steps", "1", "--grpo.steps_per_generation", "1",
    "--lora.r", "0", "--reward.trace", "0",
]  # fmt: skip


def byte_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=TEMPLATE,
        model_max_length=512,
    )


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """Folder of a tiny chat model."""
    folder = tmp_path_factory.mktemp("chat") / "model"
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    assert sum(weight.numel() for weight in model.parameters()) < 60_000
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


class TestPrompts:
    def test_a_chat_template_gets_messages(self, tokenizer):
        system, user = {"role": "system", "content": SYSTEM}, {"role": "user", "content": "1 + 1"}
        assert dress(tokenizer, "1 + 1", PromptConfig(SYSTEM)) == [system, user]
        assert dress(tokenizer, "1 + 1", BARE) == [user]
        text = tokenizer.decode(encode_prompts(tokenizer, ["1 + 1"], PromptConfig(SYSTEM))[0])
        assert (
            text
            == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1 + 1<|im_end|>\n<|im_start|>assistant\n"
        )

    def test_without_a_template_the_system_prompt_goes_above(self):
        bare = byte_tokenizer()
        bare.chat_template = None
        assert dress(bare, "1 + 1", PromptConfig(SYSTEM)) == "Be brief.\n\n1 + 1"
        assert bare.decode(encode_prompts(bare, ["1 + 1"], PromptConfig(SYSTEM))[0]) == "Be brief.\n\n1 + 1"
        with pytest.raises(ValueError, match=r"prompt\.template=.*no chat template"):
            dress(bare, "1 + 1", PromptConfig(template={"enable_thinking": True}))

    def test_a_base_model_can_be_spared_the_template(self, tokenizer):
        config = PromptConfig(SYSTEM, chat=False)
        assert dress(tokenizer, "1 + 1", config) == "Be brief.\n\n1 + 1"
        assert tokenizer.decode(encode_prompts(tokenizer, ["1 + 1"], config)[0]) == "Be brief.\n\n1 + 1"

    def test_an_answer_within_thinking_that_the_template_opened_is_none(self, tokenizer):
        """The box of a completion that never left the template's own `<think>` was graded as an answer."""
        thinking = encode_prompts(tokenizer, ["1 + 1"], PromptConfig(template={"enable_thinking": True}))[0]
        plain = encode_prompts(tokenizer, ["1 + 1"])[0]
        assert answered(tokenizer, thinking, r"\boxed{2}") == r"<think>\boxed{2}"
        assert answered(tokenizer, plain, r"\boxed{2}") == r"\boxed{2}"


class TestRewards:
    @pytest.fixture
    def rewards(self, tokenizer):
        task = load_task(TaskConfig("reasoning_gym:chain_sum"))
        problems: list[Problem] = list(task.problems("train", 2))
        encoded = encode_prompts(
            tokenizer, [task.prompt(p) for p in problems], PromptConfig(template={"enable_thinking": True})
        )
        reader = Reader(tokenizer, problems, encoded)
        correct, form = CorrectReward(task, reader), FormatReward(reader)

        def both(completion, problem=0):
            message = [[{"role": "assistant", "content": completion}]]
            arguments = {"completions": message, "problem_id": [problems[problem].id]}
            return correct(**arguments)[0], form(**arguments)[0]

        return problems, both

    def test_form_and_correctness_are_rewarded_apart(self, rewards):
        problems, both = rewards
        right = rf"\boxed{{{problems[0].answer}}}"
        assert both(f"sums </think> {right}") == (1.0, 1.0)
        assert both(r"sums </think> \boxed{x}") == (0.0, 1.0)
        assert both("sums </think> none") == (0.0, 0.0)
        assert both(r"sums </think> \boxed{1") == (0.0, 0.0)
        assert both(r"sums </think> \boxed{}") == (0.0, 0.0)

    def test_thinking_that_never_ends_earns_nothing(self, rewards):
        problems, both = rewards
        assert both(rf"\boxed{{{problems[0].answer}}}") == (0.0, 0.0)

    def test_each_completion_is_graded_against_its_own_problem(self, rewards):
        problems, both = rewards
        assert problems[0].answer != problems[1].answer
        assert both(rf"</think>\boxed{{{problems[0].answer}}}", problem=1) == (0.0, 1.0)


@pytest.fixture(scope="module")
def warm(chat, tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm") / "warm"
    here(
        command(
            "warmup", "--model", chat, "--output_dir", folder, *SUMS, "--prompt.system", SYSTEM,
            "--data.documents", "16", "--data.validation_documents", "4", "--data.batch_size", "4",
            "--optimizer.learning_rate", "1e-2",
            "--probe.problems", "2", "--probe.samples", "1", "--probe.max_new_tokens", "8",
        )
    )  # fmt: skip
    return folder


def test_warm_up_learns_the_references(warm, chat):
    session = read_json(warm / "run.json")["sessions"][-1]
    assert session["steps"] == 4
    assert [row["pretrain_step"] for row in read_jsonl(warm / "probe.jsonl")][::2] == [0, 0, 4, 4]
    reference = [row for row in read_jsonl(warm / "probe.jsonl") if row["text"] == "reference" and row["final_norm"]]
    assert reference[-1]["entropy_final_nats"] < reference[0]["entropy_final_nats"]
    assert (warm / "chat_template.jinja").read_text() == TEMPLATE


def test_a_task_without_references_is_refused_before_training(chat, tmp_path):
    line = command(
        "warmup", "--model", chat, "--output_dir", tmp_path / "w", "--task.name", "reasoning_gym:spell_backward"
    )
    done = execute(line, tmp_path)
    assert done.returncode == 2 and "no worked reference" in done.stderr
    assert not (tmp_path / "w").exists()


@pytest.fixture(scope="module")
def trained(warm, tmp_path_factory):
    """A GRPO run with adapters on layers 1 and 3, and the prompts it sampled from."""
    folder = tmp_path_factory.mktemp("grpo") / "run"
    seen: list[list[int]] = []
    original = EngineGRPOTrainer._generate

    def spy(self, prompts):
        generated = original(self, prompts)
        seen.extend(generated[0])
        return generated

    EngineGRPOTrainer._generate = spy
    try:
        here(
            command(
                "train_grpo", "--model", warm, "--output_dir", folder, *SUMS, "--prompt.system", SYSTEM,
                *GRPO, "--reward.format", "0.5", "--lora.r", "2", "--lora.layers_to_transform", "[1,-1]",
            )
        )  # fmt: skip
    finally:
        EngineGRPOTrainer._generate = original
    return folder, seen


def test_training_samples_from_the_prompts_that_probe_and_evaluation_use(trained, tokenizer):
    folder, seen = trained
    config = RunFolder(folder).config()
    task = load_task(TaskConfig(config["task"]["name"], options=config["task"]["options"]))
    problems = task.problems("train", 4)
    expected = encode_prompts(tokenizer, [task.prompt(p) for p in problems], PromptConfig(SYSTEM))
    assert {tuple(ids) for ids in seen} == {tuple(ids) for ids in expected}


def test_the_parts_of_the_reward_are_on_record(trained):
    rows = read_jsonl(trained[0] / "train.jsonl")
    assert len(rows) == 2
    for row in rows:
        assert row["reward"] == pytest.approx(row["reward_correct"] + 0.5 * row["reward_format"])


def test_adapters_are_on_the_layers_named_only(trained):
    """PEFT refuses layers_to_transform with `all-linear`."""
    with safe_open(trained[0] / "checkpoint-2" / "adapter_model.safetensors", "pt") as file:
        layers = {name.split(".layers.")[1].split(".")[0] for name in file.keys()}  # noqa: SIM118
        modules = {name.split(".")[-3] for name in file.keys()}  # noqa: SIM118
    assert layers == {"1", "3"}
    assert modules == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_the_page_on_uploading_by_hand_makes_a_model_that_loads(trained, tmp_path, monkeypatch):
    """docs/hub.md said to upload the run folder, which has no weights at its top; those of a checkpoint are adapters,
    which name their base by its path."""
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "hub.md").read_text(), re.S)
    code = code.replace("checkpoint-600", "checkpoint-2").replace("checkpoints/countdown_grpo", str(trained[0]))
    exec(compile(code, "docs/hub.md", "exec"), {})
    made = {path.name for path in (tmp_path / "explorer").iterdir()}
    assert {"model.safetensors", "tokenizer.json", "README.md"} <= made and not [
        one for one in made if "adapter" in one
    ]
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        whole, parts = (
            load_policy(str(folder)).model(input_ids=ids).logits for folder in ("explorer", trained[0] / "checkpoint-2")
        )
    assert torch.equal(whole, parts)


def test_evaluation_takes_the_runs_prompt(trained, tmp_path):
    out = tmp_path / "out"
    evaluation = [
        "eval_led", "--ckpt", trained[0], *ASKED, "--num_problems", "2", "--num_samples", "2", "--temperatures", "1",
        "--arms", "plain", "--devices", "1", "--steps", "2", "--output_dir", out,
    ]  # fmt: skip
    here(command(*evaluation))
    assert read_json(out / "eval" / "eval.json")["prompt"] == {"system": SYSTEM, "chat": True, "template": {}}
    done = execute(command(*evaluation, "--prompt.system", "Be long."), tmp_path)
    assert done.returncode == 2 and "holds samples with prompt=" in done.stderr


def test_a_benchmark_is_trained_and_evaluated_from_local_files(chat, tmp_path):
    """GSM8K's own columns; GRPO on its training problems, evaluation on its test problems."""
    for name, count, verb in (("train", 60, "has"), ("test", 6, "keeps")):
        rows = (
            {
                "question": f"Ada {verb} {i} pears and buys {i + 2}. How many?",
                "answer": f"{i}+{i + 2}\n#### {2 * i + 2}",
            }
            for i in range(count)
        )
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ["--task.path", tmp_path / "test.jsonl", "--task.train_path", tmp_path / "train.jsonl"]
    run = tmp_path / "run"
    here(command("train_grpo", "--model", chat, "--output_dir", run, "--task.name", "gsm8k", *files, *GRPO))
    here(
        command(
            "eval_led", "--ckpt", run, "--num_problems", "3", "--num_samples", "2", "--temperatures", "0.6",
            "--arms", "plain", "led_countdown", "--devices", "1", "--steps", "2", "--max_new_tokens", "4",
            "--matched.top_p", "0.95",
        )
    )  # fmt: skip
    assert read_json(run / "eval" / "eval.json")["contamination"] == {"training_problems": 4, "problems": 3, "seen": []}
    results = read_jsonl(run / "eval" / "results.jsonl")
    assert {(row["arm"], row["problems"], row["n"]) for row in results} == {("plain", 3, 2), ("led_countdown", 3, 2)}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--reward.format=-1"], "reward.format=-1"),
        (["--grpo.reward_weights", "[1.0]"], "use reward.format"),
        (["--grpo.chat_template_kwargs", json.dumps({"a": 1})], "use prompt.template"),
        (["--lora.target_modules", "q_proj"], "lora.target_modules='q_proj'"),
    ],
)
def test_bad_options_are_named(chat, tmp_path, capsys, option, message):
    line = command("train_grpo", "--model", chat, "--output_dir", tmp_path / "r", *SUMS, *GRPO, *option)
    assert script("train_grpo").main(line[2:]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_an_evaluation_on_training_problems_is_told_so(trained, tmp_path):
    out = tmp_path / "out"
    here(
        command(
            "eval_led", "--ckpt", trained[0], *ASKED, "--split", "train", "--num_problems", "6", "--num_samples", "2",
            "--temperatures", "1", "--arms", "plain", "--devices", "1", "--steps", "2", "--output_dir", out,
        )
    )  # fmt: skip
    contamination = read_json(out / "eval" / "eval.json")["contamination"]
    assert (contamination["training_problems"], len(contamination["seen"])) == (4, 4)
