"""Phrases of the reports; the fields of a template are a grade, a side or a zone."""

from __future__ import annotations

from typing import NamedTuple


class Wording(NamedTuple):
    """The phrases for one finding.

    Attributes:
        findings: Sentences for the findings section.
        impression: Short forms for the impression; empty if the finding is too minor for it.
        absent: Sentences that negate the finding.
    """

    findings: tuple[str, ...]
    impression: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


HEART_SIZES = (("mildly", "mild"), ("moderately", "moderate"), ("severely", "severe"))
EFFUSION_SIZES = ("small", "moderate", "large")
PNEUMOTHORAX_SIZES = ("small", "large")
OEDEMA_SIZES = ("mild", "severe")
ZONES = {
    "upper": ("upper lung zone", "upper lobe", "upper zone"),
    "mid": ("mid lung zone", "mid zone", "perihilar region"),
    "lower": ("lower lung zone", "lower lobe", "lung base"),
}

# fmt: off
WORDINGS = {
    "heart": Wording(
        ("the heart is {adverb} enlarged", "{size} cardiomegaly is present",
         "the cardiac silhouette is {adverb} enlarged",
         "there is {size} enlargement of the cardiac silhouette",
         "heart size is {adverb} increased"),
        ("{size} cardiomegaly", "cardiomegaly, {size}"),
        ("heart size is normal", "the cardiac silhouette is within normal limits",
         "no cardiomegaly", "the heart is not enlarged")),
    "oedema": Wording(
        ("{size} interstitial pulmonary edema",
         "perihilar haze and septal lines in keeping with {size} edema",
         "there is {size} pulmonary vascular congestion and edema",
         "{size} edema, with indistinct vessels"),
        ("{size} pulmonary edema", "{size} congestive failure"),
        ("no pulmonary edema", "pulmonary vascularity is normal", "no vascular congestion")),
    "effusion": Wording(
        ("there is a {size} {side} pleural effusion", "{size} {side} sided effusion",
         "{size} volume of pleural fluid on the {side}",
         "the {side} costophrenic angle is obscured by a {size} effusion"),
        ("{size} {side} pleural effusion", "{side} effusion, {size}"),
        ("no pleural effusion", "the costophrenic angles are sharp", "no pleural fluid")),
    "bilateral_effusion": Wording(
        ("there are {size} bilateral pleural effusions",
         "{size} pleural effusions are seen on both sides", "bilateral {size} effusions"),
        ("{size} bilateral effusions",)),
    "pneumothorax": Wording(
        ("there is a {size} {side} pneumothorax", "{size} pneumothorax on the {side}",
         "a {side} pleural line is seen with a {size} pneumothorax"),
        ("{size} {side} pneumothorax", "{side} pneumothorax, {size}"),
        ("no pneumothorax", "no evidence of pneumothorax", "there is no pneumothorax")),
    "consolidation": Wording(
        ("airspace consolidation in the {side} {zone}",
         "there is a focal opacity in the {side} {zone}",
         "patchy opacification of the {side} {zone}",
         "{side} {zone} infiltrate is suspicious for pneumonia",
         "new airspace disease involving the {side} {zone}"),
        ("{side} {zone} pneumonia", "{side} {zone} consolidation"),
        ("no focal consolidation", "no airspace opacity", "the lungs are clear of consolidation",
         "no infiltrate")),
    "mass": Wording(
        ("a large rounded mass projects over the {side} {zone}",
         "there is a mass in the {side} {zone}", "{side} {zone} mass"),
        ("{side} {zone} mass, CT recommended", "{side} {zone} mass concerning for malignancy"),
        ("no pulmonary mass",)),
    "nodule": Wording(
        ("solitary nodule in the {side} {zone}",
         "there is a small pulmonary nodule in the {side} {zone}",
         "a single {side} {zone} nodule is noted"),
        ("{side} {zone} nodule", "{side} {zone} nodule, follow up advised"),
        ("no pulmonary nodule", "no suspicious nodules")),
    "many_nodules": Wording(
        ("multiple bilateral pulmonary nodules", "there are numerous nodules in both lungs",
         "several scattered nodules bilaterally"),
        ("multiple pulmonary nodules", "nodules, metastatic disease to be excluded")),
    "atelectasis": Wording(
        ("linear atelectasis at the {side} lung base", "{side} basilar plate like atelectasis",
         "band like opacities at the {side} base represent atelectasis"),
        ("{side} basilar atelectasis",),
        ("no atelectasis",)),
    "bilateral_atelectasis": Wording(
        ("bibasilar linear atelectasis", "bands of atelectasis at both lung bases",
         "bilateral basal plate like atelectasis"),
        ("bibasilar atelectasis",)),
    "hilum": Wording(
        ("the {side} hilum is enlarged", "{side} hilar prominence", "full {side} hilum"),
        ("{side} hilar enlargement",),
        ("the hila are normal", "no hilar enlargement")),
    "bilateral_hilum": Wording(
        ("bilateral hilar enlargement", "both hila are prominent"),
        ("bilateral hilar enlargement",)),
    "low_volume": Wording(
        ("low lung volumes", "lung volumes are low",
         "shallow inspiration with reduced lung volumes")),
    "high_volume": Wording(
        ("the lungs are hyperinflated with flattened diaphragms",
         "hyperinflation with flattening of the diaphragm", "hyperexpanded lungs"),
        ("hyperinflation", "hyperinflation suggesting obstructive disease")),
    "elevated": Wording(
        ("elevation of the {side} hemidiaphragm", "the {side} hemidiaphragm is elevated",
         "raised {side} hemidiaphragm"),
        ("elevated {side} hemidiaphragm",)),
    "fracture": Wording(
        ("displaced {side} rib fractures", "there are fractures of the {side} ribs",
         "{side} lateral rib fractures are noted"),
        ("{side} rib fractures",),
        ("no acute osseous abnormality", "no displaced rib fracture", "the ribs are intact")),
    "scoliosis": Wording(
        ("scoliosis convex to the {side}", "{side} convex scoliosis of the thoracic spine",
         "the spine is curved to the {side}")),
    "emphysema": Wording(
        ("subcutaneous emphysema in the {side} chest wall", "{side} sided subcutaneous air",
         "air in the soft tissues of the {side} chest wall"),
        ("{side} subcutaneous emphysema",)),
    "aorta": Wording(
        ("the aorta is tortuous", "unfolded and tortuous aorta", "prominent aortic knob"),
        (),
        ("the mediastinal contours are normal", "the aorta is unremarkable")),
    "hernia": Wording(
        ("retrocardiac air fluid level represents a hiatal hernia", "a hiatal hernia is present",
         "moderate hiatus hernia"),
        ("hiatal hernia",)),
    "pacemaker": Wording(
        ("{side} sided pacemaker with leads in place", "a {side} chest wall pacemaker is noted",
         "dual lead cardiac device in the {side} chest wall")),
    "line": Wording(
        ("{side} internal jugular catheter with tip in the superior vena cava",
         "{side} central line is in place", "{side} sided central venous line")),
    "drain": Wording(
        ("{side} chest tube in place", "a {side} sided chest drain is present",
         "{side} thoracostomy tube")),
    "endotracheal_tube": Wording(
        ("endotracheal tube tip is above the carina", "an endotracheal tube is in place",
         "the patient is intubated")),
    "gastric_tube": Wording(
        ("an enteric tube passes below the diaphragm",
         "nasogastric tube tip projects over the stomach", "feeding tube in the stomach")),
    "wires": Wording(
        ("median sternotomy wires are intact", "sternal wires are present", "prior sternotomy")),
    "rotation": Wording(
        ("the patient is rotated to the {side}", "rotation to the {side} limits assessment")),
    "AP": Wording(
        ("portable AP view of the chest", "single AP radiograph", "AP portable projection")),
    "PA": Wording(("PA view of the chest", "PA chest radiograph", "upright PA projection")),
}
"""The phrases by name of finding; a ``bilateral_`` entry is for a finding on both sides."""

NOTHING_ACUTE = (
    "no acute cardiopulmonary abnormality", "no acute cardiopulmonary process",
    "no acute disease", "no acute findings in the chest",
)
UNSPECIFIC = ("as above", "findings as described", "see findings")

MACROS = (
    ("The heart is normal in size. The mediastinum is unremarkable. The lungs are clear.",
     "No acute disease."),
    (("The cardiomediastinal silhouette is within normal limits. The lungs are clear."
     " There is no pleural effusion or pneumothorax."),
     "No acute cardiopulmonary process."),
    (("The lungs are clear bilaterally. Specifically, no evidence of focal consolidation,"
     " pneumothorax, or pleural effusion. Cardiomediastinal silhouette is unremarkable."
     " Visualized osseous structures are without acute abnormality."),
     "No acute cardiopulmonary abnormality."),
    (("Heart size and mediastinal contours are normal. No focal airspace disease. No effusion."
     " Bony thorax intact."),
     "Normal chest."),
)
"""Fixed texts of normal reports: findings and impression."""

INDICATIONS = (
    "Shortness of breath.", "Cough and fever.", "Chest pain.", "Follow up.",
    "Preoperative assessment.", "Line placement.", "Trauma.",
)
# fmt: on
