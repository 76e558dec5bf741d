"""Code that runs on the device of the images: on the CPU, and on a GPU if there is one."""

from __future__ import annotations

import numpy as np
import pytest
from support.decoded_images import Source, pixels
from support.ranking import brute_force, grid_rows

from robustness.perturbation.occlusion import FILLS, PATTERNS, Occlusion

SIZES = [(300, 260), (97, 131), (512, 512), (200, 640)]
OCCLUSIONS = [Occlusion("square", 0.0), Occlusion("square", 0.3), Occlusion("grid", 0.5, "grey", 7)]


@pytest.fixture(params=["cpu", "cuda:0"])
def device(request):
    import torch

    from robustness.embedding.devices import measuring

    if request.param != "cpu" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    with measuring(1):
        yield request.param


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size, np.uint8) for size in SIZES]


def on_device(preprocess, images, device):
    from robustness.embedding.padded import pad

    batch = pad(images, pinned=device != "cpu")
    return preprocess(batch.images.to(device, non_blocking=True), batch.sizes).cpu()


def test_pixels_equal_those_of_the_host(device, images):
    """One grey level is at least 0.004."""
    import torch

    from robustness.models import clip, cxr_clip, cxr_repair, medclip
    from robustness.models.phantom import load

    here, there = load(), load(device=device)
    for host, made in [
        (here.preprocess, there.preprocess_on_device),
        *(
            (preprocessing.host, preprocessing.device)
            for preprocessing in (
                clip._preprocessing(224),
                *cxr_clip.PUBLICATION.preprocessing.values(),
                medclip.PUBLICATION.preprocessing["swin"],
                cxr_repair._preprocessing(224, antialias=False),
                cxr_repair._preprocessing(224, antialias=True),
            )
        ),
    ]:
        found = on_device(made, images, device)
        torch.testing.assert_close(found, host(images), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["CLIPImageProcessor", "SiglipImageProcessor"])
def test_transformers_pixels_are_within_a_grey_level_of_the_host_s(device, images, name):
    """On a GPU torchvision resamples in float32 and rounds, on the CPU in whole numbers."""
    import transformers

    from robustness.models._hub_transformers import _Processor

    made = _Processor(getattr(transformers, name)(do_normalize=False, do_rescale=False))
    found, host = on_device(made.device, images, device), made.host(images)
    assert found.shape == host.shape
    assert (found.float() - host.float()).abs().max() <= (0 if device == "cpu" else 1)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("fill", FILLS)
def test_occlusion_equals_that_of_apply(device, images, pattern, fill):
    from robustness.embedding.padded import apply_on_device, pad

    occlusion = Occlusion(pattern, 0.37, fill, 5)
    batch = pad(images, pinned=device != "cpu")
    names = [f"image-{number}" for number in range(len(images))]
    hidden = apply_on_device(occlusion, batch.images.to(device), names, batch.sizes).cpu().numpy()
    for rows, image, name in zip(hidden, images, names, strict=True):
        found = rows[: image.shape[0], : image.shape[1]]
        assert np.array_equal(found, occlusion.apply(image, name))


@pytest.mark.parametrize("room", [0, 100, 10**6])
def test_images_are_complete_streamed_or_cached(device, room):
    from robustness.embedding.padded import DeviceBatches

    source = Source(40)
    batches = [source.pairs[start : start + 4] for start in range(0, 40, 4)]
    device_batches = DeviceBatches(device, room=room)
    for _ in range(2):
        # Collected first: a batch must not be overwritten by a later one.
        moved = list(device_batches(batches, source.decode))
        assert {str(batch.images.device) for batch in moved} == {device}
        numbers = iter(range(40))
        for batch in moved:
            for image, (height, width) in zip(batch.images.cpu(), batch.sizes, strict=True):
                assert np.array_equal(image[:height, :width].numpy(), pixels(next(numbers)))
    assert set(source.decoded.values()) <= ({2} if room == 0 else {1} if room > 1000 else {1, 2})


@pytest.mark.parametrize("block", [None, (64, 48)])
def test_ranks_equal_those_of_float64(device, block):
    """Scores are exact on every device, and many are equal."""
    import torch

    from robustness.ranking import rank_both, rank_counts

    rng = np.random.default_rng(3)
    one, other = grid_rows(rng, 300), grid_rows(rng, 200)
    of_image = [np.array([number % 200]) for number in range(300)]
    of_report = [np.flatnonzero(np.arange(300) % 200 == number) for number in range(200)]
    there = torch.from_numpy(one).to(device), torch.from_numpy(other).to(device)
    forth, back = rank_both(*there, of_image, of_report, block=block)
    for counts, queries, gallery, right in (
        (forth, one, other, of_image),
        (back, other, one, of_report),
        (rank_counts(*there, of_image), one, other, of_image),
        (rank_counts(*there[::-1], of_report), other, one, of_report),
    ):
        found = counts.greater.tolist(), counts.equal.tolist(), counts.tied.tolist()
        assert found == tuple(brute_force(queries, gallery, right))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_pass_equals_the_host_image_by_image(device, tmp_path, precision):
    from robustness.embedding import Store, embed_images, embed_reports
    from robustness.embedding.dataset import Embeddings, EmbeddingSettings
    from robustness.evalset import load as load_evalset
    from robustness.models.phantom import load

    evalset, here = load_evalset("phantom:10"), load()
    texts = list(dict.fromkeys(pair.report.text(("findings",)) for pair in evalset.pairs))
    settings = EmbeddingSettings(Store(tmp_path), batch_size=4, precision=precision, on_device=True)
    made = Embeddings(load(device=device), evalset, texts, settings)
    atol = 1e-4 if precision == "float32" else 0.05
    made.prepare(OCCLUSIONS)
    for occlusion in OCCLUSIONS:
        alone = [
            embed_images(here, [occlusion.apply(evalset.decode(pair), pair.image_id)])
            for pair in evalset.pairs
        ]
        np.testing.assert_allclose(made.images(occlusion)[0], np.concatenate(alone), 0, atol)
    np.testing.assert_allclose(made.reports, embed_reports(here, texts), 0, atol)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_published_model_computes_in_16_bits(device, tmp_path, precision):
    from support.embeddings import distance
    from support.hub_models import LOADER, TEXTS, radiographs, save_plain

    from robustness.encoder import load

    folder = save_plain(tmp_path)
    here, there = (load(LOADER, model=f"open_clip:{folder}", device=on) for on in ("cpu", device))
    pixels = here.preprocess(radiographs())
    with there.computing_in(precision):
        found = there.encode_images(pixels).cpu(), there.encode_reports(TEXTS).cpu()
    assert 0 < distance(found[0], here.encode_images(pixels)) < 0.05
    assert 0 < distance(found[1], here.encode_reports(TEXTS)) < 0.05


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_gate_has_the_results_of_the_cpu(device, repository, pytester, workers):
    def values():
        return np.array(
            [c["metrics"]["hit@10"]["value"] for c in repository.results()["measurements"]]
        )

    assert repository.gate("--robustness-device=cpu").ret == 0
    expected = values()
    outcome = repository.gate(
        f"--robustness-device={device}",
        f"--robustness-store={repository.path / 'own'}",
        *workers,
        run=pytester.runpytest_subprocess,
    )
    assert outcome.ret == 0
    assert set(repository.results()["environment"]["device"]) == {device}
    np.testing.assert_allclose(values(), expected, 0, 1.5 / 48)
