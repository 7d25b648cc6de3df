"""`model.generate(custom_generate=led_generate)` on any input: what is defined, or a clear error.

Every accepted call is checked token by token (`check`); every refused one must say why, which `refusal` states before.
"""

from dataclasses import dataclass, field, replace
from functools import cache

import pytest
import slow
import torch
from families import LAYERS, VOCABULARY, build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from led_rl import led_generate
from led_rl.decoding.hub import write_hub_folder

pytestmark = pytest.mark.timeout(120)
PAD, ONLY, THINK, END_THINK = 0, 9, 10, 11
QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
KINDS = {
    "llama64": ("llama", torch.float64),
    "llama32": ("llama", torch.float32),
    "llama_bf16": ("llama", torch.bfloat16),
    "llama_fp16": ("llama", torch.float16),
    "learned_positions": ("gpt2", torch.float32),
    "sliding_window": ("mistral", torch.float32),
}
NOTHING_TO_SAMPLE = "the logits hold NaN or .inf, or every token is banned"


@cache
def model_of(kind):
    """Shared: a test must not change it."""
    return build(*KINDS[kind])


class Spoil(LogitsProcessor):
    """What a processor may do to the logits of one row, or of all."""

    def __init__(self, how):
        self.how = how

    def __call__(self, input_ids, scores):
        if self.how == "ban_some":
            return scores.index_fill(-1, torch.arange(20, 40), -torch.inf)
        if self.how == "all_but_one":
            only = torch.full_like(scores, -torch.inf)
            only[:, ONLY] = scores[:, ONLY]
            return only
        spoilt = scores.clone()
        if self.how == "ban_all":
            spoilt[-1] = -torch.inf
        else:
            spoilt[-1, 3] = {"nan": torch.nan, "inf": torch.inf}[self.how]
        return spoilt


class Stop(StoppingCriteria):
    """Row i ends after i + 1 new tokens; or all rows after one."""

    def __init__(self, how, width):
        self.how, self.width = how, width

    def after(self, row):
        return 1 if self.how == "at_once" else row + 1

    def __call__(self, input_ids, scores, **kwargs):
        new = input_ids.shape[1] - self.width
        return torch.tensor([new >= self.after(row) for row in range(len(input_ids))])


@dataclass(frozen=True)
class Call:
    """One call of generate."""

    kind: str = "llama64"
    lengths: tuple[int, ...] = (3, 5)
    spare: int = 0  # columns that are padding in every row
    mask: str = "long"
    seed: int = 0
    eos: tuple[int, ...] = ()
    named_pad: bool = True
    max_new: int = 4
    min_new: int = 0
    repeats: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    spoil: str | None = None
    stop: str | None = None
    output_logits: bool = False
    led: dict = field(default_factory=lambda: {"led_depth": 3, "led_top_k": 4})

    @property
    def width(self):
        return max(self.lengths) + self.spare

    @property
    def pad(self):
        return PAD if self.named_pad or not self.eos else self.eos[0]

    def prompts(self):
        """(B, S) ids and mask. Prompts hold the marks of the thinking now and then."""
        generator = torch.Generator().manual_seed(self.seed)
        ids = torch.randint(3, VOCABULARY, (len(self.lengths), self.width), generator=generator)
        marks = torch.rand(ids.shape, generator=generator)
        ids = torch.where(marks < 0.1, THINK, torch.where(marks < 0.2, END_THINK, ids))
        mask = torch.arange(self.width) >= self.width - torch.tensor(self.lengths).unsqueeze(-1)
        return ids.masked_fill(~mask, PAD), mask.long()

    def options(self):
        ids, mask = self.prompts()
        masks = {"long": mask, "bool": mask.bool(), "float": mask.float(), "omitted": None}
        processors = LogitsProcessorList([Spoil(self.spoil)] if self.spoil else [])
        criteria = StoppingCriteriaList([Stop(self.stop, self.width)] if self.stop else [])
        return {
            "input_ids": ids,
            "attention_mask": masks[self.mask],
            "do_sample": True,
            "max_new_tokens": self.max_new,
            "min_new_tokens": self.min_new,
            "num_return_sequences": self.repeats,
            "eos_token_id": list(self.eos) or None,
            "pad_token_id": PAD if self.named_pad else None,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "logits_processor": processors,
            "stopping_criteria": criteria,
            **self.led,
        }

    def refusal(self):
        """A pattern of the error that this call must raise; None if it must not."""
        depth, top_k = self.led.get("led_depth", 8), self.led.get("led_top_k", 20)
        skips = self.led.get("led_layer_set") == "skip_penultimate"
        if depth is not None and depth < 1:
            return rf"led\.depth={depth}: at least 1"
        if top_k < 2:
            return rf"led\.top_k={top_k}: with fewer than 2 tokens .* use greedy"
        if top_k > VOCABULARY:
            return rf"led\.top_k={top_k} is above the vocabulary of {VOCABULARY} tokens: lower"
        if depth is not None and depth > LAYERS - (1 if skips and depth > 1 else 0):
            return rf"led\.depth={depth} .* the model has {LAYERS}: lower led\.depth"
        if self.spoil in ("ban_all", "nan", "inf"):
            return NOTHING_TO_SAMPLE
        if self.spoil == "all_but_one" and self.min_new and ONLY in self.eos:
            return NOTHING_TO_SAMPLE
        return None


def run(call, model=None, **changes):
    torch.manual_seed(call.seed)
    options = {**call.options(), "custom_generate": led_generate, **changes}
    return (model or model_of(call.kind)).generate(**options)


def recorded(call, **changes):
    flags = {"return_dict_in_generate": True, "output_scores": True, "output_logits": call.output_logits}
    return run(call, **flags, **changes)


def check(call, output):
    """The prompt as it was; then each row's tokens, in range and within their support, up to what ends it; then pad."""
    ids, _ = call.prompts()
    made, rows = output.sequences, len(call.lengths) * call.repeats
    assert torch.equal(made[:, : call.width], ids.repeat_interleave(call.repeats, 0))
    new = made[:, call.width :].tolist()
    assert len(new) == rows
    lengths = []
    for row, tokens in enumerate(new):
        limit = min(call.max_new, Stop(call.stop, 0).after(row)) if call.stop else call.max_new
        length = next((place for place, token in enumerate(tokens, 1) if token in call.eos), limit)
        lengths.append(min(length, limit))
        assert all(0 <= token < VOCABULARY for token in tokens)
        assert tokens[lengths[row] :] == [call.pad] * (len(tokens) - lengths[row])
        assert not set(tokens[: min(call.min_new, lengths[row])]) & set(call.eos)
        for step in range(lengths[row]):
            assert output.scores[step][row, tokens[step]] > -torch.inf
    assert len(new[0]) == max(lengths) == len(output.scores)
    for scores in output.scores:
        assert scores.shape == (rows, VOCABULARY)
        assert scores.dtype == (torch.float64 if call.kind == "llama64" else torch.float32)
        torch.testing.assert_close(scores.exp().sum(-1), torch.ones_like(scores[:, 0]), rtol=0, atol=1e-5)
        support = scores > -torch.inf
        assert int(support.sum(-1).max()) <= call.led.get("led_top_k", 20)
        if call.spoil == "ban_some":
            assert not support[:, 20:40].any()
        if call.spoil == "all_but_one":
            assert support.sum(-1).eq(1).all() and support[:, ONLY].all()
    if call.output_logits:
        assert len(output.logits) == len(new[0])
        assert all(logits.shape == (rows, VOCABULARY) and logits.isfinite().all() for logits in output.logits)


def options_of_led(valid):
    """LED's own options; without `valid` also depths and supports that no model of this size has."""
    deep = [1, 2, 3, LAYERS - 1, None]
    wide = [2, 3, 5, 20, VOCABULARY - 1, VOCABULARY]
    marks = st.sampled_from([{}, {"led_think_start_token_id": THINK, "led_think_end_token_id": END_THINK}])
    # An id that no model emits: the thinking never closes. Without a start, a prompt counts as open.
    odd_marks = st.sampled_from(
        [{"led_think_end_token_id": 10**6}, {"led_think_end_token_id": END_THINK}, {"led_think_start_token_id": THINK}]
    )
    knobs = st.fixed_dictionaries(
        {
            "led_depth": st.sampled_from(deep if valid else [*deep, LAYERS, LAYERS, 0, -1, LAYERS + 1]),
            "led_top_k": st.sampled_from(wide if valid else [*wide, *wide, 1, 0, -3, VOCABULARY + 1]),
            "led_final_norm": st.booleans(),
            "led_layer_set": st.sampled_from(["last", "skip_penultimate"]),
            "led_exploit": st.booleans(),
        }
    )
    return st.builds(lambda a, b: {**a, **b}, knobs, marks if valid else marks | odd_marks)


EOS = st.sampled_from([(), (1,), (1, 7), tuple(range(3, 30)), tuple(range(1, VOCABULARY))])
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@st.composite
def calls(draw, kinds=tuple(KINDS)):
    max_new = draw(st.integers(1, 6))
    return Call(
        kind=draw(st.sampled_from(kinds)),
        lengths=draw(LENGTHS),
        spare=draw(st.sampled_from([0, 0, 2])),
        mask=draw(st.sampled_from(["long", "bool", "float", "omitted"])),
        seed=draw(st.integers(0, 10**6)),
        eos=draw(EOS),
        named_pad=draw(st.booleans()),
        max_new=max_new,
        min_new=draw(st.sampled_from([0, 0, 1, max_new])),
        repeats=draw(st.sampled_from([1, 1, 3])),
        temperature=draw(st.sampled_from([1e-3, 0.7, 1.0, 100.0])),
        top_p=draw(st.sampled_from([1.0, 1.0, 0.9, 0.1])),
        min_p=draw(st.sampled_from([0.0, 0.0, 0.05, 0.9])),
        repetition_penalty=draw(st.sampled_from([1.0, 1.0, 1.3, 0.8])),
        spoil=draw(st.sampled_from([None, None, None, "ban_some", "all_but_one", "ban_all", "nan", "inf"])),
        stop=draw(st.sampled_from([None, None, "at_once", "per_row"])),
        output_logits=draw(st.booleans()),
        led=draw(options_of_led(valid=False)),
    )


@settings(max_examples=120, **QUIET)
@given(calls())
def test_any_call_is_defined_or_refused(call):
    """And the seed alone decides: a second run, which keeps no scores, draws the same."""
    pattern = call.refusal()
    if pattern is not None:
        with pytest.raises(ValueError, match=pattern):
            recorded(call)
        return
    output = recorded(call)
    check(call, output)
    assert torch.equal(run(call), output.sequences)


@settings(max_examples=30, **QUIET)
@given(calls(kinds=("llama64",)), options_of_led(valid=True))
def test_a_row_of_a_batch_is_what_the_twin_draws_alone(call, led):
    """Float64: neither the padding nor the neighbours may show. The twin has no cache, no padding and no batch; it is
    given the row's key, which is the row's number from torch.manual_seed."""
    end = led.get("led_think_end_token_id")
    wanted = slow.Settings(
        depth=led["led_depth"] or LAYERS // 2,
        top_k=led["led_top_k"],
        temperature=max(call.temperature, 0.1),
        top_p=call.top_p,
        min_p=call.min_p,
        final_norm=led["led_final_norm"],
        skip_penultimate=led["led_layer_set"] == "skip_penultimate",
        exploit=led["led_exploit"],
    )
    call = replace(
        call,
        mask="long" if call.mask == "omitted" else call.mask,
        temperature=wanted.temperature,
        min_new=0,
        repetition_penalty=1.0,  # as in transformers, it counts padding as part of the prompt
        spoil=None,
        stop=None,
        led=led,
    )
    output = recorded(call)
    check(call, output)
    torch.manual_seed(call.seed)
    keys = torch.randint(2**62, (len(output.sequences),)).tolist()
    ids, mask = call.prompts()
    for row, key in enumerate(keys):
        source = row // call.repeats
        prompt = ids[source][mask[source].bool()].tolist()
        model, think = model_of("llama64"), None if end is None else (THINK, END_THINK)
        want = slow.generate(model, model.model.layers, prompt, key, call.max_new, call.eos, wanted, think)
        have = output.sequences[row, call.width :].tolist()
        assert have[: len(want.tokens)] == want.tokens
        # transformers' norm and rotary embedding compute in float32 even in a float64 model.
        log_q = [float(output.scores[step][row, token]) for step, token in enumerate(want.tokens)]
        assert log_q == pytest.approx(want.log_q, abs=1e-4)


@settings(max_examples=25, **QUIET)
@given(calls(kinds=("llama64", "learned_positions", "sliding_window")), options_of_led(valid=True))
def test_a_support_of_one_token_is_greedy(call, led):
    """top_p near 0 leaves the most probable token, so LED must write what transformers writes without sampling."""
    call = replace(call, top_p=1e-9, min_p=0.0, spoil=None, stop=None, repeats=1, led=led)
    ours = run(call)
    theirs = {key: value for key, value in call.options().items() if key not in (*led, "temperature", "top_p", "min_p")}
    assert torch.equal(ours, model_of(call.kind).generate(**{**theirs, "do_sample": False}))


@settings(max_examples=12, **QUIET)
@given(calls())
def test_the_exported_folder_does_the_same(tmp_path_factory, call):
    """Through `custom_generate=<folder>`, the same tokens and scores, or the same error."""
    folder = exported(tmp_path_factory.getbasetemp() / "led_hub")
    through_the_hub = {"custom_generate": folder, "trust_remote_code": True}
    pattern = call.refusal()
    if pattern is not None:
        with pytest.raises(ValueError, match=pattern):
            recorded(call, **through_the_hub)
        return
    output = recorded(call, **through_the_hub)
    check(call, output)
    want = recorded(call)
    assert torch.equal(output.sequences, want.sequences)
    assert all(torch.equal(have, scores) for have, scores in zip(output.scores, want.scores, strict=True))


@cache
def exported(folder):
    return str(write_hub_folder(folder))


PARAMETERS = [name for name, _ in build("llama").named_parameters()]


@settings(max_examples=30, **QUIET)
@given(
    st.sampled_from(["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]) | st.sampled_from(PARAMETERS),
    st.sampled_from([torch.nan, torch.inf, -torch.inf, 1e38]),
    st.integers(0, 10**6),
    st.booleans(),
    options_of_led(valid=True),
)
def test_broken_weights_are_an_error_or_do_not_matter(name, value, place, whole, led):
    """A broken weight may go unread (the embedding of a token that is not there): then scores are a distribution."""
    model = build("llama")
    with torch.no_grad():
        weights = dict(model.named_parameters())[name].view(-1)
        weights[slice(None) if whole else place % len(weights)] = value
    call = Call(kind="llama32", seed=place, max_new=3, led=led)
    for keeps_scores in (True, False):
        try:
            output = recorded(call, model=model) if keeps_scores else run(call, model=model)
        except ValueError as error:
            assert "NaN or +inf" in str(error)
            continue
        if keeps_scores:
            check(call, output)
        else:
            assert output.shape == (2, call.width + 3)


# Edges, one by one.


@pytest.mark.parametrize("width", [13, 15, 16, 17])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_edge_of_the_context(family, width):
    """What transformers itself does, with a context of 16: rotary positions go on beyond it, learned ones are
    an IndexError. The last token drawn is not fed, so 13 + 4 tokens fit."""
    model = build(family, max_position_embeddings=16)
    ids = torch.arange(3, 3 + width).unsqueeze(0)
    options = {"input_ids": ids, "max_new_tokens": 4, "eos_token_id": None, "pad_token_id": PAD}
    ours = {**options, "do_sample": True, "top_p": 1e-9, "custom_generate": led_generate, "led_depth": 3}
    if family == "gpt2" and width > 13:
        for refused in ({**options, "do_sample": False}, ours):
            with pytest.raises(IndexError):
                model.generate(**refused)
        return
    assert torch.equal(model.generate(**ours), model.generate(**options, do_sample=False))


@pytest.mark.parametrize("vocabulary", [1, 2])
def test_the_smallest_vocabularies(vocabulary):
    """With one token there is no support of two, whatever led_top_k; with two tokens there is exactly one such."""
    model = build("llama", vocab_size=vocabulary, eos_token_id=None, pad_token_id=None)
    options = {"input_ids": torch.zeros(2, 3, dtype=torch.long), "max_new_tokens": 4, "led_depth": 3}
    options |= {"do_sample": True, "custom_generate": led_generate, "return_dict_in_generate": True}
    refused = {1: "use greedy", vocabulary + 1: "is above the vocabulary"} if vocabulary == 1 else {}
    for top_k, message in refused.items():
        with pytest.raises(ValueError, match=message):
            model.generate(**options, led_top_k=top_k)
    if vocabulary == 2:
        output = model.generate(**options, led_top_k=2, output_scores=True)
        assert output.sequences.shape == (2, 7)
        for scores in output.scores:
            torch.testing.assert_close(scores.exp().sum(-1), torch.ones(2))


IDS = torch.arange(3, 13).view(2, 5)
ONES = torch.ones_like(IDS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, r"temperature.*=0\.0.*strictly positive"),
        ({"temperature": -1.0}, r"temperature.*=-1\.0.*strictly positive"),
        ({"temperature": float("nan")}, r"temperature.*nan.*strictly positive"),
        ({"top_p": 0.0}, r"top_p=0\.0: a mass in \(0, 1\]; 1 keeps all"),
        ({"top_p": 1.5}, r"top_p=1\.5: a mass in \(0, 1\]"),
        ({"min_p": 1.0}, r"min_p=1\.0: a fraction in \[0, 1\); 0 keeps all"),
        ({"max_new_tokens": 0}, r"max_new_tokens.*must be greater than 0"),
        ({"num_beams": 2}, r"num_beams=2: .* use num_beams=1"),
        ({"do_sample": False}, r"do_sample is False: pass do_sample=True"),
        ({"led_layer_set": "all"}, r"led\.layer_set='all': 'last' or 'skip_penultimate'"),
        ({"led_topk": 4}, r"led_topk"),
        ({"input_ids": IDS[:1, :0]}, r"prompt is empty"),
        ({"input_ids": None}, r"bos_token_id.*has to be defined"),
        ({"attention_mask": ONES[:, None, None]}, r"must be 2D"),
        ({"bad_words_ids": [[token] for token in range(VOCABULARY)], "eos_token_id": None}, NOTHING_TO_SAMPLE),
    ],
)
def test_what_cannot_be_done_is_named(changes, message):
    """In led_generate or before it, in transformers' own checks."""
    options = {"input_ids": IDS, "do_sample": True, "max_new_tokens": 2, "led_depth": 3, "pad_token_id": PAD, **changes}
    with pytest.raises(ValueError, match=message):
        model_of("llama32").generate(custom_generate=led_generate, **options)


def test_several_empty_prompts():
    """transformers looks for padding in the last column before led_generate is called."""
    with pytest.raises((ValueError, IndexError)):
        model_of("llama32").generate(IDS[:, :0], do_sample=True, custom_generate=led_generate, pad_token_id=PAD)


def test_the_thinking_closes_at_once():
    """A processor that allows only `</think>` at first: what follows is pi_S, whatever intermediate layers say, while a
    prompt whose thinking never closes samples q."""

    class First(LogitsProcessor):
        def __call__(self, input_ids, scores):
            if input_ids.shape[1] > IDS.shape[1]:
                return scores
            return torch.full_like(scores, -torch.inf).index_fill(-1, torch.tensor([END_THINK]), 0.0)

    options = {"input_ids": IDS, "do_sample": True, "max_new_tokens": 2, "eos_token_id": None, "pad_token_id": PAD}
    options |= {"led_top_k": 6, "logits_processor": LogitsProcessorList([First()]), "custom_generate": led_generate}
    options |= {"return_dict_in_generate": True, "output_scores": True, "output_logits": True, "led_final_norm": True}
    closed, never = (
        model_of("llama64").generate(**options, led_depth=3, led_think_end_token_id=end) for end in (END_THINK, 10**6)
    )
    for output, gated in ((closed, True), (never, False)):
        assert (output.sequences[:, IDS.shape[1]] == END_THINK).all()
        kept = output.logits[1].topk(6)
        pi = torch.full_like(output.scores[1], -torch.inf).scatter(-1, kept.indices, kept.values.log_softmax(-1))
        assert torch.allclose(output.scores[1].exp(), pi.exp(), rtol=0, atol=1e-9) == gated
