"""Learn tokenizers for designs that differ only in size, from one sample."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from megalite.config.errors import ConfigError, DataError
from megalite.tokenizer.formats.byte_level import SPLITS, byte_characters, byte_level_bpe, to_characters
from megalite.tokenizer.learn.bpe_trainers import Merges, train_merges
from megalite.tokenizer.learn.design import Design
from megalite.tokenizer.sample.sampling import Sample

Made = tuple[Tokenizer, bytes | None, str]
"""A tokenizer, the content of its ``tokenizer.model`` or None, and a phrase that names the trainer."""


def learn_vocabularies(sample: Sample, designs: Sequence[Design]) -> list[Made]:
    """Return a tokenizer for each design. Raises: ConfigError, DataError."""
    if designs[0].model == "bpe":
        most = max(design.learned for design in designs)
        merges: Merges = []
        trainer = "no trainer: bytes alone"
        if most:
            merges, trainer = train_merges(sample.training, designs[0].digits_rule, most, designs[0].trainer)
        # on the same text, a smaller vocabulary is the beginning of a larger one
        return [(_byte_level(merges, design), None, trainer) for design in designs]
    from megalite.tokenizer.formats.sentencepiece_tokenizer import open_sentencepiece
    from megalite.tokenizer.learn.sentencepiece_trainer import train_sentencepiece

    models = [train_sentencepiece(sample.training, design) for design in designs]
    opened = [open_sentencepiece(model, (), "the trained model") for model in models]
    return [(tokenizer, model, "sentencepiece") for (tokenizer, *_), model in zip(opened, models, strict=True)]


def _byte_level(merges: Merges, design: Design) -> Tokenizer:
    special, learned = design.special_in_order(), list(dict.fromkeys(left + right for left, right in merges))
    if len(learned) < design.learned:
        raise DataError(
            f"--vocab_size {design.vocab_size}: the text gives only {design.total - design.learned + len(learned)} tokens; "
            f"use more text or a smaller vocabulary"
        )
    end = 0
    if design.learned:
        last = learned[design.learned - 1]
        end = next(number for number, (left, right) in enumerate(merges) if left + right == last) + 1
    if clash := ({*byte_characters(), *map(to_characters, learned)} & set(special)):
        raise ConfigError(f"special token '{min(clash)}': also occurs as a token of the text; choose one that does not")
    return byte_level_bpe(merges[:end], special, SPLITS[design.digits_rule])
