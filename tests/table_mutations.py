"""Reads sets that come as tables, damaged at random, and prints what came of it as JSON.

A process of its own: so a crash, a hang and what it needs of memory are seen from outside.
Arguments: the kind of file, a folder, the number of mutations.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from pathlib import Path

import numpy as np
from table_files import ROWS as TABLE
from table_files import load, pixels, tar_of, write_images, write_table

from robustness.errors import GateError

SECONDS = 20
"""For one of them, on a machine that others use too."""


class Hang(BaseException):
    """Reading takes longer than :data:`SECONDS`."""


def make(kind, folder):
    """The file that is damaged, and the specification that reads it."""
    write_images(folder)
    if kind == "tar":
        rows = [row for row in TABLE if row]
        samples = [
            (f"{i}", {"png": (folder / row["image"]).read_bytes(), "json": row | {"image": ""}})
            for i, row in enumerate(rows)
        ]
        return tar_of(folder / "0.tar", samples), {"kind": "webdataset"}
    if kind in {"data-00000-of-00001.arrow", "state.json", "dataset_info.json"}:
        import datasets

        features = datasets.Features(
            image=datasets.Image(),
            report=datasets.Value("string"),
            labels=datasets.List(datasets.ClassLabel(names=["Edema", "Mass"])),
            study=datasets.Value("int64"),
        )
        rows = {
            "image": [pixels(0), pixels(1)],
            "report": ["Clear.", "Größer."],
            "labels": [[0, 1], None],
            "study": [1, None],
        }
        datasets.disable_progress_bars()
        datasets.Dataset.from_dict(rows, features).save_to_disk(folder / "saved")
        return folder / "saved" / kind, {"kind": "hf"}
    return write_table(folder / f"set.{kind}", TABLE), {"kind": "manifest"}


def mutated(content, rng):
    """One to eight changes: of a byte, of a run of them, or of the length."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        if not content:
            break
        at = int(rng.integers(len(content)))
        size = int(rng.integers(1, 9))
        kind = rng.integers(6)
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            content[at : at + size] = rng.bytes(size)
        elif kind == 2:
            del content[at : at + size]
        elif kind == 3:
            content[at:at] = content[at : at + size] * int(rng.integers(1, 5))
        elif kind == 4:  # what a length or a count looks like when it is wrong
            content[at : at + size] = rng.choice([b"\xff", b"\x7f", b"\0"]) * size
        elif rng.integers(4) == 0:
            del content[at:]
    return bytes(content)


ODD = (None, True, -1, 2**70, 1e308, "", "..", "/etc/passwd", "a\0b", [], {}, [{}], "numpy")


def with_other_values(content, rng):
    """JSON of the same form, one to three of its values another."""
    found = json.loads(content)
    for _ in range(rng.integers(1, 4)):
        place = found
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = keys[int(rng.integers(len(keys)))]
            if not isinstance(place[key], (dict, list)) or rng.integers(4) == 0:
                place[key] = ODD[int(rng.integers(len(ODD)))]
                break
            place = place[key]
    return json.dumps(found).encode()


def main(kind, folder, number):
    folder = Path(folder)
    path, how = make(kind, folder)
    place = path if how["kind"] != "hf" else path.parent
    whole = path.read_bytes()
    assert len(load(place, **how)) >= 2

    def hang(*_):
        raise Hang

    signal.signal(signal.SIGALRM, hang)
    found = {"read": 0, "refused": 0, "others": []}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(number):
        change = with_other_values if kind.endswith(".json") and seed % 2 else mutated
        path.write_bytes(change(whole, np.random.default_rng(seed)))
        signal.alarm(SECONDS)
        try:
            loaded = load(place, **how)
            for pair in loaded.pairs:
                try_to_decode(loaded, pair)
            found["read"] += 1
        except GateError as error:
            found["refused"] += 1
            if not (str(error).isprintable() and str(folder) in str(error)):
                found["others"].append(f"{seed}: message {str(error)[:200]!r}")
        except (Exception, Hang) as error:  # noqa: BLE001 - whatever else there is
            found["others"].append(f"{seed}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.alarm(0)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps(found | {"grown_mb": (after - before) / 1024}))


def try_to_decode(loaded, pair):
    with contextlib.suppress(GateError):
        loaded.decode(pair)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
