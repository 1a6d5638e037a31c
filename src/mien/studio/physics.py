"""Things that push, hit and attract each other: what is heavy, what is charged, and what if it were not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mien.studio.parts import (
    HEAVY,
    Watch,
    arrived,
    cancel_button,
    held,
    model,
    needed,
    scratch,
    shown_film,
    told,
)

TITLE = "Physics"
MODEL = "phycine/small"
CHANGES = {
    "its charge is gone": ("charge", 0.0),
    "its charge is turned": ("charge", -1.0),
    "it is five times heavier": ("mass", 5.0),
    "it is five times lighter": ("mass", 0.2),
}
STARTS = ["the first frames", "the last frame"]
SECONDS, MOST_CLIPS, STEPS, _REFERENCES = 10.0, 6, 20, 2
_COLUMNS = ["slot", "colour", "mass", "charge", "z_m", "z_m ±", "z_c", "z_c ±"]


def build() -> None:
    """The tab."""
    import gradio as gr

    gr.Markdown(
        "A clip of things on a table, seen from above. PHYCINE finds the objects and, from how they move"
        " alone, which are heavy and which are charged. It learnt from simulated clips of 2 : 3: spheres,"
        " cubes and cylinders on grey."
    )
    own = held()
    with gr.Row():
        with gr.Column():
            clip = gr.Video(label="Clip", height=260, sources=["upload"])
            others = gr.File(
                file_count="multiple",
                file_types=["video"],
                label=f"Other clips with some of its objects, at most {MOST_CLIPS} (they tell more of them)",
            )
            with gr.Row():
                run = gr.Button("Explain", variant="primary")
                example = gr.Button("A simulated example")
            cancel = gr.Row()
        with gr.Column():
            said = gr.Markdown(elem_classes="mien-said")
            slots = shown_film("The clip, what the slots draw, whose each pixel is", 200)
    objects = gr.Dataframe(interactive=False, headers=_COLUMNS, label="Objects")
    with gr.Row():
        with gr.Column():
            gr.Markdown("### What if?")
            which = gr.Dropdown([], label="Object")
            change = gr.Radio(list(CHANGES), value=next(iter(CHANGES)), label="Change")
            start = gr.Radio(STARTS, value=STARTS[0], label="From when on")
            ask = gr.Button("Predict")
            film = shown_film("What comes: as it is, and changed", 220)
        answers = gr.Dataframe(
            interactive=False,
            headers=["question", "answer", "sure"],
            column_widths=["60%", "20%", "20%"],
            label="Questions",
            wrap=True,
        )
    shown = [own, said, slots, objects, which, answers]
    explaining = run.click(explain, [clip, others], shown, **HEAVY)
    making = example.click(simulated, None, [clip, others], **HEAVY)
    asking = ask.click(what_if, [own, which, change, start], film, **HEAVY)
    with cancel:
        cancel_button(explaining, making, asking)


@told
def simulated() -> tuple[str, list[str]]:
    """A simulated clip that no training saw, and two with some of its objects. Some ten seconds."""
    from mien.data.video import write_video
    from mien.methods.phycine.demo import example
    from mien.methods.phycine.pictures import enlarged
    from mien.methods.phycine.task import configs

    one, folder = example(configs(model(MODEL).folder.recipe)[1]), scratch()
    names = ["clip", *(f"reference_{k + 1}" for k in range(_REFERENCES))]
    paths = [
        str(write_video(folder / f"{name}.mp4", enlarged(c.video()), 1 / c.dt).path)
        for name, c in zip(names, one.clips, strict=False)
    ]
    return paths[0], paths[1:]


@told
def explain(
    path: str | None, others: list[str] | None
) -> tuple[Any, str, str | None, list[list[Any]], Any, list[list[str]]]:
    """The objects of a clip. Three seconds for each clip of two seconds."""
    import gradio as gr

    from mien.core.errors import ConfigError
    from mien.methods.phycine.asking import answers
    from mien.methods.phycine.objects import objects_of, thresholds_at_hand
    from mien.methods.phycine.predict import status_of, write_slots

    net, files = model(MODEL), [str(arrived(p, "a clip")) for p in (path, *(others or []))]
    if len(files) > 1 + MOST_CLIPS:
        raise ConfigError(f"{len(files) - 1} other clips; at most {MOST_CLIPS} are looked at here")
    clips = _watched(net, files)
    clip, known = clips[0], net.thresholds or thresholds_at_hand(clips)
    status = status_of(clip)
    found = objects_of(clip, known, named=status == "ok")
    if status == "no_object":
        raise ConfigError("no object is seen in this clip; it should show things on plain ground from above")
    choices = [f"{o.slot}: {o.color}" for o in found]
    asked = [[a.question, a.answer, "yes" if a.sure else "no"] for a in answers(clip, found, known)]
    film = str(write_slots(clip, scratch() / "slots.mp4", 1 / net.net.dt))
    return (
        (clip, found),
        explained(status, found),
        film,
        rows_of(found),
        gr.Dropdown(choices, value=choices[0]),
        asked,
    )


def _watched(net: Any, files: list[str]) -> list[Any]:
    """The clips as they are seen; the first with what the others tell of its objects."""
    from mien.methods.phycine.config import PredictOptions
    from mien.methods.phycine.watch import with_references

    watch, options, clips = Watch(), PredictOptions(seconds=SECONDS), []
    for k, file in enumerate(files):
        watch(k, len(files) + 1, f"clip {k + 1} of {len(files)}")
        clips.append(net.watch(file, options))
    watch(len(files), len(files) + 1, "masses and charges")
    return [with_references(net.net, clips[0], clips[1:]), *clips[1:]]


def explained(status: str, found: Any) -> str:
    """What was found in words."""
    if status != "ok":
        why = "it is too short" if status == "too_short" else "nothing moves"
        return f"**{len(found)} objects**; masses and charges are unknown: {why}."
    heavy = [o.color for o in found if o.mass == "heavy"]
    charged = [f"{o.color} {o.charge}" for o in found if o.charge in ("+", "-")]
    return (
        f"**{len(found)} objects.** Heavy: {', '.join(heavy) or 'none'}."
        f" Charged: {', '.join(charged) or 'none'} (signs up to a common one)."
    )


def rows_of(found: Any) -> list[list[Any]]:
    """A row for each object."""
    return [
        [o.slot, o.color, o.mass, o.charge, *(_number(v) for v in (o.z_m, o.z_m_std, o.z_c, o.z_c_std))]
        for o in found
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


@told
def what_if(state: Any, which: str | None, change: str, start: str = "the last frame") -> str:
    """A film of what comes after a frame, and of what would come under a change."""
    from mien.core.errors import ConfigError
    from mien.methods.phycine.config import Intervention
    from mien.methods.phycine.demo import Beginning, at_the_start
    from mien.methods.phycine.objects import factors
    from mien.methods.phycine.predict import write_rollouts

    clip, found = needed(state, "a clip to explain")
    if clip.latents is None:
        raise ConfigError("this clip is too short to say what comes next")
    net = model(MODEL)
    what, factor = CHANGES[change]
    slot = needed(which, "an object").partition(":")[0]
    changes = factors([Intervention(what, slot, factor)], found)
    if start == STARTS[0]:
        clip = replace(clip, latents=at_the_start(clip, Beginning.of(net.net, clip)))
    rolled = net.rollouts(clip, STEPS, changes)
    return str(write_rollouts(rolled, scratch() / "rollout.mp4", 1 / net.net.dt))
