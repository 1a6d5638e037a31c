from __future__ import annotations

from mien.metrics import pad_report
from mien.metrics.pad_table import report_table
from tests.metrics.pad_twin import DEV, TEST


def test_both_conventions_are_printed_by_name_with_counts_and_intervals():
    lines = report_table(pad_report(*TEST, dev=DEV)).splitlines()
    assert lines[0] == "threshold 0.5 (eer@dev); live means score >= threshold"
    assert lines[1] == "on the dev set there: APCER max 25.00 %, pooled 25.00 %, BPCER 25.00 %"
    assert lines[2] == "6 live faces, 9 attacks of 2 species"
    text = {line[:32].strip(): line[32:].split() for line in lines[4:] if not line.startswith("warning")}
    assert text["APCER max over species (mask)"] == "40.00 11.76 - 76.93 2 of 5".split()
    assert text["APCER pooled"][0] == "33.33"
    assert text["BPCER"][0] == "16.67"
    assert text["ACER (APCER max)"][0] == "28.33"
    assert text["ACER (APCER pooled) = HTER"][0] == "25.00"
    assert text["EER at 0.58"][0] == "33.33"
    assert text["AUC"][0] == "81.48"
    assert text["TPR@FPR=0.01 conservative"][0] == "50.00"
    assert [line for line in lines if line.startswith("warning: TPR@FPR=0.01, 0.001, 0.0001 cannot")]


def test_no_errors_show_the_rule_of_three_and_strict_its_sign():
    text = report_table(pad_report(*TEST, 0.95, strict=True, draws=0))
    assert "live means score > threshold" in text
    assert "0 of 5, rule of three <= 60 %" in text
    assert "on the" not in text
    assert "bootstrap" not in text
    assert "nan" not in text
