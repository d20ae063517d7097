"""Predict, then reveal: in a plain shell, in a kernel, and where nobody answers."""

from __future__ import annotations

from typing import Any

import pytest

from sparklab.teach import Prediction, predict
from tests.jupyter.kernels import kernel


def test_without_a_front_end_the_question_is_printed_and_nobody_waits(capsys: pytest.CaptureFixture[str]) -> None:
    guess = predict("How many stages?", [1, 2, 3])
    assert capsys.readouterr().out == "How many stages?  1 | 2 | 3\n"
    assert guess.answer is None
    assert "you predicted  nothing" in repr(guess.reveal(2))


def test_the_prediction_stands_beside_the_measurement_as_text() -> None:
    guess = Prediction("<b>How many?</b>", ["<i>12</i>"])
    guess.choose("<i>12</i>")
    page = guess.reveal("<script>")._repr_html_()
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<script>" not in page
    assert "&lt;i&gt;12&lt;/i&gt;" in page


@pytest.mark.parametrize(("answer", "why"), [(7, "none of"), ("12", "none of")])
def test_what_is_no_choice_is_refused_and_nothing_is_predicted(answer: Any, why: str) -> None:
    guess = Prediction("How many?", [0, 12])
    with pytest.raises(ValueError, match=why):
        guess.choose(answer)
    assert guess.answer is None


def test_nobody_predicts_what_has_been_shown() -> None:
    guess = Prediction("How many?", [0, 12])
    guess.choose(0)
    guess.reveal(12)
    with pytest.raises(ValueError, match="has been shown"):
        guess.choose(12)
    assert guess.answer == 0


@pytest.mark.parametrize(("question", "choices"), [(" ", [1]), ("How many?", []), ("How many?", range(9))])
def test_a_question_that_cannot_be_asked_is_refused(question: str, choices: Any) -> None:
    with pytest.raises(ValueError, match="asking"):
        predict(question, choices)


def test_in_a_kernel_the_question_is_a_widget_and_a_click_is_the_answer() -> None:
    with kernel() as running:
        running.ok("from sparklab.teach import predict\nguess = predict('How many of 24?', [0, 12, 24])")
        found = running.ok(
            "import ipywidgets\n"
            "buttons = [w for w in ipywidgets.Widget.widgets.values() if isinstance(w, ipywidgets.Button)]\n"
            "[b.description for b in buttons]"
        )
        assert found.value == "['0', '12', '24', 'Skip']"
        assert running.ok("buttons[1].click(); guess.answer").value == "12"
        assert running.ok("buttons[3].click(); guess.answer is None").value == "True"
        assert "measured" in running.ok("guess.reveal(12)").value
        running.ok("free = predict('How many?')\nbox = next(w for w in ipywidgets.Widget.widgets.values() "
                   "if isinstance(w, ipywidgets.FloatText))\nbox.value = 7.0")  # fmt: skip
        assert running.ok("free.answer").value == "7"
