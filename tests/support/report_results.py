"""Hand-made results for tests of reports, and a parser of HTML pages."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "input", "hr"}
CHANCE = 0.02

PROFILE = {
    "seconds": 1.25,
    "phases": {
        "model loading": {"seconds": 0.25, "items": 1},
        "occlusion": {"seconds": 0.1, "items": 96},
        "image forward": {"seconds": 0.5, "items": 96},
        "text forward": {"seconds": 0.125, "items": 40},
        "ranking": {"seconds": 0.15, "items": 176},
    },
    "images_per_second": 160.0,
    "forward_share": 0.5,
    "peak_memory_mb": 780.4,
    "peak_device_memory_mb": None,
}


def estimate(value, half=0.03):
    return {"value": value, "low": value - half, "high": min(1.0, value + half)}


def cell(level, value, fill="black", direction="image_to_report", **changes):
    """Return a measurement whose clean value is 0.9."""
    retention = (value - CHANCE) / (0.9 - CHANCE)
    return {
        "model": "phantom",
        "evalset": "phantom:48",
        "pattern": "square",
        "fill": fill,
        "level": level,
        "seed": 0,
        "direction": direction,
        "n": 48,
        "metrics": {"hit@10": estimate(value), "retention(hit@10)": estimate(retention)},
        "chance": {"hit@10": CHANCE},
        "hidden": level,
        "bounds": [{"metric": "hit@10", "operator": ">=", "limit": 0.4, "line": 11}],
        "verdict": "pass",
        "reason": "ok",
        "message": "",
        **changes,
    }


def unmeasured(level, verdict="not_measured", reason="not_run", **changes):
    nothing = {"n": 0, "metrics": {}, "chance": {}, "hidden": None}
    message = f"square at {level} was not run"
    return cell(level, 0.5, verdict=verdict, reason=reason, message=message, **nothing, **changes)


def prop(name, **changes):
    plain = {"occlusion": None, "verdict": "pass", "reason": "ok", "message": ""}
    return {"model": "phantom", "property": name, "examples": 4, "room": 0.1, **plain, **changes}


def results(cells=None, properties=None, *, excluded=None, left_out=None, model="phantom"):
    """Return the content of a ``results.json``."""
    cells = [cell(0.0, 0.9), cell(0.3, 0.6)] if cells is None else cells
    properties = [prop("bound"), prop("chance")] if properties is None else properties
    verdicts = [item["verdict"] for item in (*cells, *properties)]
    failed = next((i for i in (*cells, *properties) if i["verdict"] != "pass"), None)
    counts = {name: verdicts.count(name) for name in ("pass", "fail", "not_measured")}
    evalset = {"spec": "phantom:48", "fingerprint": "ab" * 32, "images": 48, "studies": 47}
    return {
        "schema": "robustness-results-2",
        "verdict": "fail" if failed else "pass",
        "reason": failed["reason"] if failed else "ok",
        "message": f"measurements and properties: {counts['pass']} passed",
        "summary": {
            "passed": counts["pass"],
            "failed": counts["fail"],
            "not_measured": counts["not_measured"],
        },
        "measurements": cells,
        "curves": [],
        "properties": properties,
        "comparison": None,
        "followup": {"saved": None, "updates": [], "unwritten": None, "problems": []},
        "protocol": {
            "thresholds_sha256": "cd" * 32,
            "evalset": {**evalset, "patients": 46, "excluded": excluded or {}},
            "models": [
                {
                    "name": model,
                    "loader": "robustness.models.phantom:load",
                    "fingerprint": "ef" * 32,
                    "embedding_dim": 192,
                    "text_policy": {"sections": ["findings"], "max_tokens": 160},
                    "options": {},
                    "details": {"licence": "Apache-2.0"},
                    "images": 48,
                    "texts": 40,
                    "excluded": {**(excluded or {}), **(left_out or {})},
                }
            ],
            "positives": "identical_text",
            "patterns": ["square"],
            "fills": ["black", "grey"],
            "levels": [0.0, 0.3],
            "seed": 0,
            "precision": "float32",
            "intervals": {"method": "percentile bootstrap over studies", "replicates": 1000},
        },
        "environment": {
            "python": "3.13.1",
            "platform": "Linux",
            "cores": 2,
            "packages": {"torch": "2.11", "pillow": None},
            "commit": "0" * 40,
            "dirty": True,
            "device": ["cpu"],
            "batch_size": 64,
        },
        "timing": {
            "seconds": 1.5,
            "processes": 1,
            "model_loads": 1,
            "cases": {},
            "store": {"found": 1, "computed": 2, "damaged": 0},
            "profile": PROFILE,
        },
    }


# --- comparison with a baseline --------------------------------------------------------------

NOTHING = {"saved": None, "updates": [], "unwritten": None, "problems": []}


def case(drop, /, verdict="pass", half=0.03, **changes):
    """Return a comparison; by default of black squares at level 0.3."""
    reason = {"pass": "ok", "fail": "regression"}[verdict]
    message = f"hit@10 fell by {100 * drop:.1f} points" if verdict == "fail" else ""
    return {
        "model": "phantom",
        "pattern": "square",
        "fill": "black",
        "level": 0.3,
        "drop": {"value": drop, "low": drop - half, "high": drop + half},
        "p": 1e-9 if verdict == "fail" else 0.4,
        "adjusted_p": 3.2e-8 if verdict == "fail" else 1.0,
        "smallest_drop": 0.02,
        "not_excluded": None,
        "verdict": verdict,
        "reason": reason,
        "message": message,
        **changes,
    }


REFUSED = {
    **dict.fromkeys(case(0.0)),
    "model": "clip",
    "verdict": "fail",
    "reason": "baseline_mismatch",
    "message": "clip cannot be compared with the baseline: seed is 1 here and 0 in the baseline",
}


def comparison(*cases, **changes):
    return {
        "baseline": "0003_main",
        "precision": {"here": "float32", "baseline": "float32"},
        "mode": "regression",
        "metric": "hit@10",
        "margin": 0.01,
        "alpha": 0.001,
        "comparisons": list(cases),
        **changes,
    }


def beside(*cases, **changes):
    """Return results whose measurements pass, with these comparisons."""
    whole = results()
    failed = [each for each in cases if each["verdict"] == "fail"]
    whole |= {"comparison": comparison(*cases, **changes)}
    if failed:
        whole |= {"verdict": "fail", "reason": failed[0]["reason"]}
    return whole


def strict(upper, verdict="fail"):
    return case(0.0, verdict, not_excluded=upper, reason="inferiority_not_excluded")


def update(text, *, done=True, loosened=False):
    return {"done": done, "loosened": loosened, "text": text}


class Page(HTMLParser):
    """Parsed page; fails if tags are not balanced.

    Attributes:
        tags: Start tags in order.
        attributes: Attributes as (tag, name, value).
        rows: Texts of the cells of each table row.
        by_id: Text of each element with an id.
        text: Text outside the style sheet.
    """

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.rows, self.by_id, self.text = [], [], [], {}, ""
        self._open = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if any(tag == "style" for tag, _ in self._open):
            return
        self.text += data
        for tag, name in self._open:
            if name:
                self.by_id[name] = self.by_id.get(name, "") + data
            if tag in {"td", "th"}:
                self.rows[-1][-1] += data
