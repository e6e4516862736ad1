"""Reports say all findings, vary in words, and are read back exactly; simple real sentences are understood."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthgpt.phantoms.cxr_report import NORMAL, agreement, parse_report, write_report

SIDES = ("none", "left", "right")


@st.composite
def findings(draw):
    effusion = draw(st.sampled_from(("none", "left", "right", "both")))
    consolidation = draw(st.sampled_from(SIDES))
    return {
        "cardiomegaly": draw(st.booleans()),
        "effusion": effusion,
        "effusion_size": "none" if effusion == "none" else draw(st.sampled_from(("small", "large"))),
        "pneumothorax": draw(st.sampled_from(SIDES)),
        "consolidation": consolidation,
        "consolidation_zone": "none" if consolidation == "none" else draw(st.sampled_from(("upper", "lower"))),
        "nodules_left": draw(st.integers(0, 3)),
        "nodules_right": draw(st.integers(0, 3)),
    }


@given(findings(), st.integers(0, 2**32 - 1))
def test_every_written_report_is_read_back_exactly(truth, seed):
    report = write_report(truth, np.random.default_rng(seed))
    assert parse_report(report) == truth, report
    assert 1 <= report.count(".") <= 3


def test_phrasing_varies_with_the_seed():
    truth = {**NORMAL, "effusion": "left", "effusion_size": "small"}
    assert len({write_report(truth, np.random.default_rng(seed)) for seed in range(60)}) > 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("Heart size normal. Lungs are clear. No pneumothorax or pleural effusion.", {}),
        ("There is cardiomegaly with small bilateral pleural effusions.",
         {"cardiomegaly": True, "effusion": "both", "effusion_size": "small"}),
        ("Large left-sided pleural effusion. No pneumothorax.", {"effusion": "left", "effusion_size": "large"}),
        ("Right lower lobe pneumonia, no effusion.", {"consolidation": "right", "consolidation_zone": "lower"}),
        ("The heart is not enlarged. Right apical pneumothorax.", {"pneumothorax": "right"}),
        ("No focal consolidation, pleural effusion, or pneumothorax is seen.", {}),
        ("Three nodules in the left lung.", {"nodules_left": 3}),
        ("Heart is enlarged. Left upper lobe opacity without effusion.",
         {"cardiomegaly": True, "consolidation": "left", "consolidation_zone": "upper"}),
    ],
)  # fmt: skip
def test_simple_reports_are_understood(text, expected):
    assert parse_report(text) == {**NORMAL, **expected}


def test_agreement_compares_finding_by_finding():
    other = {**NORMAL, "effusion": "left"}
    verdict = agreement(NORMAL, other)
    assert [name for name, same in verdict.items() if not same] == ["effusion"]
    assert set(agreement({"effusion": "left", "view": "pa"}, other)) == {"effusion"}
