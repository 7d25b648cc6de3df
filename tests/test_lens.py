"""The lens against the models themselves: their logits, and what leaves each of their decoder layers."""

import copy

import pytest
import torch
import transformers as hf
from families import FAMILIES, LAYERS, RECURRENT, VOCABULARY, build, decoder_layers
from peft import LoraConfig, get_peft_model
from slow import layer_states

from led_rl.decoding.engine import Engine, EngineConfig, Prompt
from led_rl.decoding.samplers import Greedy
from led_rl.errors import UserError
from led_rl.models import lens as lens_module
from led_rl.models.lens import Lens

DEPTHS = range(LAYERS)
families = pytest.mark.parametrize("family", FAMILIES)


def tokens(rows=3, length=11, seed=0):
    return torch.randint(2, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def assert_same_to_one_ulp(have, want):
    """Equal, or neighbours in the order of floats."""
    assert ((have == want) | (torch.nextafter(have, want) == want)).all()


@families
@pytest.mark.parametrize("tied", [True, False])
def test_depth_0_is_the_models_output(family, tied):
    model = build(family, tie_word_embeddings=tied)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    lens, input_ids = Lens(model), tokens()
    assert (lens.layers, lens.vocabulary) == (LAYERS, VOCABULARY)
    with torch.no_grad():
        states = lens.read(input_ids, (0,)).states
        logits = lens.logits(states[0], 0, False)
        assert_same_to_one_ulp(logits, model(input_ids=input_ids, use_cache=False).logits)
        assert torch.equal(logits, lens.logits(states[0], 0, True))  # already normed: nothing is normed twice
    lens.check_logits()
    assert not model.training


@families
def test_depth_i_is_what_leaves_the_layer(family):
    """Against hooks on the decoder layers; the last layer's output through norm and head is the model's output."""
    model = build(family)
    lens, input_ids = Lens(model), tokens(rows=1)
    hooked = layer_states(model, decoder_layers(model), input_ids[0].tolist())
    with torch.no_grad():
        states = lens.read(input_ids, DEPTHS).states
        assert sorted(states) == list(DEPTHS)
        for depth in range(1, LAYERS):
            assert torch.equal(states[depth][0], hooked[LAYERS - 1 - depth])
        want = model(input_ids=input_ids, use_cache=False).logits[0]
        assert_same_to_one_ulp(lens.logits(hooked[-1], 1, True), want)  # norm, head, scale and cap, on any state
        assert not torch.allclose(lens.logits(hooked[-1], 1, False), want)


@families
def test_depth_l_is_what_enters_the_first_layer(family):
    """The embeddings as the first layer gets them: scaled or with positions where the family has it so."""
    model = build(family)
    lens, entered = Lens(model), []
    hook = decoder_layers(model)[0].register_forward_pre_hook(
        lambda _module, args, kwargs: entered.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    with torch.no_grad():
        state = lens.read(tokens(), (LAYERS,)).states[LAYERS]
    hook.remove()
    assert torch.equal(state, entered[0])


@pytest.mark.parametrize("depths", [(0,), (1,), (3,), (2, 0), (0, 2, 3), (3, 1, 2, 0)])
def test_any_set_of_depths(depths, lens64):
    input_ids = tokens(2)
    with torch.no_grad():
        every = lens64.read(input_ids, DEPTHS).states
        some = lens64.read(input_ids, depths).states
        last = lens64.read(input_ids, depths, last_only=True).states
    assert set(some) == {0, *depths}
    for depth, state in some.items():
        assert torch.equal(state, every[depth])
        assert torch.equal(last[depth], state[:, -1])


def test_head_scale_and_cap_act_on_every_depth():
    """Granite divides by 4, Cohere multiplies by 1/4, Gemma 2 caps at 5: written out for a raw intermediate state."""
    state = torch.randn((7, 32), generator=torch.Generator().manual_seed(2))
    for family, after in (
        ("granite", lambda x: x / 4),
        ("cohere", lambda x: x / 4),
        ("gemma2", lambda x: 5 * torch.tanh(x / 5)),
        ("llama", lambda x: x),
    ):
        model = build(family)
        raw = state @ model.get_output_embeddings().weight.T
        with torch.no_grad():
            torch.testing.assert_close(Lens(model).logits(state, 2, False), after(raw), rtol=1e-5, atol=1e-5)


@families
def test_padding_on_the_left_changes_nothing(family):
    """A row's states in a padded batch, mask and positions given, are those of the row alone."""
    lens, input_ids = Lens(build(family)), tokens(1, 9)
    padded = torch.cat([torch.zeros((1, 4), dtype=torch.long), input_ids], 1)
    batch = torch.cat([padded, tokens(1, 13, seed=3)])
    mask = torch.ones_like(batch)
    mask[0, :4] = 0
    with torch.no_grad():
        alone = lens.read(input_ids, DEPTHS).states
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        together = lens.read(batch, DEPTHS, attention_mask=mask, position_ids=positions).states
    for depth in DEPTHS:
        torch.testing.assert_close(together[depth][0, 4:], alone[depth][0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_lora_is_seen_through_and_stays_in_force(family):
    base = build(family)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wrapped = get_peft_model(copy.deepcopy(base), lora).eval()
    lens, input_ids = Lens(wrapped), tokens()
    hooked = layer_states(wrapped, decoder_layers(wrapped), input_ids[0].tolist())
    with torch.no_grad():
        ours = lens.logits(lens.read(input_ids, (0,)).states[0], 0, True)
        assert_same_to_one_ulp(ours, wrapped(input_ids=input_ids, use_cache=False).logits)
        assert not torch.allclose(ours, base(input_ids=input_ids).logits, atol=1e-2)
        states = lens.read(input_ids[:1], DEPTHS).states
        for depth in range(1, LAYERS):
            assert torch.equal(states[depth][0], hooked[LAYERS - 1 - depth])
    lens.check_logits()


def test_encoder_decoder_is_refused():
    config = hf.T5Config(vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    model = hf.T5ForConditionalGeneration(config)
    assert sum(weight.numel() for weight in model.parameters()) < 100_000
    with pytest.raises(ValueError, match=r"T5ForConditionalGeneration is an encoder-decoder; a decoder-only"):
        Lens(model)


@pytest.mark.parametrize("family", RECURRENT)
def test_recurrent_state_is_refused(family):
    """The engine's cache holds keys and values only: a model with more state is refused, by a ValueError that says so
    and not by an error from inside a layer."""
    model = build(family, noise=0.0)
    with pytest.raises(ValueError, match=type(model).__name__):
        Engine(Lens(model), Greedy(), [1], EngineConfig(4)).run([Prompt([5, 6, 7], [0]), Prompt([5], [0])])


@pytest.mark.parametrize(
    ("shared", "message"),
    [(2, "num_kv_shared_layers=2: layers that share the keys and values"), (0, "the shape .* several streams")],
)
def test_models_that_share_keys_or_have_several_streams_are_refused(shared, message):
    """Gemma 3n passed every check and died on a bare AssertionError of the cache."""
    config = hf.Gemma3nTextConfig(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=10, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=128, vocab_size_per_layer_input=60,
        hidden_size_per_layer_input=8, laurel_rank=4, num_kv_shared_layers=shared, sliding_window=5, pad_token_id=0,
        eos_token_id=1, bos_token_id=2, activation_sparsity_pattern=None, layer_types=None,
    )  # fmt: skip
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(UserError, match=message):
        Lens(model).check_logits()


def test_no_head_and_no_model_are_refused():
    with pytest.raises(ValueError, match="LlamaModel"):
        Lens(build("llama").model)
    with pytest.raises(ValueError, match="Linear is not a model of transformers"):
        Lens(torch.nn.Linear(2, 2))


class Louder(hf.LlamaForCausalLM):
    """A family that does to its logits what nobody told the lens."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 1.5
        return output


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
def test_unknown_logits_are_refused(training, fresh):
    """Also if token 0 is the padding, whose embedding is zero in a fresh model (and in one trained from it): there all
    logits are 0 and any factor fits."""
    model = Louder(build("llama").config)
    if not fresh:
        model.load_state_dict(build("llama").state_dict())
    model.train(training)
    with pytest.raises(ValueError, match=r"Louder does to its logits what led_rl.models.lens does not know"):
        Lens(model).check_logits()
    assert model.training == training


@pytest.mark.parametrize("depths", [(LAYERS + 1,), (0, -1), (1, 7)])
def test_depths_out_of_range(depths, lens64):
    with pytest.raises(ValueError, match="4 layers"):
        lens64.read(tokens(), depths)


def test_shipped_base(shipped):
    lens = Lens(shipped.model)
    lens.check_logits()
    assert lens.vocabulary == len(shipped.tokenizer)
    input_ids = torch.tensor([shipped.tokenizer("numbers 6 4 13 target 15 <think>")["input_ids"]])
    with torch.no_grad():
        ours = lens.logits(lens.read(input_ids, range(lens.layers)).states[0], 0, True)
        assert_same_to_one_ulp(ours, shipped.model(input_ids=input_ids, use_cache=False).logits)


@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen3_moe"])
def test_a_release_that_names_states_otherwise_is_noticed(family, monkeypatch):
    """transformers 5.17 to 5.22 count `output_hidden_states` by layers, 5.23 by hidden states. Asked otherwise,
    5.19 gave None for every state, in silence."""
    lens = Lens(build(family))
    lens.check_logits()
    monkeypatch.setattr("led_rl.models.lens._BY_LAYER", not lens_module._BY_LAYER)
    with pytest.raises((RuntimeError, ValueError), match=r"no state for depth|gives other states for depths"):
        lens.check_logits()


def test_states_of_another_layer_are_noticed(monkeypatch):
    """A release whose indices are off by one gives states, and the wrong ones."""
    lens = Lens(build("llama"))
    read = Lens._named
    monkeypatch.setattr(
        Lens, "_of", lambda self, depths, output: {depth: output.hidden_states[-depth] for depth in depths}
    )
    monkeypatch.setattr(Lens, "_named", lambda self, depths: bool(depths) and read(self, depths) and True)
    with pytest.raises(
        ValueError, match=r"gives other states for depths \[1, 2, 3\] than a pass that keeps all of them"
    ):
        lens.check_logits()
