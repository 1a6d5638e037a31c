"""Verdicts of anti-spoofing as HTML."""

from types import SimpleNamespace

from mien.engine import pad_cards


def result(**changes):
    return SimpleNamespace(**{"status": "ok", "live": True, "probability": 0.91234, "note": "", **changes})


def test_verdicts():
    assert pad_cards.verdict(result()) == "<b class=good>live, P(live) 91 %</b>"
    assert pad_cards.verdict(result(live=False, probability=0.2)) == "<b class=bad>attack, P(live) 20 %</b>"
    unjudged = result(status="<no face>", live=None, probability=None)
    assert pad_cards.verdict(unjudged) == "<b>not judged: &lt;no face&gt;</b>"
    assert pad_cards.headline(unjudged)["probability"] is None


def test_a_note_is_escaped_and_a_probability_rounded():
    assert pad_cards.note(result()) == ""
    assert "&lt;b&gt;" in pad_cards.note(result(note="<b>"))
    assert pad_cards.headline(result()) == {"status": "ok", "live": True, "probability": 0.9123}
