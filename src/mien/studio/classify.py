"""Classes of a picture by the experts of a long-tailed set, and how far these agree."""

from __future__ import annotations

from typing import Any

from mien.studio.parts import (
    model,
    percent,
    photo_slot,
    picture,
    saved_picture,
    shown_picture,
    told,
)

TITLE = "Classify"
MODEL = "ncl/small"
_STEP = 389  # between two examples: neighbours in the set are of one class


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown(
        "Which piece of clothing does a picture show, and do the experts agree? NCL++ learnt from 2,478"
        " photographs, a thousand of the most frequent class and ten of the rarest."
    )
    number = gr.State(0)
    with gr.Row():
        with gr.Column():
            photo = photo_slot("Picture")
            with gr.Row():
                run = gr.Button("Classify", variant="primary")
                example = gr.Button("An example")
        with gr.Column():
            said = gr.Markdown(elem_classes="mien-said")
            chart = gr.Label(num_top_classes=5, label="Probability")
            table = gr.Dataframe(
                interactive=False, headers=["expert", "says", "probability"], label="Each expert"
            )
            seen = shown_picture("What the net sees", 140)
    run.click(classify, photo, [chart, said, table, seen])
    example.click(test_picture, number, [photo, number])


@told
def classify(path: str | None) -> tuple[dict[str, float], str, list[list[str]], Any]:
    """Probabilities by class, what stands behind them, each expert's answer, and what the net sees."""
    from mien.core.images import magnified, read_image
    from mien.methods.ncl.config import PredictOptions

    net, given = model(MODEL), picture(path, "a picture")
    found = net.predict(given)[0]
    experts = range(len(found.expert_labels))
    alone = [net.predict(given, options=PredictOptions(mode=str(k)))[0] for k in experts]
    rows = [[str(k + 1), one.label, percent(one.probability)] for k, one in enumerate(alone)]
    return dict(found.top), explained(found), rows, magnified(read_image(net.seen(given)), 140)


def explained(found: Any) -> str:
    """A result in words."""
    text = f"**{found.label}**, {percent(found.probability)}. Rule: {found.rule}."
    experts = found.expert_labels
    if len(experts) > 1:
        same = len(set(experts)) == 1
        text += (
            f" The {len(experts)} experts {'agree' if same else 'say ' + ', '.join(experts)};"
            f" disagreement {found.disagreement:.3f} nats."
        )
    if found.inverted:
        text += " The picture was inverted: this model learnt from bright things on black."
    return text


@told
def test_picture(number: int) -> tuple[str, int]:
    """A picture of the bundled test set, and the number of the next one."""
    from mien.core.images import read_image
    from mien.methods.ncl.evaluate import read_own_splits

    test = read_own_splits(model(MODEL).folder).test
    (own,) = test.pictures([number * _STEP % len(test)])
    return saved_picture(read_image(own), "clothes"), number + 1
