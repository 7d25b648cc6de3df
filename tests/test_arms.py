"""Names to arms: every arm of a comparison differs from the next in the one thing its name says."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest

from led_rl.decoding.arms import Matched, arm_names, default_arms, resolve
from led_rl.decoding.led import PRESETS
from led_rl.decoding.led_sampler import LEDSampler
from led_rl.decoding.samplers import Greedy, Plain, Truncation

LARGE = SimpleNamespace(layers=28, vocabulary=150_000)
SMALL = SimpleNamespace(layers=4, vocabulary=58)


def build(arm, temperature, lens):
    return arm.build(temperature, lens, ())


def arms(*names, **matched):
    return resolve(names, Matched(**matched))


def test_the_names_of_issue_2_are_known():
    names = arm_names()
    assert {"plain", "top_k", "led_paper", "led_as_released", "led_norm"} <= set(names)
    assert {f"led_{preset}" for preset in PRESETS} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", [name for name in arm_names() if name != "top_k" and "<" not in name])
def test_every_name_resolves_to_one_arm_of_that_name(name):
    (arm,) = arms(name)
    assert (arm.name, arm.key) == (name, name)


def test_order_is_that_of_the_command_line():
    assert [arm.key for arm in arms("led_paper", "plain", "top_k")] == ["led_paper", "plain", "top_k-k20"]


@pytest.mark.parametrize("preset", PRESETS)
def test_top_k_takes_the_k_of_the_led_arm(preset):
    control, led = arms("top_k", f"led_{preset}")
    assert control.top_k == led.top_k == PRESETS[preset].top_k
    assert control.key == f"top_k-k{PRESETS[preset].top_k}"
    truncation = build(control, 0.7, LARGE).truncation
    assert truncation == Truncation(0.7, PRESETS[preset].top_k)
    assert build(led, 0.7, LARGE).truncation == truncation


def test_top_k_stands_for_one_control_for_each_k():
    found = arms("top_k", "led_paper", "led_as_released", "led_norm")
    assert [(arm.name, arm.top_k) for arm in found if arm.name == "top_k"] == [("top_k", 8), ("top_k", 20)]
    assert len({arm.key for arm in found}) == len(found) == 5


def test_samplers_of_arms():
    plain, greedy, led = arms("plain", "greedy", "led_norm")
    assert build(plain, 1.4, LARGE) == Plain(Truncation(1.4))
    assert isinstance(build(greedy, 1.0, LARGE), Greedy)
    latent = build(led, 0.6, LARGE)
    assert isinstance(latent, LEDSampler)
    assert latent.led == PRESETS["norm"]
    assert latent.truncation == Truncation(0.6, 20)


def test_all_arms_share_the_matched_truncation():
    for arm in arms("plain", "top_k", "led_paper", top_p=0.9, min_p=0.1):
        truncation = build(arm, 1.0, LARGE).truncation
        assert (truncation.top_p, truncation.min_p) == (0.9, 0.1)
        assert (arm.settings["top_p"], arm.settings["min_p"]) == (0.9, 0.1)


def test_an_arm_is_built_for_the_temperature_it_is_given():
    """Arms made in one loop must not all end up with its last k."""
    for arm in arms("top_k", "led_paper", "led_as_released"):
        for temperature in (0.6, 1.4):
            truncation = build(arm, temperature, LARGE).truncation
            assert (truncation.temperature, truncation.top_k) == (temperature, arm.top_k)


def test_settings_record_all_of_led():
    (arm,) = arms("led_as_released")
    assert arm.settings == {
        "depth": 8,
        "top_k": 8,
        "final_norm": False,
        "layer_set": "skip_penultimate",
        "think_only": True,
        "exploit": True,
        "coin": "final",
        "coin_factor": 1.0,
        "readout": "cumulative",
        "layer": None,
        "tuned_lens": None,
        "top_p": 1.0,
        "min_p": 0.0,
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["plain", "top-k"], "arm 'top-k' is unknown: choose among top_k, plain, greedy, .*led_paper"),
        (["led_"], "arm 'led_' is unknown"),
        (["led_papre"], "arm 'led_papre' is unknown"),
        ([""], "arm '' is unknown"),
        (["plain", "led_paper", "plain"], r"arms \['plain', 'led_paper', 'plain'\]: name each once"),
        (["top_k"], "arm 'top_k' is the control of a LED arm and takes its k: name a LED arm beside it"),
        (["plain", "top_k", "greedy"], "name a LED arm beside it"),
        ([], "no arm is named: choose among top_k, plain"),
    ],
)
def test_bad_names(names, message):
    with pytest.raises(ValueError, match=message):
        arms(*names)


def test_k_above_the_vocabulary():
    tiny = SimpleNamespace(layers=28, vocabulary=19)
    control, led = arms("top_k", "led_paper")
    with pytest.raises(ValueError, match="top_k=20 is above the vocabulary of 19 tokens: lower it"):
        build(control, 1.0, tiny)
    with pytest.raises(ValueError, match=r"led.top_k=20 is above the vocabulary of 19 tokens: lower led.top_k"):
        build(led, 1.0, tiny)
    fits = SimpleNamespace(layers=28, vocabulary=20)
    assert build(led, 1.0, fits).truncation == build(control, 1.0, fits).truncation


@pytest.mark.parametrize(("name", "layers"), [("led_paper", 7), ("led_norm", 7), ("led_as_released", 8)])
def test_depth_above_the_layers(name, layers):
    (arm,) = arms(name)
    with pytest.raises(ValueError, match=rf"led.depth=8 .*needs more than \d layers, the model has {layers}: lower"):
        build(arm, 1.0, SimpleNamespace(layers=layers, vocabulary=1000))
    assert build(arm, 1.0, SimpleNamespace(layers=layers + 1, vocabulary=1000)).depths[-1] == layers


@pytest.mark.parametrize(("vocabulary", "preset"), [(58, "countdown"), (999, "countdown"), (1000, "paper")])
def test_default_arms_suit_the_vocabulary_and_bring_their_controls(vocabulary, preset):
    names = default_arms(vocabulary)
    assert set(names) == {"plain", "top_k", f"led_{preset}", f"explore_final_{preset}"}
    assert [arm.name for arm in arms(*names)] == list(names)
    mixed = default_arms(vocabulary, with_base=True)
    assert mixed == (*names, "wise_0.75", f"wise_0.75+led_{preset}")
    assert [arm.reads_base for arm in arms(*mixed)] == [False] * 4 + [True] * 2


def test_default_arms_fit_a_shallow_model():
    for arm in arms(*default_arms(SMALL.vocabulary)):
        build(arm, 1.0, SMALL)


def test_settings_after_an_at_replace_the_presets():
    names = ["led_norm@depth=3@top_k=5", "explore_final_norm@depth=3@top_k=5", "top_k", "led_paper@final_norm=true"]
    changed, control, *top_ks, paper = resolve(names, Matched())
    assert changed.key == "led_norm@depth=3@top_k=5"
    assert (changed.top_k, control.top_k, [arm.top_k for arm in top_ks]) == (5, 5, [5, 20])
    assert changed.settings == {**asdict(PRESETS["norm"]), "depth": 3, "top_k": 5, **asdict(Matched())}
    assert paper.settings["final_norm"] is True and paper.settings["depth"] == PRESETS["paper"].depth


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("led_norm@width=3", "'width' is no setting of it"),
        ("led_norm@depth", "'depth' has no value"),
        ("led_norm@depth=deep", "'deep' is no value of depth"),
        ("led_norm@final_norm=1", "'1' is no value of final_norm"),
        ("led_norm@top_k=1", "led.top_k=1"),
        ("plain@top_k=5", "arm 'plain' takes no settings after an '@'"),
        ("led_other@depth=3", "is unknown"),
    ],
)
def test_bad_settings_after_an_at(name, message):
    with pytest.raises(ValueError, match=message):
        resolve([name], Matched())


def test_rivals_take_settings_of_their_own():
    cut, wide, cuts = arms("min_p@p=0.2", "top_p", "cuts@top_k=3", min_p=0.05)
    assert build(cut, 0.7, LARGE) == Plain(Truncation(0.7, min_p=0.2))
    assert build(wide, 0.7, LARGE) == Plain(Truncation(0.7, top_p=0.95, min_p=0.05))
    assert (build(cuts, 0.7, LARGE).top_k, build(cuts, 0.7, LARGE).min_probability) == (3, 0.03)
    assert [arm.card.family for arm in (cut, wide, cuts)] == ["min_p", "top_p", "cuts"]
    with pytest.raises(ValueError, match="'k' is no setting of it"):
        arms("min_p@k=3")


def test_mixed_weights_are_decoded_by_any_arm():
    half, with_led, control = arms("wise_0.5", "wise_0.75+led_countdown@depth=2", "top_k", "led_countdown@depth=2")[:3]
    assert (half.key, half.weights, half.reads_base, half.needs_base) == ("wise_0.5", 0.5, True, False)
    assert build(half, 1.2, SMALL) == Plain(Truncation(1.2))
    assert (with_led.key, with_led.weights) == ("wise_0.75+led_countdown@depth=2", 0.75)
    assert with_led.card.compared_with == ("plain", "wise_0.75", "led_countdown@depth=2")
    assert build(with_led, 1.0, SMALL).depths == (0, 1)
    assert half.card.group == with_led.card.group == "weights" and control.weights == 1.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wise_1", "alpha=1 must lie between 0 .* and 1"),
        ("wise_0", "alpha=0 must lie between"),
        ("wise_2.5", "alpha=2.5 must lie between"),
        ("wise_", "is unknown"),
        ("wise_0.5+nothing", "'nothing' cannot decode mixed weights; choose among plain"),
        ("wise_0.5+explore_base_countdown", "reads the base beside the policy"),
        ("wise_0.5@depth=3", "'plain' takes no settings"),
    ],
)
def test_bad_mixtures_of_weights(name, message):
    with pytest.raises(ValueError, match=message):
        arms(name)
