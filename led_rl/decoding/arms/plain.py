"""Plain sampling, greedy decoding, and the control that shares LED's truncation and nothing else."""

from collections.abc import Mapping, Sequence

from led_rl.arm_card import PLAIN, TOP_K, ArmCard, control_card, key_of, plain_card, rival_card
from led_rl.decoding.arms.arm import Arm, Build, NamedFamily, Served, no_changes
from led_rl.decoding.config import Matched
from led_rl.decoding.samplers import Greedy, Plain, Sampler
from led_rl.errors import UserError
from led_rl.models.lens import Lens

GREEDY = "greedy"


class PlainFamily(NamedFamily):
    """`plain`: temperature and the matched truncation. `greedy`: the most probable token."""

    def names(self) -> Sequence[str]:
        return (PLAIN, GREEDY)

    def arms(self, name: str, changes: Mapping[str, str], matched: Matched, others: Sequence[ArmCard]) -> list[Arm]:
        no_changes(name, changes)
        if name == GREEDY:
            card = rival_card(GREEDY, settings=matched.settings)
            return [Arm(card, lambda temperature, lens, hard: Greedy(), served=Served(greedy=True))]
        return [Arm(plain_card({"top_k": 0, **matched.settings}), sample_top_k(None, matched), served=Served())]


class ControlFamily(NamedFamily):
    """`top_k`: one control for every k among the arms beside it that are to be compared with one."""

    asks_for_others = True

    def names(self) -> Sequence[str]:
        return (TOP_K,)

    def arms(self, name: str, changes: Mapping[str, str], matched: Matched, others: Sequence[ArmCard]) -> list[Arm]:
        no_changes(name, changes)
        wanted = [card for card in others if key_of(TOP_K, card.top_k) in card.compared_with]
        ks = sorted({card.top_k for card in wanted if card.top_k is not None})
        if not ks:
            raise UserError("arm 'top_k' is the control of a LED arm and takes its k: name a LED arm beside it")
        return [
            Arm(control_card(k, {"top_k": k, **matched.settings}), sample_top_k(k, matched), served=Served(top_k=k))
            for k in ks
        ]


def sample_top_k(top_k: int | None, matched: Matched) -> Build:
    """Sampling from the final layer's k most probable tokens; None: from all."""

    def build(temperature: float, lens: Lens, hard_tokens: tuple[int, ...]) -> Sampler:
        if top_k is not None and top_k > lens.vocabulary:
            raise UserError(f"top_k={top_k} is above the vocabulary of {lens.vocabulary} tokens: lower it")
        return Plain(matched.truncation(temperature, top_k or 0))

    return build
