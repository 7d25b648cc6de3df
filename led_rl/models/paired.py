"""Two models that read the same tokens side by side: a policy, and the base it was trained from.

The pair is a lens of the policy with one readout more, the base's output, which has a depth of its own beyond the
policy's embeddings. One key-value cache serves both: its first layers are the policy's, the rest the base's.

Letters: B rows, S positions, H width, V vocabulary, L layers of the policy.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from transformers.cache_utils import Cache

from led_rl.errors import UserError
from led_rl.models.lens import Lens, Reading


class PairedLens(Lens):
    """The policy's lens, whose `base_depth` is the base's final layer, read through the base's own norm and head.

    Both models run at every `read`, wanted or not: what the base says next depends on all it has seen.

    Args:
        model: the policy; as for `Lens`.
        base: the model to run beside it; on the same device. It may be the policy itself.

    Raises:
        ValueError: as `Lens`, or if the two do not share a vocabulary.
    """

    def __init__(self, model: nn.Module, base: nn.Module) -> None:
        super().__init__(model)
        self.base = Lens(base)
        if self.base.vocabulary != self.vocabulary:
            raise UserError(
                f"the base has a vocabulary of {self.base.vocabulary} tokens and the policy one of {self.vocabulary}: "
                "a token must mean the same to both; name the base that the policy was trained from"
            )

    @property
    def base_depth(self) -> int:
        """The base's final layer, as a depth: L + 1 (depth L is the policy's embeddings)."""
        return self.layers + 1

    @property
    def cache_layers(self) -> int:
        return self.layers + self.base.layers

    def read(
        self,
        input_ids: Tensor | None,
        depths: Sequence[int],
        *,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        last_only: bool = False,
    ) -> Reading:
        """As `Lens.read`, of both models; `base_depth` is always read. ValueError without `input_ids`: an embedding of
        the policy means nothing to the base."""
        if input_ids is None:
            raise ValueError("a policy and its base read tokens: mixtures of one's embeddings are not the other's")
        own, beside = (None, None) if cache is None else _split(cache, self.layers)
        reading = super().read(
            input_ids,
            [depth for depth in depths if depth != self.base_depth],
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=own,
            last_only=last_only,
        )
        base = self.base.read(
            input_ids,
            (0,),
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=beside,
            last_only=last_only,
        )
        return Reading({**reading.states, self.base_depth: base.states[0]})

    def logits(self, state: Tensor, depth: int, final_norm: bool) -> Tensor:
        if depth == self.base_depth:
            return self.base.logits(state, 0, True)
        return super().logits(state, depth, final_norm)

    def check_depths(self, depths: Sequence[int]) -> None:
        super().check_depths([depth for depth in depths if depth != self.base_depth])

    def check_logits(self) -> None:
        super().check_logits()
        self.base.check_logits()


def _split(cache: Cache, layers: int) -> tuple[Cache, Cache]:
    """Two views of one cache: a layer keeps its own keys and values, so a cache is no more than a list of layers."""
    return Cache(layers=cache.layers[:layers]), Cache(layers=cache.layers[layers:])
