"""Loader for any dual encoder of open_clip or transformers: ``robustness.models.hub:load``.

The option ``model`` selects it::

    open_clip:ViT-B-16/laion2b_s34b_b88k      a published model: architecture/weights
    open_clip:ViT-B-16                        an architecture; its checkpoint as weights
    open_clip:hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224
    transformers:google/medsiglip-448         CLIP, SigLIP, vision-text dual encoder
    open_clip:DIRECTORY, transformers:DIRECTORY

Files come from the hub, its cache, or a directory with the same files as the hub's repository.
No code is executed from there: a model that needs its own code is refused. Source, licence and
citation are those of the model's card. Text: the sections in the option ``sections``, since the
hub does not state the sections that a model was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustness.encoder import DualEncoder
from robustness.errors import UsageError
from robustness.evalset import SECTIONS
from robustness.models import _checkpoint

_LOADER = "robustness.models.hub:load"
_OPTIONS = ("image_backend", "model", "sections", "tokenizer")
_BACKENDS = ("pil", "torchvision")


def load(weights: str | Path | None = None, device: str = "cpu", **options: Any) -> DualEncoder:
    """Load a model by its name on the hub, or from a directory.

    Args:
        weights: A checkpoint file for open_clip's architecture or configuration; for both
            libraries, a directory to take the model from in place of the hub.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        **options: ``model``, required, as above. ``sections``, the report sections that the
            model reads, in order (default ``findings,impression``). ``tokenizer``, a directory as
            transformers saves one, in place of the model's own. ``image_backend``, ``pil`` or
            ``torchvision``, the image processor of transformers (default: chosen by
            transformers).

    Raises:
        UsageError: An option is unknown or invalid, or the model is not supported.
        WeightsNotFoundError: The files are neither on this machine nor on the hub.
        WeightsError: A file is damaged or does not fit the model.
    """
    _checkpoint.reject_unknown_options(_LOADER, options, _OPTIONS)
    library, _, name = str(options.get("model", "")).partition(":")
    if library not in {"open_clip", "transformers"} or not name:
        raise UsageError(
            f"{_LOADER}: model {options.get('model', '')!r} is not open_clip:NAME or"
            " transformers:NAME, such as transformers:google/medsiglip-448"
        )
    sections = _sections(options.get("sections", "findings,impression"))
    tokenizer = _tokenizer(options.get("tokenizer"))
    backend = options.get("image_backend")
    if backend is not None and (backend not in _BACKENDS or library != "transformers"):
        raise UsageError(
            f"{_LOADER}: image_backend {backend!r} is not one of {', '.join(_BACKENDS)},"
            " or the model is not one of transformers; correct it or leave it out"
        )
    folder_or_file = Path(weights) if weights is not None else None
    if library == "open_clip":
        from robustness.models import _hub_open_clip

        return _hub_open_clip.load(
            name, folder_or_file, sections=sections, tokenizer=tokenizer, device=device
        )
    from robustness.models import _hub_transformers

    return _hub_transformers.load(
        name, folder_or_file, sections=sections, tokenizer=tokenizer, device=device, backend=backend
    )


def _sections(value: object) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    names = tuple(str(part).strip() for part in parts) if isinstance(parts, list | tuple) else ()
    if not names or not set(names) <= set(SECTIONS):
        raise UsageError(
            f"{_LOADER}: invalid sections {value!r}; allowed are {', '.join(SECTIONS)},"
            " separated by commas"
        )
    return names


def _tokenizer(value: object) -> Path | None:
    if value is None:
        return None
    path = Path(str(value))
    if not path.is_dir():
        raise UsageError(
            f"{_LOADER}: tokenizer {str(path)!r} is not a directory; name one in the format"
            " of transformers' save_pretrained"
        )
    return path
