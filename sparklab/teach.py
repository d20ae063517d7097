"""For lectures: a question that is answered before the cell that measures, and both side by side afterwards."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

__all__ = ["Prediction", "predict"]


class Prediction:
    """A question, what the reader predicted, and later what was measured.

    Parameters
    ----------
    question : str
    choices : sequence or None
        What may be predicted; None for a free number.

    Attributes
    ----------
    answer
        What was predicted; None until then, and for who skipped it or reads without a front end.
    measured
        What :meth:`reveal` was told; None until then.

    Examples
    --------
    >>> from sparklab.teach import predict
    >>> guess = predict("How many of 24 partitions are recomputed?", [0, 12, 24])
    How many of 24 partitions are recomputed?  0 | 12 | 24
    >>> guess.choose(24)
    >>> guess.reveal(12)
    How many of 24 partitions are recomputed?
      you predicted  24
      measured       12
    """

    def __init__(self, question: str, choices: Sequence[Any] | None = None) -> None:
        self.question = question
        self.choices = None if choices is None else list(choices)
        self.answer: Any = None
        self.measured: Any = None
        self._revealed = False

    def choose(self, answer: Any) -> None:
        """`answer` is predicted; the same as a click. None takes the prediction back.

        Raises
        ------
        ValueError
            It is none of the choices, or what is measured has been shown already.
        """
        if self._revealed:
            raise ValueError(f"predicting {answer!r}: the measurement has been shown; run the question's cell again")
        if answer is not None and self.choices is not None and answer not in self.choices:
            raise ValueError(f"predicting {answer!r}: it is none of {self.choices}; choose one of these")
        self.answer = answer

    def reveal(self, measured: Any) -> Prediction:
        """The prediction beside what was `measured`; shown where it ends a cell."""
        self.measured = measured
        self._revealed = True
        return self

    def _rows(self) -> list[tuple[str, str]]:
        if not self._revealed:
            return [("to choose from", " | ".join(map(str, self.choices or ["a number"])))]
        predicted = "nothing" if self.answer is None else str(self.answer)
        return [("you predicted", predicted), ("measured", str(self.measured))]

    def __repr__(self) -> str:
        return "\n".join([self.question, *(f"  {name:<14} {text}" for name, text in self._rows())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left;font-size:120%">{html.escape(text)}</td></tr>'
            for name, text in self._rows()
        )
        return f"<table><caption style='text-align:left'>{html.escape(self.question)}</caption>{rows}</table>"


def predict(question: str, choices: Sequence[Any] | None = None) -> Prediction:
    """The question stands under the running cell, to be answered or skipped. Returns at once; nothing waits for it.

    In a notebook: buttons for `choices` (Tab and Space), or a box for a number, and Skip. Elsewhere the question is
    printed and the answer stays None.

    Parameters
    ----------
    question : str
    choices : sequence, optional
        At most 8; None asks for a number.

    Returns
    -------
    Prediction
        Give it the measurement later: ``guess.reveal(run.recomputed_partitions)``.

    Raises
    ------
    ValueError
        For an empty question, no or too many choices.
    """
    if not question.strip():
        raise ValueError("asking for a prediction: the question is empty; write one")
    if choices is not None and not 0 < len(choices) <= 8:
        raise ValueError(f"asking {question!r}: {len(choices)} choices; give 1 to 8, or none for a number")
    prediction = Prediction(question, choices)
    if _in_a_notebook():
        _show(prediction)
    else:
        print(f"{question}  {' | '.join(map(str, choices or ['a number']))}")
    return prediction


def _in_a_notebook() -> bool:
    import sys

    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def _show(prediction: Prediction) -> None:
    """Buttons or a box, whose plain text is the question: it stands in their place where no widget can be shown."""
    import ipywidgets
    from IPython.display import display

    told = ipywidgets.Label("")  # a Label's text is text, whatever is in it

    def say(answer: Any) -> None:
        try:
            prediction.choose(answer)
        except ValueError as error:
            told.value = str(error)
        else:
            told.value = "skipped" if answer is None else f"you predict {answer}"

    if prediction.choices is None:
        box = ipywidgets.FloatText(description="", layout={"width": "120px"})
        box.observe(lambda change: say(_whole(change["new"])), "value")
        asked: list[Any] = [box]
    else:
        asked = [ipywidgets.Button(description=str(choice)) for choice in prediction.choices]
        for button, choice in zip(asked, prediction.choices, strict=True):
            button.on_click(lambda _button, choice=choice: say(choice))
    skip = ipywidgets.Button(description="Skip")
    skip.on_click(lambda _button: say(None))
    question = ipywidgets.Label(prediction.question, style={"font_weight": "600"})
    display(ipywidgets.VBox([question, ipywidgets.HBox([*asked, skip, told])]))  # type: ignore[no-untyped-call]


def _whole(number: float | None) -> float | int | None:
    return int(number) if number is not None and number == int(number) else number
