"""The contact sheet of ``python -m robustness evalset``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from robustness import evalset
from robustness.__main__ import main
from robustness.cli import contact_sheet as _sheet
from robustness.cli.contact_sheet import (
    ACCENT,
    DIM,
    MAX_IMAGES,
    MIDDLE,
    THUMBNAIL,
    Grid,
    contact_sheet,
)
from robustness.embedding import Store
from robustness.errors import EvaluationSetError
from robustness.evalset import EvaluationSet, Pair, Report

FONT = ImageFont.load_default(14)


def small(pixels):
    image = PilImage.fromarray(pixels).resize((48, 48), PilImage.Resampling.BOX)
    return np.asarray(image, dtype=float).ravel()


def likeness(page, grid, index, decoded):
    """Return the correlation of an image with the page at an index."""
    height, width = decoded.shape
    scale = THUMBNAIL / max(height, width)
    box = grid.box(index, round(width * scale), round(height * scale))
    return np.corrcoef(small(np.asarray(page.crop(box).convert("L"))), small(decoded))[0, 1]


def made(shapes, *, report="Clear.", labels=None, value=255):
    """Return a set of flat images of the given heights and widths."""
    pairs = [
        Pair(f"image-{i}", f"s{i}", "p", "PA", Report(findings=report), f"{h} {w}", labels)
        for i, (h, w) in enumerate(shapes)
    ]

    def decode(pair):
        return np.full([int(side) for side in pair.digest.split()], value, np.uint8)

    return EvaluationSet("made:x", tuple(pairs), decode)


@pytest.fixture
def drawn(monkeypatch):
    """Collect every text that is drawn, with its box and colour."""
    texts = []
    real = ImageDraw.ImageDraw.text

    def text(self, xy, text, fill=None, font=None, **more):
        if self.mode == "RGB":  # phantoms draw letters too, on grey
            texts.append((text, self.textbbox(xy, text, font), fill))
        return real(self, xy, text, fill, font, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return texts


# --- content ---------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "name"), [("phantom:40", "sheet.JPG"), ("open_i", "sheet.png")])
def test_each_place_shows_its_image(tmp_path, open_i, store, spec, name, capsys):
    if spec == "open_i":
        spec = f"open_i:{open_i},view=all,images=all"
    file = tmp_path / name
    command = ["evalset", spec, "--json", "--store", str(store)]
    assert main([*command, "--contact-sheet", str(file), "--images", "9"]) == 0
    told = json.loads(capsys.readouterr().out)
    loaded = evalset.load(spec, remember=Store(store).fetch)
    with PilImage.open(file) as page:
        assert page.format == {"sheet.png": "PNG", "sheet.JPG": "JPEG"}[name]
        page.load()
    grid = Grid(9)
    assert page.size == grid.size
    indexes = [place * told["images"] // 9 for place in range(9)]
    shown = [loaded.decode(loaded.pairs[index]) for index in indexes]
    like = np.array([[likeness(page, grid, at, image) for image in shown] for at in range(9)])
    assert (np.diag(like) > 0.995).all()
    assert (like.argmax(axis=1) == np.arange(9)).all()


def test_every_image_has_a_caption(drawn):
    loaded = evalset.load("phantom:12")
    contact_sheet(loaded, 12)
    assert drawn[0][0] == "phantom:12"
    assert drawn[1][0].startswith("12 of 12 images · 12 studies · fingerprint ")
    assert drawn[1][0].endswith(loaded.fingerprint[:12])
    grid = Grid(12)
    for place, pair in enumerate(loaded.pairs):
        left, top = grid.corner(place)
        mine = [
            (t, c)
            for t, (x, y, *_), c in drawn[2:]
            if -2 <= x - left < THUMBNAIL and 0 <= y - top < 400
        ]
        assert mine[0][0] == pair.image_id
        height, width = loaded.decode(pair).shape
        assert mine[1][0] == f"{pair.view} · {width} x {height}"
        names = ", ".join(sorted(pair.labels)) or "no findings"
        named = " ".join(t for t, colour in mine[2:] if colour in {ACCENT, DIM})
        assert names.startswith(named.removesuffix("…"))
        assert named == names or len(named) > 40
        report = pair.report.text(("findings", "impression"))
        said = " ".join(t for t, colour in mine[2:] if colour == MIDDLE)
        assert report.startswith(said.removesuffix("…"))
        assert said == report or len(said) > 60


def test_captions_of_a_set_without_labels(drawn):
    contact_sheet(made([(8, 8)]), 1)
    assert [text for text, *_ in drawn[2:]] == ["image-0", "PA · 8 x 8", "Clear."]


def test_many_labels_leave_room_for_the_report(drawn):
    names = frozenset(f"finding number {i}" for i in range(30))
    contact_sheet(made([(8, 8)], labels=names, report="Something is seen. " * 99), 1)
    texts = [text for text, *_ in drawn[2:]]
    assert len(texts) == 8
    assert [text.startswith("finding number") for text in texts] == [0, 0, 1, 1, 0, 0, 0, 0]
    assert texts[3].endswith("…")
    assert texts[-1].endswith("…")


@pytest.mark.parametrize("count", [1, 2, 5, 24])
def test_texts_and_images_do_not_overlap(drawn, count):
    long = "Unremarkable " * 80 + "Pneumonoultramicroscopicsilicovolcanoconiosis" * 3
    loaded = made([(30, 40)] * count, report=long, labels=frozenset({"y" * 90, "z z " * 40}))
    page = contact_sheet(loaded, count)
    boxes = [box for text, box, _ in drawn if text]
    boxes += [Grid(count).box(place, 240, 180) for place in range(count)]
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= page.width
        assert 0 <= top < bottom <= page.height
        for other in boxes[:i]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, (boxes[i], other)


@pytest.mark.parametrize("shape", [(60, 300), (900, 200), (5, 1), (1, 3000), (240, 240), (1, 1)])
def test_images_keep_their_shape(shape):
    page = np.asarray(contact_sheet(made([shape]), 1))
    left, top = Grid(1).corner(0)
    square = page[top : top + THUMBNAIL, left : left + THUMBNAIL]
    rows, columns = np.nonzero((square == 255).all(axis=2))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) == height * width
    scale = 240 / max(shape)
    assert (height, width) == tuple(max(1, round(side * scale)) for side in shape)
    assert abs((rows.min() + rows.max()) / 2 - 119.5) <= 0.5
    assert abs((columns.min() + columns.max()) / 2 - 119.5) <= 0.5


def test_progress_advances_with_every_image():
    told = []
    contact_sheet(made([(4, 4)] * 7), 5, told.append)
    assert told == [1] * 5


@given(st.integers(1, 3000), st.integers(1, MAX_IMAGES))
def test_images_are_spread_evenly(total, count):
    indexes = _sheet.spread(total, count)
    assert len(indexes) == min(total, count)
    assert indexes[0] == 0
    gaps = np.diff([*indexes, total])
    assert (gaps >= 1).all()
    assert np.ptp(gaps) <= 1


@given(st.integers(1, MAX_IMAGES))
def test_the_page_size_is_limited(count):
    width, height = Grid(count).size
    assert max(width, height) < 10_000
    right, bottom = (max(Grid(count).corner(i)[axis] for i in range(count)) for axis in (0, 1))
    assert right + THUMBNAIL <= width
    assert bottom + THUMBNAIL <= height
    assert len({Grid(count).corner(i) for i in range(count)}) == count


# --- text -----------------------------------------------------------------------


@given(st.text(max_size=60))
def test_only_letters_of_the_font_are_drawn(text):
    unknown = bytes(FONT.getmask("\uffff"))
    for letter in set(_sheet.drawable(text)) | {"…"}:
        assert letter == " " or bytes(FONT.getmask(letter)) != unknown


def test_other_letters_are_replaced_by_similar_ones():
    said = "Größe 3–5 cm, œdème; “Łódź” 2×2\nÅ · ½ 漢"  # noqa: RUF001
    assert _sheet.drawable(said) == 'Grosse 3-5 cm, oedeme; "Lodz" 2x2 A · 1/2 ?'


@given(st.text(st.sampled_from("ab cW.,"), max_size=80), st.integers(20, 300))
def test_a_text_is_cut_to_its_width(text, width):
    cut = _sheet.cut(text, width, FONT)
    assert FONT.getlength(cut) <= width
    assert (cut == text) == (FONT.getlength(text) <= width)
    assert text.startswith(cut.removesuffix("…"))


@given(st.text(st.sampled_from("ab cW.,"), max_size=200), st.integers(30, 200), st.integers(1, 5))
def test_wrapped_lines_keep_the_text(text, width, lines):
    wrapped = _sheet.wrap(text, width, FONT, lines)
    assert len(wrapped) <= lines
    assert all(FONT.getlength(line) <= width for line in wrapped)
    if not any(line.endswith("…") for line in wrapped):
        assert " ".join(wrapped) == " ".join(text.split())


# --- errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--contact-sheet", "x.gif"], r"the suffix is '.gif'; allowed are .png, .jpg, .jpeg"),
        (["--contact-sheet", "x"], r"the suffix is ''; allowed are .png, .jpg, .jpeg"),
        (["--contact-sheet", "."], r"contact sheet . is a folder"),
        (["--contact-sheet", "dir.png"], r"contact sheet dir.png is a folder"),
        (["--contact-sheet", "none/x.png"], r"folder none not found; create it"),
        (["--contact-sheet", "file/x.png"], r"folder file not found; create it"),
        (["--contact-sheet", "x.png", "--images", "0"], r"--images is 0; allowed is 1 to 400"),
        (["--contact-sheet", "x.png", "--images", "-3"], r"--images is -3; allowed is 1 to 400"),
        (["--contact-sheet", "x.png", "--images", "401"], r"--images is 401; allowed is 1 to"),
        (["--images", "4"], r"name the file with --contact-sheet"),
    ],
)
def test_invalid_options_are_reported_before_the_set_is_read(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    Path("dir.png").mkdir()
    Path("file").touch()
    monkeypatch.setattr(evalset, "load", None)
    assert main(["evalset", "phantom:4", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert message in err
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir.png", "file"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    file = str(tmp_path / "x.png")
    assert main(["evalset", "phantom:4", "--contact-sheet", file]) == 2
    assert f"folder {tmp_path} cannot be written to" in capsys.readouterr().err
    monkeypatch.undo()

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("robustness._util.files.write_whole", full)
    assert main(["evalset", "phantom:4", "--contact-sheet", file]) == 1
    said = capsys.readouterr()
    assert said == ("", f"contact sheet {file} cannot be written: No space left on device\n")


def test_an_image_that_cannot_be_decoded_leaves_no_sheet(tmp_path, monkeypatch, capsys):
    loaded = made([(4, 4)] * 3)

    def decode(pair):
        raise EvaluationSetError(f"image {pair.image_id} is damaged")

    broken = EvaluationSet(loaded.spec, loaded.pairs, decode)
    monkeypatch.setattr(evalset, "load", lambda spec, *, remember: broken)
    assert main(["evalset", "phantom:4", "--contact-sheet", str(tmp_path / "x.png")]) == 1
    assert capsys.readouterr() == ("", "image image-0 is damaged\n")
    assert not list(tmp_path.iterdir())


def test_pillow_without_freetype_is_an_error(monkeypatch, tmp_path, capsys):
    def missing(_size):
        raise ImportError("The _imagingft C module is not installed")

    monkeypatch.setattr(ImageFont, "load_default", missing)
    file = str(tmp_path / "x.png")
    assert main(["evalset", "phantom:4", "--contact-sheet", file]) == 1
    assert "needs Pillow with FreeType" in capsys.readouterr().err
