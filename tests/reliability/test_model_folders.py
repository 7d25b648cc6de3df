"""A model folder is loaded whole or not at all. The review's bugs: a checkpoint that lacked a tensor was scored with
fresh random weights after a warning, one with a tensor too many was loaded without it, and a configuration of 1e9
layers filled the memory."""

import json
import shutil
import time
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from led_rl.errors import UserError
from led_rl.models.base import BaseModelConfig, build_base_model
from led_rl.models.loading import check_ids, load_policy
from led_rl.models.prompting import PromptConfig, encode_prompts
from led_rl.models.tokenizer import word_tokenizer
from led_rl.rl.config import LoraConfig as LoraOptions
from led_rl.rl.config import TrainConfig, grpo_arguments


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny, tokenizer):
    folder = tmp_path_factory.mktemp("whole") / "model"
    tiny.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def refused(folder, within_s=2.0):
    """The one line of the refusal, made within `within_s` seconds of this process's own, whoever else is busy."""
    started = time.process_time()
    with pytest.raises(UserError) as error:
        load_policy(str(folder))
    assert time.process_time() - started < within_s
    assert "\n" not in str(error.value)
    return str(error.value)


def change_weights(folder, change, name="model.safetensors"):
    weights = load_file(folder / name)
    change(weights)
    save_file(weights, folder / name, metadata={"format": "pt"})


def change_config(folder, **values):
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


NORM = "model.layers.1.input_layernorm.weight"


def test_a_whole_one(folder, tiny):
    loaded = load_policy(str(folder)).model.state_dict()
    assert loaded.keys() == tiny.state_dict().keys()
    assert all(torch.equal(loaded[name], weight) for name, weight in tiny.state_dict().items())


@pytest.mark.parametrize("name", ["lm_head.weight", "model.embed_tokens.weight", NORM])
def test_one_tensor_missing(folder, name):
    change_weights(folder, lambda weights: weights.pop(name))
    line = refused(folder)
    assert f"1 tensors are missing from its weights ({name})" in line
    assert line.startswith(str(folder))


def test_one_tensor_too_many(folder):
    change_weights(folder, lambda weights: weights.update({"model.layers.9.extra.weight": torch.zeros(2)}))
    assert "1 tensors are in its weights and not in the model of config.json (model.layers.9.extra" in refused(folder)


def test_another_shape(folder):
    change_weights(folder, lambda weights: weights.update({NORM: torch.ones(31)}))
    assert f"1 tensors are of another shape than config.json says ({NORM})" in refused(folder)


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_hidden_layers": 10**9},
        {"vocab_size": 10**12},
        {"hidden_size": 10**9},
        {"intermediate_size": 10**10},
        {"num_attention_heads": 10**9},
        {"head_dim": 10**9},
        {"num_hidden_layers": -4},
        {"num_hidden_layers": 1e9},
        {"vocab_size": "many"},
        {"num_attention_heads": 0},
    ],
    ids=str,
)
def test_absurd_sizes_are_refused_before_memory_is_asked_for(folder, sizes):
    change_config(folder, **sizes)
    assert str(folder) in refused(folder)


@pytest.mark.parametrize("kept", [0, 5, 100, 20_000, -1])
def test_truncated_weights(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert str(path) in refused(folder)


@pytest.mark.parametrize(
    "head",
    [
        b"\xff" * 8,
        (10).to_bytes(8, "little") + b"[1, 2, 3] ",
        (12).to_bytes(8, "little") + b'{"a": "nonu"',
        b"\x00" * 8,
    ],
)
def test_weights_that_are_none(folder, head):
    (folder / "model.safetensors").write_bytes(head + bytes(64))
    assert "model.safetensors" in refused(folder)


def test_a_configuration_that_is_none(folder):
    for text in ("", "[]", "{"):
        (folder / "config.json").write_text(text)
        assert f"{folder}/config.json" in refused(folder)


def test_no_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert "its tokenizer cannot be loaded" in refused(folder, within_s=10)


def test_a_tied_head_is_not_missing(tmp_path, tokenizer):
    shape = BaseModelConfig(layers=2, width=32, heads=4, intermediate=48, context=128, tied_head=True)
    build_base_model(shape, tokenizer, 0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    model = load_policy(str(tmp_path)).model
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.fixture
def adapter(folder, tmp_path, tokenizer):
    """A LoRA adapter on two layers of `folder`, its weights not zero."""
    model = load_policy(str(folder)).model
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[2, 3]))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.fill_(0.1)
    adapted.peft_config["default"].task_type = "CAUSAL_LM"
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_is_merged(adapter, folder, tiny):
    loaded = load_policy(str(adapter)).model.state_dict()
    base = tiny.state_dict()
    changed = {name for name in base if not torch.equal(loaded[name], base[name])}
    assert changed == {f"model.layers.{layer}.self_attn.q_proj.weight" for layer in (2, 3)}


def test_a_merged_adapter_can_be_trained(adapter):
    """PEFT's merge left every weight frozen, and full fine-tuning crashed."""
    assert all(weight.requires_grad for weight in load_policy(str(adapter)).model.parameters())


@pytest.mark.parametrize("options", [{"lora": LoraOptions(r=4)}, {"grpo": {"beta": 0.04}}])
def test_an_adapter_to_start_from_is_to_be_merged_first(adapter, tmp_path, monkeypatch, options):
    """A run with adapters of its own saved them over the bare base, without the one that it began with; and TRL took
    that base for the reference. The command in the message gives the folder to train."""
    grpo = {"max_steps": 1, "bf16": False, "activation_checkpointing": False, **options.get("grpo", {})}
    config = TrainConfig(model=str(adapter), output_dir=str(tmp_path / "run"), **options | {"grpo": grpo})
    with pytest.raises(UserError, match="merge it first") as refusal:
        grpo_arguments(config)
    assert "\n" not in str(refusal.value)
    monkeypatch.chdir(tmp_path)
    exec(str(refusal.value).partition('python -c "')[2].removesuffix('"'))
    merged, start = load_policy("./merged").model.state_dict(), load_policy(str(adapter)).model.state_dict()
    assert all(torch.equal(merged[name], start[name]) for name in start)
    grpo_arguments(replace(config, model="./merged"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop(min(weights)), "1 tensors are missing from adapter_model.safetensors"),
        (lambda weights: weights.update({"base_model.extra": torch.zeros(1)}), "1 tensors are too many in adapter_mod"),
        (lambda weights: weights.update({min(weights): torch.zeros(3, 3)}), "the adapter does not fit its base"),
    ],
)
def test_an_adapter_that_is_not_whole(adapter, change, message):
    change_weights(adapter, change, "adapter_model.safetensors")
    assert message in refused(adapter)


def test_an_adapter_whose_base_is_not_whole(adapter, folder):
    change_weights(folder, lambda weights: weights.pop("lm_head.weight"))
    assert refused(adapter).startswith(str(folder))


class TestTokens:
    def test_an_id_beyond_the_vocabulary(self, folder):
        """It was an IndexError of torch's, out of an embedding; on a GPU, an assertion that ends the process."""
        policy = load_policy(str(folder))
        rows = policy.model.config.vocab_size
        check_ids(policy, "the prompts", range(rows))
        with pytest.raises(UserError, match=rf"the prompts: token id {rows} .* vocabulary of {rows}"):
            check_ids(policy, "the prompts", [3, rows, 4])

    def test_an_end_token_beyond_the_vocabulary(self, folder):
        larger = word_tokenizer([f"w{index}" for index in range(500)], 128)
        larger.add_special_tokens({"eos_token": "<end of all>"})
        larger.save_pretrained(folder)
        assert "is beyond the model's vocabulary" in refused(folder, within_s=10)

    @pytest.mark.parametrize("template", ["{{ raise_exception('no system role') }}", "{% for %}", "{{ messages + 1 }}"])
    def test_a_chat_template_that_fails(self, tokenizer, template):
        """It was a traceback of jinja's."""
        broken = word_tokenizer(["a", "b"], 16)
        broken.chat_template = template
        with pytest.raises(UserError, match="its chat template fails") as error:
            encode_prompts(broken, ["a b"], PromptConfig(system="b"))
        assert "\n" not in str(error.value)
