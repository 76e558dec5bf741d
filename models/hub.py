"""Any dual encoder of open_clip or transformers, by name: ``models.hub:load``.

The option ``model`` says which::

    open_clip:ViT-B-16/laion2b_s34b_b88k      a published model: architecture/weights
    open_clip:ViT-B-16                        an architecture; its checkpoint as weights
    open_clip:hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224
    transformers:google/medsiglip-448         CLIP, SigLIP, vision-text dual encoder
    open_clip:DIRECTORY, transformers:DIRECTORY

Files come from the hub, its cache, or a directory that holds what the hub's repository
holds. No code is taken from there: a model that needs its own is refused. Source and licence
are those of the model's card. Which sections of a report a model was trained on the hub does
not tell; the option ``sections`` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustness.encoder import DualEncoder
from robustness.errors import UsageError
from robustness.evalset import SECTIONS

_OPTIONS = ("image_backend", "model", "sections", "tokenizer")
_BACKENDS = ("pil", "torchvision")


def load(weights: str | Path | None = None, device: str = "cpu", **options: Any) -> DualEncoder:
    """Loads a model by its name on the hub, or from a directory.

    Args:
        weights: A checkpoint file for open_clip's architecture or configuration; for both
            libraries, a directory to take the model from in place of the hub.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        **options: ``model``, required, as above. ``sections``, what the model reads of a
            report, in order (default ``findings,impression``). ``tokenizer``, a directory as
            transformers saves one, in place of the model's own. ``image_backend``, ``pil`` or
            ``torchvision``, which of transformers' two image processors prepares images
            (default: its own choice).

    Raises:
        UsageError: An option is unknown or malformed, or no such model is supported.
        WeightsNotFoundError: Its files are not on this machine and the hub gives none.
        WeightsError: A file is damaged or does not fit the model.
    """
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        raise UsageError(
            f"models.hub:load takes no option {', '.join(map(repr, unknown))};"
            f" it takes {', '.join(_OPTIONS)}"
        )
    library, _, name = str(options.get("model", "")).partition(":")
    if library not in {"open_clip", "transformers"} or not name:
        raise UsageError(
            f"models.hub:load: model {options.get('model', '')!r} is not open_clip:NAME or"
            " transformers:NAME, as transformers:google/medsiglip-448 is"
        )
    sections = _sections(options.get("sections", "findings,impression"))
    tokenizer = _tokenizer(options.get("tokenizer"))
    backend = options.get("image_backend")
    if backend is not None and (backend not in _BACKENDS or library != "transformers"):
        raise UsageError(
            f"models.hub:load: image_backend {backend!r} is none of {', '.join(_BACKENDS)},"
            " or the model is not one of transformers; correct it or leave it out"
        )
    folder_or_file = Path(weights) if weights is not None else None
    if library == "open_clip":
        from models import _hub_open_clip

        return _hub_open_clip.load(
            name, folder_or_file, sections=sections, tokenizer=tokenizer, device=device
        )
    from models import _hub_transformers

    return _hub_transformers.load(
        name, folder_or_file, sections=sections, tokenizer=tokenizer, device=device, backend=backend
    )


def _sections(given: object) -> tuple[str, ...]:
    parts = given.split(",") if isinstance(given, str) else given
    names = tuple(str(part).strip() for part in parts) if isinstance(parts, list | tuple) else ()
    if not names or not set(names) <= set(SECTIONS):
        raise UsageError(
            f"models.hub:load: sections {given!r} are not some of {', '.join(SECTIONS)},"
            " separated by commas"
        )
    return names


def _tokenizer(given: object) -> Path | None:
    if given is None:
        return None
    path = Path(str(given))
    if not path.is_dir():
        raise UsageError(
            f"models.hub:load: tokenizer {str(path)!r} is no directory; name one as"
            " transformers' save_pretrained writes it"
        )
    return path
