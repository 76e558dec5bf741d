"""Tokenizer of Bio_ClinicalBERT, the text tower of MedCLIP and CXR-CLIP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor
from transformers import BertTokenizer
from transformers.utils.hub import cached_file

from robustness.errors import WeightsError, WeightsNotFoundError

HUB_ID = "emilyalsentzer/Bio_ClinicalBERT"
"""Hub repository of the vocabulary (MIT), which is the one of bert-base-cased."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokenizer:
    """WordPiece tokenizer with a cased vocabulary and lower-cased text, as in training.

    Args:
        vocabulary: Ids by token.
        max_tokens: The maximum number of tokens, [CLS] and [SEP] included.

    Attributes:
        sha256: The SHA-256 of the vocabulary and ``max_tokens``.
    """

    def __init__(self, vocabulary: Mapping[str, int], max_tokens: int) -> None:
        # The published tokenizer has no configuration. Both models were trained with its
        # default, which lower-cases and strips accents although the vocabulary is cased.
        self._backend = BertTokenizer(vocab=dict(vocabulary), do_lower_case=True)
        self._max_tokens = max_tokens
        parts = json.dumps([max_tokens, sorted(vocabulary.items())])
        self.sha256 = hashlib.sha256(parts.encode()).hexdigest()

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokenise texts.

        Args:
            texts: At least one; a text may be empty.

        Returns:
            Ids and mask, int64 ``[B, T]`` with T the length of the longest text; the mask is 1
            for a token and 0 for padding. A truncated text still ends with [SEP].
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
    """Create the tokenizer from a local vocabulary or the one on the hub.

    Args:
        source: A ``vocab.txt`` or ``tokenizer.json``, or a directory with either as
            transformers saves it; None for the hub.
        size: The vocabulary size of the text tower.
        max_tokens: The maximum number of tokens.

    Raises:
        WeightsNotFoundError: The vocabulary is not found, or the hub cannot be reached.
        WeightsError: The file is not a vocabulary, or has another size.
    """
    path = _from_hub() if source is None else Path(source)
    if path.is_dir():
        candidates = [path / name for name in ("vocab.txt", "tokenizer.json")]
        path = next((file for file in candidates if file.is_file()), candidates[0])
    try:
        text = path.read_text(encoding="utf-8")
        vocabulary = _from_json(text) if path.suffix == ".json" else _from_lines(text)
    except FileNotFoundError as error:
        raise WeightsNotFoundError(
            f"vocabulary {str(path)!r} not found; set tokenizer=PATH to the vocab.txt of"
            f" {HUB_ID}, or to the directory that contains it"
        ) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _unusable(path, f"not a WordPiece vocabulary ({error!s:.100})") from error
    if missing := [token for token in _SPECIAL if token not in vocabulary]:
        raise _unusable(path, f"it lacks {', '.join(missing)}; a WordPiece vocabulary has them")
    if len(vocabulary) != size or sorted(vocabulary.values()) != list(range(size)):
        raise _unusable(
            path,
            f"it has {len(vocabulary):,} entries, the text tower {size:,}; use that of {HUB_ID}",
        )
    return Tokenizer(vocabulary, max_tokens)


def _from_hub() -> Path:
    # The cache first: without a network, the hub's retries take half a minute.
    for local_files_only in (True, False):
        try:
            return Path(str(cached_file(HUB_ID, "vocab.txt", local_files_only=local_files_only)))
        except OSError as error:
            failure = error
    raise WeightsNotFoundError(
        f"vocabulary of {HUB_ID}: not in the hub's cache, and the hub cannot be reached;"
        " set tokenizer=PATH to its vocab.txt (that of bert-base-cased) or a directory"
    ) from failure


def _from_lines(text: str) -> dict[str, int]:
    return {token: index for index, token in enumerate(text.removesuffix("\n").split("\n"))}


def _from_json(text: str) -> dict[str, int]:
    return {str(token): int(index) for token, index in json.loads(text)["model"]["vocab"].items()}


def _unusable(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"vocabulary {str(path)!r} cannot be used: {' '.join(reason.split())}")
