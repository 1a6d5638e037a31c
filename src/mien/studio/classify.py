"""Classes of a picture: experts of a long-tailed set, and nets that know drawings of several vendors."""

from __future__ import annotations

from typing import Any

from mien.studio.parts import model, percent, picture, told

TITLE = "Classify"
MODELS = {
    "clothes, long-tailed (NCL++)": "ncl/small",
    "emoji of any vendor (SAGM)": "sagm/small",
}
_TAIL = "clothes, long-tailed (NCL++)"


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown("Which class does a picture show, and do the experts agree?")
    with gr.Row():
        with gr.Column():
            photo = gr.Image(type="filepath", label="Picture", height=320, sources=["upload", "clipboard"])
            which = gr.Radio(list(MODELS), value=_TAIL, label="Model")
            run = gr.Button("Classify", variant="primary")
        with gr.Column():
            chart = gr.Label(num_top_classes=5, label="Probability")
            said = gr.Markdown(elem_classes="mien-said")
    run.click(classify, [photo, which], [chart, said])


@told
def classify(path: str | None, which: str) -> tuple[dict[str, float], str]:
    """Probabilities by class, and what stands behind them."""
    found = model(MODELS[which]).predict(picture(path, "a picture"))[0]
    return dict(found.top), explained(found)


def explained(found: Any) -> str:
    """A result in words."""
    text = f"**{found.label}**, {percent(found.probability)}. Rule: {found.rule}."
    experts = getattr(found, "expert_labels", ())
    if len(experts) > 1:
        same = len(set(experts)) == 1
        text += (
            f" The {len(experts)} experts {'agree' if same else 'say ' + ', '.join(experts)};"
            f" disagreement {found.disagreement:.3f} nats."
        )
    if getattr(found, "inverted", False):
        text += " The picture was inverted: this model learnt from bright things on black."
    return text
