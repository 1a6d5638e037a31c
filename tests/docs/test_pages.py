"""Pages of the documentation run from top to bottom, in one folder, as a reader would go through them.

``console`` blocks are run, line by line; ``python`` blocks of a page share their names; what stands under
``<!-- minutes -->`` is left to the slow tests. ``sh`` blocks need a reader's own data or machines: that the
command line understands them is all that is tested.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mien.cli.main import VERBS, main

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if p.parent.name not in ("methods", "reference"))
RUN = ("python", "console")
LANGUAGES = (*RUN, "sh", "text", "toml")
OF_ALL = {"--weights", "--output", "--json"}
"""Flags that a verb has whatever the method, which its help of a method need not list."""
READ_ONLY = {"results"}
"""Verbs that write nothing in the folder they are called in."""
_BLOCK = re.compile(r"(<!-- minutes -->\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def steps(page):
    """(is slow, language, body) of each block, in order."""
    return [(bool(slow), language, body) for slow, language, body in _BLOCK.findall(page.read_text())]


def named(page):
    return str(page.relative_to(DOCS))


def commands(body):
    """Words of the lines that call mien."""
    joined = body.replace("\\\n", " ")
    words = [shlex.split(line, comments=True) for line in joined.splitlines()]
    return [w[1:] for w in words if w[:1] == ["mien"]]


def go_through(page, *, with_slow):
    names = {"__name__": "page"}
    for slow, language, body in steps(page):
        if slow and not with_slow:
            continue
        if language == "python":
            exec(compile(body, named(page), "exec"), names)
        elif language == "console":
            for words in commands(body):
                assert main(words) == 0, " ".join(words)


def that_run(*, slow):
    return [p for p in PAGES if any(s is slow and language in RUN for s, language, _ in steps(p))]


@pytest.mark.parametrize("page", that_run(slow=False), ids=named)
def test_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    go_through(page, with_slow=False)
    assert {language for _, language, _ in steps(page)} <= set(LANGUAGES)


@pytest.mark.slow
@pytest.mark.parametrize("page", that_run(slow=True), ids=named)
def test_the_page_runs_with_what_takes_minutes(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    go_through(page, with_slow=True)
    verbs = {words[0] for _, language, body in steps(page) if language in RUN for words in commands(body)}
    assert any(tmp_path.rglob("*")) or verbs <= READ_ONLY


def shown():
    for page in PAGES:
        for _, language, body in steps(page):
            if language == "sh":
                for words in commands(body):
                    yield pytest.param(words, id=" ".join(words))


@pytest.mark.parametrize("words", list(shown()))
def test_commands_that_need_more_than_mien_are_understood(words, capsys):
    verb, *rest = words
    assert verb == "--help" or verb in VERBS
    if verb == "train" and "--resume" not in rest:
        from mien.cli.train import parse_recipe

        assert parse_recipe(rest[0], rest[1:])[0].name
        return
    names = [w for w in rest[:1] if not w.startswith("-")]
    assert main([verb, *names, "--help"] if verb != "--help" else words) in (0, 2)
    said = capsys.readouterr().out
    if verb in ("predict", "inspect", "sweep"):
        flags = {w for w in rest if w.startswith("--")} - OF_ALL
        assert {f for f in flags if f not in said} == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_method_and_package_has_its_page():
    from mien.core.catalogue import ready

    source = DOCS.parent / "src/mien"
    packages = {".".join(p.parent.relative_to(source).parts) for p in source.rglob("__init__.pyi")}
    assert {f"{m}.md" for m in ready()} <= {p.name for p in (DOCS / "methods").glob("*.md")}
    assert {f"{p}.md" for p in packages} <= {p.name for p in (DOCS / "reference").glob("*.md")}
