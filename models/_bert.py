"""Bio_ClinicalBERT, the text tower of MedCLIP and of CXR-CLIP, and what both models share."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils.hub import cached_file

from robustness.errors import UsageError, WeightsError, WeightsNotFoundError

HUB_ID = "emilyalsentzer/Bio_ClinicalBERT"
"""Where the hub keeps the vocabulary (MIT); it is that of bert-base-cased."""

EMBEDDING_DIM = 512
"""The length of both models' embeddings."""

TOLERATED = ("embeddings.position_ids",)
"""Keys that older versions of transformers stored though they hold no weights."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def bert_config() -> BertConfig:
    """The shape of Bio_ClinicalBERT."""
    return BertConfig(
        vocab_size=28_996,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
    )


class Tokenizer:
    """WordPiece over a cased vocabulary, its text lower-cased, as both models were trained.

    Args:
        vocabulary: Ids by token.
        max_tokens: How many tokens are kept, [CLS] and [SEP] included.

    Attributes:
        sha256: A hash of the vocabulary and of how many tokens are kept.
    """

    def __init__(self, vocabulary: Mapping[str, int], max_tokens: int) -> None:
        # The published tokenizer has no configuration, so its default has always lower-cased
        # and stripped accents, although the vocabulary is cased.
        self._backend = BertTokenizer(vocab=dict(vocabulary), do_lower_case=True)
        self._max_tokens = max_tokens
        parts = json.dumps([max_tokens, sorted(vocabulary.items())])
        self.sha256 = hashlib.sha256(parts.encode()).hexdigest()

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokenises texts.

        Args:
            texts: At least one; a text may be empty.

        Returns:
            Ids and mask, int64 ``[B, T]``, T the longest text's; the mask is 1 where a token
            is, 0 where there is padding. A text that is cut still ends with [SEP].
        """
        encoded = self._backend(
            list(texts),
            truncation=True,
            max_length=self._max_tokens,
            padding="longest",
            return_tensors="pt",
        )
        return encoded["input_ids"], encoded["attention_mask"]


def load_tokenizer(source: str | Path | None, size: int, max_tokens: int) -> Tokenizer:
    """Makes the tokenizer from a vocabulary on this machine, or from the hub's.

    Args:
        source: A ``vocab.txt`` or ``tokenizer.json``, or a directory with either as
            transformers saves it; None for the hub.
        size: How many entries the text tower knows.
        max_tokens: How many tokens are kept.

    Raises:
        WeightsNotFoundError: The vocabulary is not there, or the hub is out of reach.
        WeightsError: It is no vocabulary, or of another size.
    """
    path = _from_hub() if source is None else Path(source)
    if path.is_dir():
        inside = [path / name for name in ("vocab.txt", "tokenizer.json")]
        path = next((file for file in inside if file.is_file()), inside[0])
    try:
        text = path.read_text(encoding="utf-8")
        vocabulary = _from_json(text) if path.suffix == ".json" else _from_lines(text)
    except FileNotFoundError as error:
        raise WeightsNotFoundError(
            f"vocabulary {str(path)!r} is not there; tokenizer=PATH names the vocab.txt of"
            f" {HUB_ID}, or the directory that holds it"
        ) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _unusable(path, f"not a WordPiece vocabulary ({error!s:.100})") from error
    if missing := [token for token in _SPECIAL if token not in vocabulary]:
        raise _unusable(path, f"it lacks {', '.join(missing)}; a WordPiece vocabulary has them")
    if len(vocabulary) != size or sorted(vocabulary.values()) != list(range(size)):
        raise _unusable(
            path, f"it has {len(vocabulary):,} entries, the text tower {size:,}; take {HUB_ID}'s"
        )
    return Tokenizer(vocabulary, max_tokens)


def _from_hub() -> Path:
    try:
        # The cache first: asking the hub whether the file is current takes its retries, half a
        # minute where there is no network.
        return Path(str(cached_file(HUB_ID, "vocab.txt", local_files_only=True)))
    except OSError:
        return _downloaded()


def _downloaded() -> Path:
    try:
        return Path(str(cached_file(HUB_ID, "vocab.txt")))
    except OSError as error:
        raise WeightsNotFoundError(
            f"vocabulary of {HUB_ID}: not in the hub's cache, and the hub is out of reach;"
            " tokenizer=PATH names its vocab.txt (that of bert-base-cased) or a directory"
        ) from error


def _from_lines(text: str) -> dict[str, int]:
    return {token: index for index, token in enumerate(text.removesuffix("\n").split("\n"))}


def _from_json(text: str) -> dict[str, int]:
    return {str(token): int(index) for token, index in json.loads(text)["model"]["vocab"].items()}


def _unusable(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"vocabulary {str(path)!r} cannot be used: {' '.join(reason.split())}")


class Network(nn.Module, ABC):
    """Both towers under the published keys, with what is taken from each."""

    @abstractmethod
    def image_features(self, pixels: Tensor) -> Tensor:
        """Projects images, float32 ``[B, 3, 224, 224]``, to ``[B, 512]``."""

    @abstractmethod
    def text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Projects token ids, int64 ``[B, T]`` with their mask, to ``[B, 512]``."""


def build_bert(config: BertConfig) -> BertModel:
    """The text tower; its pooler is unused but is published with it."""
    return BertModel(config, add_pooling_layer=True)


def choose(loader: str, option: str, value: object, allowed: Sequence[str]) -> str:
    """An option's value, checked.

    Raises:
        UsageError: It is not one of those allowed.
    """
    if isinstance(value, str) and value in allowed:
        return value
    raise UsageError(f"{loader}: {option}={value!r} is not one of {', '.join(allowed)}")


def refuse_unknown(loader: str, unknown: Mapping[str, object], allowed: Sequence[str]) -> None:
    """Refuses options that a loader does not have.

    Raises:
        UsageError: There are some.
    """
    if unknown:
        raise UsageError(
            f"{loader} takes no option {', '.join(map(repr, sorted(unknown)))};"
            f" it takes {', '.join(allowed)}"
        )
