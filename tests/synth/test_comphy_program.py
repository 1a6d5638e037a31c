from __future__ import annotations

import itertools

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.comphy_program import AS_RELEASED, MODULES, Executor, check_program
from mien.synth.comphy_scene import Change, ComPhyScene, Event, Thing

CYAN = ("objects", "cyan", "filter_color", "unique")
PURPLE = ("objects", "purple", "filter_color", "unique")
GRAY = ("objects", "gray", "filter_color", "unique")


def scene(**changes):
    """The scene of the worked numbers: 0 and 1 meet at frame 60; 2 comes in at 20, leaves at 100."""
    things = (
        Thing("cyan", "rubber", "cube", 5, 1),
        Thing("purple", "metal", "sphere", 1, 1),
        Thing("gray", "rubber", "cylinder", 5, 0),
    )
    centres = np.zeros((150, 3, 2))
    centres[:, 0, 0] = 100 + 1.0 * np.arange(150)  # right
    centres[:, 1] = 50  # rests
    centres[:, 2, 1] = 300 - 2.0 * np.arange(150)  # up
    visible = np.ones((150, 3), bool)
    visible[:20, 2] = visible[100:, 2] = False
    given = {
        "things": things,
        "in_out": (Event("in", (2,), 20), Event("out", (2,), 100)),
        "collisions": (Event("collision", (0, 1), 60), Event("collision", (1, 2), 80),
                       Event("collision", (0, 2), 130)),
        "centres": centres,
        "visible": visible,
        "counterfactuals": {
            Change(0, "mass", 1): (Event("collision", (1, 2), 90),),
            Change(0, "charge", -1): (),
        },
    }  # fmt: skip
    return ComPhyScene(**(given | changes))


def ask(program, compat=True, **changes):
    words = program.split() if isinstance(program, str) else [w for p in program for w in p.split()]
    return Executor(scene(**changes), compat).run(words)


C, P, G = (" ".join(p) for p in (CYAN, PURPLE, GRAY))


def test_worked_answers_of_the_method_page():
    one = {"collisions": (Event("collision", (0, 1), 60),)}
    assert ask("objects filter_charged count", **one) == "2"
    assert ask("objects filter_heavy count", **one) == "2"
    heavier = "objects cyan filter_color filter_mass unique objects purple filter_color filter_mass unique"
    assert ask(f"{heavier} is_heavier", **one) == "yes"
    assert ask(f"{heavier} is_lighter", **one) == "no"
    assert ask(f"{C} {P} equal_charge", **one) == "yes"
    assert ask("objects filter_charged query_both_color", **one) == "cyan and purple"
    partner = f"events {C} filter_collision unique {C} query_collision_partner query_color"
    assert ask(partner, **one) == "purple"


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ("objects count", "3"),
        ("events count", "6"),  # start, in, two collisions, out, end
        ("all_events count", "3"),
        ("unseen_events count", "1"),
        ("events filter_start query_frame", "0"),
        ("events filter_end query_frame", "125"),
        (f"events {G} filter_in unique query_frame", "20"),
        (f"events {G} filter_out unique query_object query_shape", "cylinder"),
        (f"events {C} filter_in exist", "no"),
        (f"events {P} filter_collision first filter_order query_frame", "60"),
        (f"events {P} filter_collision second filter_order query_frame", "80"),
        (f"events {P} filter_collision last filter_order {P} query_collision_partner query_color", "gray"),
        (f"events events {P} filter_collision first filter_order filter_before count", "2"),
        (f"events events {P} filter_collision first filter_order filter_after count", "3"),
        (f"events events {G} filter_collision first filter_order filter_ancestor count", "2"),
        ("objects filter_uncharged unique query_shape", "cylinder"),
        ("objects filter_light unique query_material", "metal"),
        ("objects rubber filter_material cube filter_shape count", "1"),
        ("objects null filter_moving count", "2"),
        ("objects null filter_stationary unique query_color", "purple"),
        ("objects null filter_resting unique query_color", "purple"),
        (f"objects events {G} filter_out unique query_frame filter_moving count", "1"),
        (f"{C} {G} equal_charge", "no"),
        (f"{G} {G} equal_charge", "no"),  # equal, but both zero
        (f"{C} {G} equal_charge not", "yes"),
        ("objects filter_charged query_both_shape", "cube and sphere"),
        ("objects filter_same query_both_material", "rubber and metal"),
        (f"{C} null query_direction", "right"),
        (f"{G} events {G} filter_in unique query_frame query_direction", "up"),
        (f"{P} events {P} filter_collision belong_to", "yes"),
        (f"all_events {C} filter_collision {P} filter_collision unique unseen_events belong_to", "no"),
        (f"all_events {C} filter_collision {G} filter_collision unique unseen_events belong_to", "yes"),
        (f"all_events {C} lighter filter_counterfact count", "1"),
        (f"{C} opposite counterfact_events count", "0"),
        ("<START> objects count <END> exist", "3"),
        ("objects count <NULL> exist", "3"),
    ],
)  # fmt: skip
def test_every_module_answers(program, answer):
    assert ask(program) == answer
    assert ask(program, compat=False) == answer


@pytest.mark.parametrize(
    "program",
    [
        "",
        "count",
        "objects filter_color",
        "objects metal filter_color",
        "objects huge filter_shape",
        "objects objects filter_color",
        "events cyan filter_color",
        "red count",
        "objects count exist",
        "objects filter_opposite",
        "objects exist negate negate count",
        "objects third filter_order",
        f"events {C} filter_collision second filter_order",
        f"events {C} filter_collision filter_start",
        f"events {C} filter_collision first filter_order query_object",
        f"events {G} filter_out unique {G} query_collision_partner",
        f"events {P} filter_collision first filter_order {G} query_collision_partner",
        f"all_events {C} filter_collision first filter_order query_frame",
        f"{C} {P} is_heavier count",
        f"{C} heavier counterfact_events",  # not recorded
        f"{C} bigger counterfact_events",
        f"{P} first query_direction",
        f"{G} events filter_start query_frame query_direction",  # not yet visible
        "objects filter_mass query_color",
        "objects filter_heavy filter_charged query_both_color",  # one object
        "yes no is_lighter",
    ],
)
def test_wrong_arguments_are_an_error(program):
    assert ask(program) == "error"


def test_unknown_words_are_pushed_and_can_be_refused():
    assert ask("objects huge") == "huge"
    assert ask("teapot") == "teapot"
    executor = Executor(scene())
    with pytest.raises(ConfigError, match="word 1: 'teapot' is no module"):
        executor.run(["objects", "teapot", "filter_color"], strict=True)
    with pytest.raises(ConfigError, match="word 1: filter_color needs 2 arguments, 1 are there"):
        executor.run(["objects", "filter_color"], strict=True)
    with pytest.raises(ConfigError, match="empty"):
        check_program(["<START>", "<END>"])
    check_program([*CYAN, "lighter", "counterfact_events", "count"])
    assert executor.run(["objects", "count"], strict=True) == "3"


def test_released_quirks_are_behind_the_flag():
    pair, three = "objects rubber filter_material unique", "objects unique query_color"
    assert (ask(pair), ask(pair, compat=False)) == ("[0, 2]", "error")
    assert (ask(three), ask(three, compat=False)) == ("cyan", "error")
    opposite = (*scene().things[:1], Thing("purple", "metal", "sphere", 1, -1), *scene().things[2:])
    same = "objects filter_same count"
    assert (ask(same, things=opposite), ask(same, False, things=opposite)) == ("2", "error")
    assert ask("objects filter_opposite count", things=opposite) == "2"
    resting = f"{P} null query_direction"
    assert (ask(resting), ask(resting, compat=False)) == ("left", "error")
    heavier_of_pair = "objects filter_charged filter_mass unique null is_heavier"
    assert ask(heavier_of_pair) == "yes"


def test_both_tables_hold_the_modules_of_the_format():
    assert MODULES.keys() == AS_RELEASED.keys()
    assert len(MODULES) == 47
    assert {k: n for k, (n, _) in MODULES.items()} == {k: n for k, (n, _) in AS_RELEASED.items()}


def test_no_arguments_break_a_module():
    """Every kind of argument in every place: an answer or "error", never an exception; most answer."""
    pool = ["objects", C, "events", f"events {P} filter_collision first filter_order", "all_events", "cyan",
            "null", "first", "lighter", "objects filter_mass", "objects filter_mass unique", "objects exist",
            "objects metal filter_material sphere filter_shape",
            "events filter_start query_frame"]  # fmt: skip
    for compat in (True, False):
        executor, mute = Executor(scene(), compat), []
        for name, (count, _) in MODULES.items():
            programs = itertools.product(pool, repeat=count)
            answers = {executor.run([*" ".join(p).split(), name]) for p in programs}
            assert all(isinstance(a, str) for a in answers)
            mute += [name] if answers == {"error"} else []
        assert len(mute) < 6
