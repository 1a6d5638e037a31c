"""Pictures in a style that a model has never seen, and how flat the loss is where training ended."""

from __future__ import annotations

from typing import Any

from mien.studio.parts import (
    HEAVY,
    Watch,
    cancel_button,
    model,
    percent,
    photo_slot,
    picture,
    saved_picture,
    shown_picture,
    told,
)

TITLE = "Other styles"
OURS = "sagm/small"
MODELS = {"SAGM": OURS, "ERM": "sagm/erm-small"}
"""What is compared; ERM is training as usual."""
_STEP = 67  # between two examples: neighbours in the set are of one class


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown(
        "Ten emoji, learnt as two vendors draw them. Does a model still know them in the style of a third, or"
        " as you draw them? SAGM looks for weights around which the loss is low and flat; ERM is training as"
        " usual."
    )
    number = gr.State(0)
    with gr.Row():
        with gr.Column():
            photo = photo_slot("Picture or drawing")
            run = gr.Button("Classify", variant="primary")
            with gr.Row():
                unseen = gr.Button("Example of the new style")
                known = gr.Button("Example of a learnt style")
        with gr.Column():
            said = gr.Markdown(elem_classes="mien-said")
            charts = [gr.Label(num_top_classes=4, label=name) for name in MODELS]
    run.click(classify, photo, [*charts, said])
    unseen.click(drawn_anew, number, [photo, number])
    known.click(drawn_as_learnt, number, [photo, number])
    gr.Markdown("### The loss around the weights")
    radius = gr.Slider(0.2, 1.5, 0.8, step=0.1, label="Half side of the square, in weight space")
    draw = gr.Button("Draw both surfaces", variant="primary")
    plane = shown_picture("Training loss over a square around the weights", titled=True)
    table = gr.Dataframe(
        interactive=False,
        headers=["model", "training loss", "gap at rho 0.05", "cosine"],
        label="Sharpness on 512 pictures",
    )
    drawing = draw.click(surfaces, radius, [plane, table], **HEAVY)
    cancel_button(drawing)


@told
def classify(path: str | None) -> tuple[dict[str, float], dict[str, float], str]:
    """Probabilities by class of both models, and what they learnt from."""
    given = picture(path, "a picture")
    ours, usual = (model(name).predict(given)[0] for name in MODELS.values())
    return dict(ours.top), dict(usual.top), explained(ours, usual)


def explained(ours: Any, usual: Any) -> str:
    """Both results in words."""
    same = ours.label == usual.label
    other = "so does training as usual" if same else f"training as usual says {usual.label}"
    return (
        f"**{ours.label}**, {percent(ours.probability)}; {other}. Learnt from the styles"
        f" {' and '.join(ours.trained_on)}: on any other style the probability is less sure than it says."
        f" Rule: {ours.rule}."
    )


@told
def drawn_anew(number: int) -> tuple[str, int]:
    """A picture of the style that was held out, and the number of the next one."""
    return _drawn(1, number)


@told
def drawn_as_learnt(number: int) -> tuple[str, int]:
    """A picture of a source style that was kept from training, and the number of the next one."""
    return _drawn(0, number)


def _drawn(group: int, number: int) -> tuple[str, int]:
    from mien.core.images import read_image
    from mien.methods.sagm.evaluate import own_splits

    split = own_splits(model(OURS).folder)[group][0]
    images = split.outer if group == 0 else split.inner
    (own,) = images.pictures([number * _STEP % len(images)])
    return saved_picture(read_image(own), split.name), number + 1


@told
def surfaces(radius: float) -> tuple[Any, list[list[str]]]:
    """Both loss surfaces as a picture, and their sharpness. Some five seconds.

    Weights move while this runs, so the models are its own.
    """
    import mien
    from mien.core.images import read_image
    from mien.methods.sagm.demo import plot_surfaces, surface_of
    from mien.methods.sagm.evaluate import own_splits

    watch, found = Watch(), {}
    for done, (name, weights) in enumerate(MODELS.items()):
        watch(done, len(MODELS), f"the surface of {name}")
        own: Any = mien.load(weights)
        found[name] = surface_of(own, own_splits(own.folder)[0], radius)
    rows = [[n, *(f"{s.report[k]:.3f}" for k in ("loss", "gap", "cosine"))] for n, s in found.items()]
    return read_image(plot_surfaces(found)), rows
