"""The net reads words and objects as sets of tokens, learns, and its answers find back to their questions."""

from types import SimpleNamespace

import pytest
import torch

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.core.io import read_json
from mien.data import answer_file, write_submission
from mien.methods.phycine.answers import AnswerNet, Read, Rows, answers, rows_of, submission
from mien.methods.phycine.words import UNTOLD, Vocabulary
from mien.metrics import comphy_scores
from mien.synth.comphy_questions import QuestionGenerator
from mien.synth.comphy_set import draw_set, question_file

WORDS, CLASSES, INPUTS = 20, 5, 3


def drawn_rows(count=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(1, WORDS, (count, 7), generator=g)
    words[::2, 5:] = 0
    choice = torch.arange(count) % 3 == 0
    target = torch.where(
        choice,
        torch.randint(2, (count,), generator=g),
        torch.randint(CLASSES, (count,), generator=g),
    )
    present = torch.rand((count, 8), generator=g) < 0.8
    return Rows(words, torch.randn((count, 8, INPUTS), generator=g), present, target, choice)


def net_of(inputs=INPUTS, **options):
    torch.manual_seed(0)
    return AnswerNet(inputs, WORDS, CLASSES, width=16, heads=2, length=10, **{"layers": 2, **options}).eval()


def read(net, rows):
    found = net(rows.words, rows.objects, rows.present)
    return torch.cat([found.classes, found.choice[:, None]], 1)


@pytest.fixture(scope="module")
def asked_sets():
    """Two made sets with their questions."""
    drawn = [draw_set(n) for n in (0, 1)]
    asked = [QuestionGenerator(d.scene).generate() for d in drawn]
    return [SimpleNamespace(number=40 + n, questions=q) for n, q in enumerate(asked)]


def test_a_few_rows_are_learnt_by_heart():
    rows, g = drawn_rows(30), torch.Generator().manual_seed(0)
    net = net_of(layers=1).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    first = float(net.eval().loss(rows, g)[0].detach())
    net.train()
    for _ in range(80):
        loss, _ = net.loss(rows, g, masked=0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    last, right = net.eval().loss(rows, g)
    assert first > 1
    assert last < 0.1 * first
    assert right == 1


def test_objects_are_a_set():
    rows, net = drawn_rows(), net_of()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    moved = rows._replace(objects=rows.objects[:, order], present=rows.present[:, order])
    assert torch.allclose(read(net, rows), read(net, moved), atol=1e-5)


def test_the_order_of_words_matters():
    rows, net = drawn_rows(), net_of()
    turned = rows._replace(words=rows.words.flip(1))
    assert (read(net, rows) - read(net, turned)).abs().max() > 1e-3


def test_padding_and_absent_objects_change_nothing():
    rows, net = drawn_rows(), net_of()
    longer = rows._replace(
        words=torch.nn.functional.pad(rows.words, (0, 3)),
        objects=torch.where(rows.present[..., None], rows.objects, torch.nan),
    )
    assert torch.allclose(read(net, rows), read(net, longer), atol=1e-5)
    other = rows._replace(objects=torch.where(rows.present[..., None], 99.0, rows.objects))
    assert (read(net, rows) - read(net, other)).abs().max() > 1e-3


def test_without_inputs_the_question_alone_is_read():
    rows, net = drawn_rows(), net_of(inputs=0)
    blind = rows._replace(objects=rows.objects[:, :0, :0], present=rows.present[:, :0])
    assert torch.equal(read(net, rows), read(net, blind))
    assert net.loss(rows, torch.Generator(), masked=0.5)[0].isfinite()


def test_the_loss_is_the_mean_of_both_kinds():
    rows, net = drawn_rows(), net_of()
    found = Read(*(part.detach() for part in net(rows.words, rows.objects, rows.present)))
    by_hand = 0.0
    for b in range(6):
        if rows.is_choice[b]:
            p = found.choice[b].sigmoid()
            by_hand -= float((p if rows.target[b] else 1 - p).log())
        else:
            by_hand -= float(found.classes[b].softmax(0)[rows.target[b]].log())
    assert float(net.loss(rows, torch.Generator())[0].detach()) == pytest.approx(by_hand / 6, abs=1e-5)


def test_rows_without_a_target_count_as_nothing():
    rows, net, g = drawn_rows(), net_of(), torch.Generator()
    untold = rows._replace(target=torch.cat([rows.target[:3], torch.full((3,), UNTOLD)]))
    first = Rows(*(part[:3] for part in rows))
    assert torch.allclose(net.loss(untold, g)[0], net.loss(first, g)[0])
    none = rows._replace(target=torch.full((6,), UNTOLD))
    assert float(net.loss(none, g)[0].detach()) == 0


def test_what_is_hidden_is_not_seen_but_for_what_is_told():
    rows, net = drawn_rows(), net_of(told=1)
    hidden = torch.zeros_like(rows.present)
    hidden[:, 2] = True
    here = net(rows.words, rows.objects, rows.present, hidden)
    for feature, alike in ((2, True), (0, False)):
        other = rows.objects.clone()
        other[:, 2, feature] += 5
        again = net(rows.words, other, torch.ones_like(rows.present), hidden)
        plain = net(rows.words, rows.objects, torch.ones_like(rows.present), hidden)
        assert torch.allclose(again.objects, plain.objects) == alike
    assert here.objects.shape == (6, 8, 2)


def test_hidden_objects_are_learnt_from_the_others():
    """All objects of a row are alike: what is hidden can be told."""
    g = torch.Generator().manual_seed(0)
    rows = drawn_rows(32)
    rows = rows._replace(
        objects=torch.randn((32, 1, INPUTS), generator=g).expand(-1, 8, -1),
        target=torch.full((32,), UNTOLD),
    )
    net = net_of()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    losses = []
    for _ in range(80):
        loss, _ = net.loss(rows, g, masked=0.3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 0.02
    assert sum(losses[-10:]) / 10 < 0.3 * losses[0]


def test_the_same_generator_hides_the_same():
    rows, net = drawn_rows(), net_of()
    one, two, other = (
        float(net.loss(rows, torch.Generator().manual_seed(s), masked=0.4)[0].detach()) for s in (1, 1, 2)
    )
    assert one == two != other


def test_rows_are_gathered_from_their_sets(asked_sets):
    vocabulary = Vocabulary.of(asked_sets)
    asked = vocabulary.encode(asked_sets)
    objects = torch.arange(2.0)[:, None, None].expand(2, 4, INPUTS)
    rows = rows_of(asked, objects, torch.ones(2, 4, dtype=torch.bool), torch.tensor([0, len(asked) - 1]))
    assert rows.objects[:, 0, 0].tolist() == [0, 1]
    assert rows.target.tolist() == asked.target[[0, -1]].tolist()


def test_answers_come_back_to_their_questions(asked_sets, tmp_path):
    """Right answers, put back, score 1; those of a net have ComPhy's words and another score."""
    vocabulary = Vocabulary.of(asked_sets)
    asked = vocabulary.encode(asked_sets)
    truth = question_file([s.number for s in asked_sets], [s.questions for s in asked_sets])
    right = [
        ("wrong", "correct")[t] if c else vocabulary.answers[t]
        for t, c in zip(asked.target.tolist(), asked.is_choice.tolist(), strict=True)
    ]
    path = write_submission(tmp_path / "answers.json", **submission(asked_sets, asked, right))
    assert set(comphy_scores(read_json(path), truth).values()) == {1.0}

    net = AnswerNet(INPUTS, len(vocabulary), len(vocabulary.answers), width=8, layers=1, heads=2)
    objects, present = torch.zeros(2, 4, INPUTS), torch.ones(2, 4, dtype=torch.bool)
    found = answers(net, asked, vocabulary, objects, present, batch=7)
    assert found == answers(net, asked, vocabulary, objects, present)
    assert {a for a, c in zip(found, asked.is_choice, strict=True) if c} <= {"correct", "wrong"}
    assert comphy_scores(answer_file(**submission(asked_sets, asked, found)), truth)["factual"] < 1


def test_a_submission_needs_an_answer_a_row_of_one_split(asked_sets):
    vocabulary = Vocabulary.of(asked_sets)
    twice = [asked_sets[0], asked_sets[0]]
    asked = vocabulary.encode(twice)
    with pytest.raises(ShapeError, match=r"0 answers to \d+ rows"):
        submission(twice, asked, [])
    with pytest.raises(ConfigError, match="one split"):
        submission(twice, asked, ["yes"] * len(asked))
    with pytest.raises(DataError, match="word"):
        Vocabulary((), ()).encode(asked_sets)


@pytest.mark.parametrize("options", [{"heads": 3}, {"told": 4}, {"length": 0}, {"classes": 0}])
def test_sizes_that_are_not_possible_are_refused(options):
    with pytest.raises(ConfigError, match="AnswerNet needs"):
        AnswerNet(**{"inputs": 3, "words": 9, "classes": 2, **options})


def test_shapes_that_do_not_fit_are_refused():
    rows, net = drawn_rows(), net_of()
    with pytest.raises(ShapeError, match="up to 10"):
        net(torch.ones(6, 11, dtype=torch.long), rows.objects, rows.present)
    with pytest.raises(ShapeError, match="objects must be"):
        net(rows.words, rows.objects[..., :2], rows.present)
    with pytest.raises(ShapeError, match="for 2 questions"):
        net(rows.words[:2], rows.objects, rows.present)
