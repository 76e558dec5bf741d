"""Attributes that an encoder must state, checked when it is loaded."""

from __future__ import annotations

import pytest
import torch

from robustness.encoder import DualEncoder, TextPolicy, load
from robustness.errors import LoaderError

SOUND = {
    "fingerprint": "0123456789abcdef",
    "text_policy": TextPolicy(("findings",), 99, "none"),
    "embedding_dim": 8,
    "device": "cpu",
    "details": {},
}


class Stated(DualEncoder):
    preprocess = encode_images = encode_reports = lambda self, *_: None


def made(weights=None, device="cpu", facts=None):
    encoder = Stated()
    for name, value in facts.items():
        setattr(encoder, name, value)
    return encoder


@pytest.mark.parametrize("name", SOUND)
def test_what_is_not_stated_is_named(name):
    facts = {key: value for key, value in SOUND.items() if key != name}
    with pytest.raises(LoaderError) as caught:
        load(f"{__name__}:made", facts=facts)
    assert str(caught.value) == (
        f"model loader '{__name__}:made' returned a Stated without {name}; set it as documented in"
        " robustness.encoder.DualEncoder"
    )


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("fingerprint", None, "None"),
        ("fingerprint", b"0123456789abcdef", "b'0123456789abcdef'"),
        ("text_policy", ("findings",), "('findings',)"),
        ("embedding_dim", None, "None"),
        ("embedding_dim", 8.0, "8.0"),
        ("device", torch.device("cpu"), "device(type='cpu')"),
        ("details", None, "None"),
        ("details", "x" * 900, "'" + "x" * 59),
    ],
)
def test_what_is_stated_otherwise_than_it_is_meant_is_named(name, value, shown):
    with pytest.raises(LoaderError) as caught:
        load(f"{__name__}:made", facts={**SOUND, name: value})
    kind = {"text_policy": "TextPolicy", "embedding_dim": "int", "details": "dict"}.get(name, "str")
    assert str(caught.value) == (
        f"model loader '{__name__}:made' returned a Stated whose {name} is {shown}, not a {kind};"
        " set it as documented in robustness.encoder.DualEncoder"
    )


def test_what_is_stated_as_it_is_meant_is_taken():
    assert load(f"{__name__}:made", facts=SOUND).fingerprint == SOUND["fingerprint"]
