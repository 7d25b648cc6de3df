"""The small base model's tokenizer: one token per word of a closed vocabulary."""

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"


def word_tokenizer(words: Sequence[str], model_max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer that splits on white space and knows `words`, in that order, after pad, eos and unk.

    Decoding joins words by single spaces, so a text of known words survives the round trip. `<think>` and `</think>`
    are ordinary words: they stay in decoded text. Raises ValueError on a repeated word or one with white space.
    """
    vocabulary = [PAD, EOS, UNKNOWN, *words]
    if len(set(vocabulary)) != len(vocabulary):
        repeated = sorted({word for word in vocabulary if vocabulary.count(word) > 1})
        raise ValueError(f"words {repeated} are given twice: a vocabulary lists each word once")
    if bad := [word for word in words if word.split() != [word]]:
        raise ValueError(f"words {bad} hold white space or are empty: the tokenizer splits on white space")
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )
