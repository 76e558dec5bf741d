"""Independent count of a MIMIC-CXR-JPG tree, without the code under test.

It uses pandas for the tables, the folder itself, and the known content of the reports.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from robustness import evalset
from support import mimic_tree

SPLITS = {"test": ["test"], "validate": ["validate"], "train": ["train"]}
SPLITS["all"] = ["test", "validate", "train"]
VIEWS = {"frontal": {"PA", "AP"}, "PA": {"PA"}, "AP": {"AP"}, "lateral": {"LATERAL", "LL"}}
RANK = {"PA": 0, "AP": 1, "LATERAL": 2, "LL": 3}


@dataclass(frozen=True)
class Collection:
    """A tree, and other places of its reports."""

    tree: mimic_tree.Tree
    apart: Path
    archive: Path

    @property
    def root(self):
        return self.tree.root

    def load(self, **options):
        return evalset.load(spec(self.root, **options))


def spec(root, **options):
    return ",".join([f"mimic_cxr:{root}", *(f"{key}={value}" for key, value in options.items())])


def image_file(root, dicom, study, subject):
    return root / f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"


def frame(root, name):
    return pd.read_csv(mimic_tree.table(root, name), dtype=str, keep_default_na=False)


def images_of(root, split):
    """Return the rows of a split with their metadata, in the expected order of pairs."""
    rows = frame(root, "split").merge(
        frame(root, "metadata"), on=["dicom_id", "study_id", "subject_id"], validate="1:1"
    )
    rows = rows[rows["split"].isin(SPLITS[split])]
    rows["rank"] = rows["ViewPosition"].map(RANK).fillna(9)
    rows["date"] = pd.to_numeric(rows["StudyDate"]).fillna(np.inf)
    rows["time"] = pd.to_numeric(rows["StudyTime"]).fillna(np.inf)
    return rows.sort_values(["subject_id", "study_id", "rank", "date", "time", "dicom_id"])


def expected(collection, rows, view, images, missing):
    """Return the selected ids in order and the count of each reason; None for an error."""
    selected, reasons, selected_studies = [], Counter(), set()
    for row in rows.itertuples():
        report = collection.tree.expected.get((row.subject_id, row.study_id))
        exists = image_file(
            collection.root, row.dicom_id, row.study_id, row.subject_id
        ).exists()  # fmt: skip
        if view != "all" and row.ViewPosition not in VIEWS[view]:
            reasons["view not selected" if row.ViewPosition else "view not stated"] += 1
        elif report is None:
            reasons["no report of the study"] += 1
        elif not (report.findings or report.impression or report.undivided):
            reasons["no findings and no impression"] += 1
        elif missing == "exclude" and not exists:
            reasons["image file missing"] += 1
        elif images == "one" and row.study_id in selected_studies:
            reasons["another image of the study is selected"] += 1
        elif not exists:
            return None
        else:
            selected.append(row.dicom_id)
            selected_studies.add(row.study_id)
    return selected, dict(reasons)
