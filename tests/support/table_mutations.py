"""Load randomly damaged table-based sets and print the outcomes as JSON.

Runs as a separate process, so that a crash, a hang and the memory use are detected.
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

from robustness.errors import GateError
from support.table_files import ROWS as TABLE
from support.table_files import load, pixels, tar_of, write_images, write_table

TIMEOUT_SECONDS = 20
"""Per mutation; generous, for shared machines."""


class Hang(BaseException):
    """Loading took longer than :data:`TIMEOUT_SECONDS`."""


def make(kind, folder):
    """Write a valid set; return the file to damage and the options of ``load``."""
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
    """Return content with one to eight random changes of bytes or length."""
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
        elif kind == 4:  # typical wrong lengths or counts
            content[at : at + size] = rng.choice([b"\xff", b"\x7f", b"\0"]) * size
        elif rng.integers(4) == 0:
            del content[at:]
    return bytes(content)


ODD = (None, True, -1, 2**70, 1e308, "", "..", "/etc/passwd", "a\0b", [], {}, [{}], "numpy")


def with_other_values(content, rng):
    """Return JSON of the same structure with one to three other values."""
    document = json.loads(content)
    for _ in range(rng.integers(1, 4)):
        node = document
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            if not keys:
                break
            key = keys[int(rng.integers(len(keys)))]
            if not isinstance(node[key], (dict, list)) or rng.integers(4) == 0:
                node[key] = ODD[int(rng.integers(len(ODD)))]
                break
            node = node[key]
    return json.dumps(document).encode()


def main(kind, folder, number):
    folder = Path(folder)
    path, options = make(kind, folder)
    source = path if options["kind"] != "hf" else path.parent
    whole = path.read_bytes()
    assert len(load(source, **options)) >= 2

    def hang(*_):
        raise Hang

    signal.signal(signal.SIGALRM, hang)
    outcomes = {"read": 0, "refused": 0, "others": []}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(number):
        change = with_other_values if kind.endswith(".json") and seed % 2 else mutated
        path.write_bytes(change(whole, np.random.default_rng(seed)))
        signal.alarm(TIMEOUT_SECONDS)
        try:
            loaded = load(source, **options)
            for pair in loaded.pairs:
                try_to_decode(loaded, pair)
            outcomes["read"] += 1
        except GateError as error:
            outcomes["refused"] += 1
            if not (str(error).isprintable() and str(folder) in str(error)):
                outcomes["others"].append(f"{seed}: message {str(error)[:200]!r}")
        except (Exception, Hang) as error:  # noqa: BLE001 - any other failure
            outcomes["others"].append(f"{seed}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.alarm(0)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps(outcomes | {"grown_mb": (after - before) / 1024}))


def try_to_decode(loaded, pair):
    with contextlib.suppress(GateError):
        loaded.decode(pair)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
