"""Published formats of MedCLIP and CXR-CLIP: keys and shapes, and files with seeded weights.

Written from the published files' own listing and kept apart from the models' code: nothing
here imports ``models``. Key names are those of transformers 4, which the files have.
"""

from __future__ import annotations

import io
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

WINDOW = 7
RESNET_BLOCKS = (3, 4, 6, 3)
DIM = 512


@dataclass(frozen=True)
class Size:
    """Size of the towers; ResNet-50 has a fixed size."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    width: int
    depths: tuple[int, ...]
    swin_heads: tuple[int, ...]


FULL = Size(28_996, 768, 12, 12, 3072, 96, (2, 2, 6, 2), (3, 6, 12, 24))
_PIECES = (
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Heart", "heart", "size", "normal", "no"]
    + ["pneumothorax", "effusion", "left", "right", "acute", "disease", "cafe", "."]
    + [chr(code) for code in range(ord("a"), ord("z") + 1)]
    + [f"##{chr(code)}" for code in range(ord("a"), ord("z") + 1)]
    + [*"ABCXYZ0123456789,;:()/-", "é", "É", "##é"]
)
SMALL = Size(len(_PIECES), 48, 4, 4, 96, 12, (2, 2, 2, 2), (1, 2, 2, 4))


def write_vocabulary(path):
    """Write a small cased WordPiece vocabulary, one entry per line."""
    path.write_text("".join(f"{piece}\n" for piece in _PIECES), encoding="utf-8")
    return path


def write_full_vocabulary(path):
    """Write a vocabulary with as many entries as Bio_ClinicalBERT, which passes the size check."""
    words = [*_PIECES[:5], *(f"w{index}" for index in range(FULL.vocabulary - 5))]
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


# --- keys and shapes -------------------------------------------------------------------


def _linear(name, rows, columns):
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def bert(prefix, size):
    """Return the keys of BERT with its pooler and the persistent ``position_ids``."""
    h = size.hidden
    table = {
        "embeddings.position_ids": (1, 512),
        "embeddings.word_embeddings.weight": (size.vocabulary, h),
        "embeddings.position_embeddings.weight": (512, h),
        "embeddings.token_type_embeddings.weight": (2, h),
        **_norm("embeddings.LayerNorm", h),
        **_linear("pooler.dense", h, h),
    }
    for layer in range(size.layers):
        name = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            table |= _linear(f"{name}.attention.self.{part}", h, h)
        table |= _linear(f"{name}.attention.output.dense", h, h)
        table |= _norm(f"{name}.attention.output.LayerNorm", h)
        table |= _linear(f"{name}.intermediate.dense", size.feed_forward, h)
        table |= _linear(f"{name}.output.dense", h, size.feed_forward)
        table |= _norm(f"{name}.output.LayerNorm", h)
    return {f"{prefix}{key}": shape for key, shape in table.items()}


def swin(prefix, size):
    """Return the keys of Swin with the persistent ``relative_position_index``."""
    w = size.width
    table = {"embeddings.patch_embeddings.projection.weight": (w, 3, 4, 4)}
    table |= {"embeddings.patch_embeddings.projection.bias": (w,)}
    table |= _norm("embeddings.norm", w)
    for stage, (depth, heads) in enumerate(zip(size.depths, size.swin_heads, strict=True)):
        for block in range(depth):
            name = f"encoder.layers.{stage}.blocks.{block}"
            attention = f"{name}.attention.self"
            table |= _norm(f"{name}.layernorm_before", w)
            table[f"{attention}.relative_position_bias_table"] = ((2 * WINDOW - 1) ** 2, heads)
            table[f"{attention}.relative_position_index"] = (WINDOW**2, WINDOW**2)
            for part in ("query", "key", "value"):
                table |= _linear(f"{attention}.{part}", w, w)
            table |= _linear(f"{name}.attention.output.dense", w, w)
            table |= _norm(f"{name}.layernorm_after", w)
            table |= _linear(f"{name}.intermediate.dense", 4 * w, w)
            table |= _linear(f"{name}.output.dense", w, 4 * w)
        if stage + 1 < len(size.depths):
            table[f"encoder.layers.{stage}.downsample.reduction.weight"] = (2 * w, 4 * w)
            table |= _norm(f"encoder.layers.{stage}.downsample.norm", 4 * w)
            w *= 2
    table |= _norm("layernorm", w)
    return {f"{prefix}{key}": shape for key, shape in table.items()}


def resnet(prefix):
    """Return the keys of ResNet-50 without its last layer."""

    def batch_norm(name, width):
        running = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
        return _norm(name, width) | running | {f"{name}.num_batches_tracked": ()}

    table = {"conv1.weight": (64, 3, 7, 7), **batch_norm("bn1", 64)}
    inputs = 64
    for stage, blocks in enumerate(RESNET_BLOCKS, start=1):
        narrow = 64 * 2 ** (stage - 1)
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            table[f"{name}.conv1.weight"] = (narrow, inputs, 1, 1)
            table[f"{name}.conv2.weight"] = (narrow, narrow, 3, 3)
            table[f"{name}.conv3.weight"] = (4 * narrow, narrow, 1, 1)
            for index, width in enumerate((narrow, narrow, 4 * narrow), start=1):
                table |= batch_norm(f"{name}.bn{index}", width)
            if block == 0:
                table[f"{name}.downsample.0.weight"] = (4 * narrow, inputs, 1, 1)
                table |= batch_norm(f"{name}.downsample.1", 4 * narrow)
            inputs = 4 * narrow
    return {f"{prefix}{key}": shape for key, shape in table.items()}


def medclip(variant, size):
    """Return the keys and shapes of MedCLIP's ``pytorch_model.bin``."""
    table = {"logit_scale": (), "text_model.projection_head.weight": (DIM, size.hidden)}
    table |= bert("text_model.model.", size)
    if variant == "resnet":
        return table | resnet("vision_model.model.") | {"vision_model.model.fc.weight": (DIM, 2048)}
    table["vision_model.projection_head.weight"] = (DIM, size.width * 8)
    return table | swin("vision_model.model.", size)


def cxr_clip(variant, size):
    """Return the keys and shapes of the ``model`` in CXR-CLIP's ``.tar`` files."""
    table = {"logit_scale": (), **bert("text_encoder.text_encoder.", size)}
    table |= _linear("text_projection.projection", DIM, size.hidden)
    if variant == "resnet":
        return (
            table
            | resnet("image_encoder.resnet.")
            | _linear("image_projection.projection", DIM, 2048)
        )
    table |= _linear("image_projection.projection", DIM, size.width * 8)
    return table | swin("image_encoder.image_encoder.", size)


# --- weights from a seed ---------------------------------------------------------------


def draw(table, seed):
    """Draw weights for a table, scaled so that activations neither vanish nor explode."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return {key: _tensor(torch, key, shape, generator) for key, shape in table.items()}


def _tensor(torch, key, shape, generator):
    name = key.rpartition(".")[2]
    fixed = {
        "position_ids": torch.arange(512)[None],
        "relative_position_index": torch.zeros(WINDOW**2, WINDOW**2, dtype=torch.int64),
        "num_batches_tracked": torch.tensor(1000),
        "logit_scale": torch.tensor(4.6),
    }
    if name in fixed:
        return fixed[name]
    noise = torch.randn(shape, generator=generator)
    if name == "running_var":
        return 0.5 + noise.abs()
    if len(shape) == 1:
        # Training leaves the last norm of a residual branch small.
        scale = 0.3 if ".bn3." in key else 1.0
        return 0.1 * noise + (scale if name == "weight" else 0)
    if name == "relative_position_bias_table" or "_embeddings." in key:
        return 0.5 * noise
    return noise * (2 / noise[0].numel()) ** 0.5


# --- files in the published format -------------------------------------------------------


def medclip_zip(path, state):
    """Write the zip that MedCLIP is published as."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pytorch_model.bin", buffer.getvalue())
    return path


def cxr_clip_tar(path, state):
    """Write the torch.save file that CXR-CLIP is published as, with omegaconf's nodes."""
    import torch

    key = next(iter(state))
    moments = {"step": 10, "exp_avg": torch.ones_like(state[key])}
    with fake_omegaconf() as node:
        content = {
            "model": state,
            "optimizer": {"state": {0: moments}, "param_groups": [{"lr": 5e-5, "params": [0]}]},
            "scheduler": {"base_lrs": [5e-5], "last_epoch": 10},
            "config": node({"model": node({"name": "clip_custom"}), "lr": node(5e-5)}),
            "epoch": 10,
            "train_loss": 0.5,
        }
        torch.save(content, path)
    return path


@contextmanager
def fake_omegaconf():
    """Provide classes that pickle under omegaconf's names, without omegaconf."""
    modules = {name: ModuleType(name) for name in ("omegaconf", "omegaconf.dictconfig")}

    class DictConfig:
        def __init__(self, content):
            self.__dict__["_content"] = content
            self.__dict__["_metadata"] = {"ref_type": dict, "object_type": type(content)}

    DictConfig.__module__ = "omegaconf.dictconfig"
    DictConfig.__qualname__ = "DictConfig"
    modules["omegaconf.dictconfig"].DictConfig = DictConfig
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield DictConfig
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
