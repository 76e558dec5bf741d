"""Images and reports per second that each model embeds, including preprocessing."""

from __future__ import annotations

import pytest

from robustness.embedding import embed_images, embed_reports

pytestmark = pytest.mark.benchmark

FEW, MANY = 8, 512
"""Images and texts per round, on a CPU and on a GPU, which needs more to be busy."""


def phantom(_folder):
    return "robustness.models.phantom:load", {}


def open_clip(folder):
    from _scratch import VIT, vit_checkpoint

    return "robustness.models.hub:load", {
        "weights": vit_checkpoint(folder / "vit.safetensors"),
        "model": VIT,
    }


def clip_form(name, filename):
    def make(folder):
        import torch
        from support import published_clip

        torch.save(published_clip.state(published_clip.FULL), folder / filename)
        return f"robustness.models.{name}:load", {"weights": folder / filename}

    return make


def bert_form(name, variant):
    def make(folder):
        from support import published

        state = published.draw(getattr(published, name)(variant, published.FULL), seed=0)
        write = {"medclip": published.medclip_zip, "cxr_clip": published.cxr_clip_tar}[name]
        return f"robustness.models.{name}:load", {
            "weights": write(folder / "weights", state),
            "tokenizer": published.write_full_vocabulary(folder / "vocabulary.txt"),
            "variant": variant,
        }

    return make


MODELS = {
    "phantom": phantom,
    "open_clip-ViT-B-32": open_clip,
    "clip": clip_form("clip", "ViT-B-32.pt"),
    "cxr_repair": clip_form("cxr_repair", "best_64_5e-05_original_22000_0.864.pt"),
    "medclip-swin": bert_form("medclip", "swin"),
    "medclip-resnet": bert_form("medclip", "resnet"),
    "cxr_clip-swin": bert_form("cxr_clip", "swin"),
    "cxr_clip-resnet": bert_form("cxr_clip", "resnet"),
}


@pytest.fixture(scope="module", params=MODELS)
def encoder(request, tmp_path_factory, device):
    """Load one model at a time; delete its checkpoint, which may be large."""
    import shutil

    from robustness.encoder import load

    folder = tmp_path_factory.mktemp("weights")
    loader, options = MODELS[request.param](folder)
    loaded = load(loader, device=device, **options)
    shutil.rmtree(folder)
    return loaded


@pytest.fixture(scope="module")
def drawn(device):
    from robustness.evalset import load

    return load(f"phantom:{FEW if device == 'cpu' else MANY}")


def test_images(timed, encoder, drawn):
    images = [drawn.decode(pair) for pair in drawn.pairs]
    embedded = timed(embed_images, encoder, images, items=len(images), rounds=3)
    assert len(embedded) == len(images)


def test_reports(timed, encoder, drawn):
    texts = [encoder.text_policy.text(pair.report) for pair in drawn.pairs]
    embedded = timed(embed_reports, encoder, texts, items=len(texts), rounds=3)
    assert len(embedded) == len(texts)
