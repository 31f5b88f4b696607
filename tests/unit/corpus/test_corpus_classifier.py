import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from megalite.config.errors import DataError
from megalite.corpus.classify.classifier import Features, load_classifier
from megalite.corpus.classify.logistic import calibrate, feature_matrix, fit
from megalite.corpus.classify.train import area_under_roc, calibration_error, train_classifier
from megalite.files.readers.documents import read_documents

GOOD = "tree river bread quiet winter garden letter window music".split()
BAD = "prize click winner cash offer urgent claim bonus deal".split()


def labelled(count: int, purity: float = 0.8) -> list[tuple[str, bool]]:
    draw = random.Random(3)
    rows = []
    for _ in range(count):
        is_bad = draw.random() < 0.4
        own, other = (BAD, GOOD) if is_bad else (GOOD, BAD)
        rows.append((" ".join(draw.choice(own if draw.random() < purity else other) for _ in range(9)), is_bad))
    return rows


def test_features_are_a_function_of_the_text_alone() -> None:
    features = Features(bits=18)
    buckets = features.buckets("Hello,  World")
    assert buckets.tolist() == sorted(set(buckets.tolist()))
    assert buckets.tolist() == features.buckets("hello, world ").tolist()
    assert features.buckets("hello, worlds").tolist() != buckets.tolist()
    assert buckets[:4].tolist() == [1374, 3353, 4110, 8647]  # for good: trained weights depend on them
    assert len(features.buckets("")) <= 2
    assert len(features.buckets("ab\ud800 \U0001f600")) > 3


def test_long_texts_are_looked_at_in_their_beginning_and_middle() -> None:
    features = Features(bits=18, max_characters=40)
    text = "a" * 20 + "b" * 200 + "c" * 20 + "d" * 220
    assert set(features.buckets(text)) == set(Features(bits=18).buckets("a" * 20 + " " + text[230:250]))


def test_the_fit_is_the_minimum_of_the_penalised_log_loss() -> None:
    draw = np.random.default_rng(0)
    rows = [np.unique(draw.integers(0, 30, 6)).astype(np.uint32) for _ in range(400)]
    labels = [bool(row[0] < 4) for row in rows]
    penalty = 1e-3
    targets = np.array(labels, dtype=float)
    point = fit(feature_matrix(rows, 30), targets, penalty, np.zeros(31), tolerance=1e-7, iterations=300)
    matrix = np.zeros((400, 31))
    for row, columns in enumerate(rows):
        matrix[row, columns] = len(columns) ** -0.5
    matrix[:, 30] = 1
    damped = np.append(np.full(30, penalty), 0.0)
    exact = np.zeros(31)
    for _ in range(50):  # Newton's method, with the whole matrix
        chances = 1 / (1 + np.exp(-matrix @ exact))
        gradient = matrix.T @ (chances - labels) / 400 + damped * exact
        hessian = (matrix * (chances * (1 - chances))[:, None]).T @ matrix / 400 + np.diag(damped)
        exact -= np.linalg.solve(hessian, gradient)

    def loss(at: np.ndarray) -> float:
        logits = matrix @ at
        return float(np.mean(np.logaddexp(0, logits) - np.array(labels) * logits) + damped @ at**2 / 2)

    assert loss(exact) <= loss(point) < loss(exact) * 1.0001


def test_calibration_finds_the_slope_and_offset() -> None:
    draw = np.random.default_rng(1)
    logits = draw.normal(size=40_000) * 2
    labels = (draw.random(40_000) < 1 / (1 + np.exp(1 - 0.5 * logits))).astype(float)
    assert calibrate(logits, labels) == pytest.approx((0.5, -1.0), abs=0.05)
    separated = calibrate(np.array([-1.0, -2, 1, 2]), np.array([0.0, 0, 1, 1]))
    assert np.isfinite(separated).all()


def test_the_area_under_the_curve_is_the_share_of_ordered_pairs() -> None:
    draw = np.random.default_rng(2)
    scores, labels = draw.integers(0, 9, 80).astype(float), (draw.random(80) < 0.3).astype(float)
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels > 0.5] for n in scores[labels < 0.5]]
    assert area_under_roc(scores, labels) == pytest.approx(np.mean(pairs))
    assert calibration_error(np.full(10, 0.3), np.array([1.0] * 3 + [0.0] * 7)) == pytest.approx(0)
    assert calibration_error(np.full(10, 0.9), np.array([1.0] * 3 + [0.0] * 7)) == pytest.approx(0.6)


def test_a_trained_classifier_is_right_and_calibrated(tmp_path: Path) -> None:
    classifier, report = train_classifier(iter(labelled(1500)), Features(bits=14), Console(quiet=True))
    assert area_under_roc(report.chances, report.labels) > 0.97
    assert calibration_error(report.chances, report.labels) < 0.05
    assert classifier.probability("click to claim your cash prize") > 0.9
    assert classifier.probability("a quiet garden by the river in winter") < 0.1
    threshold, precision, recall, share = report.rows()[0]
    above = report.chances >= threshold
    assert precision == pytest.approx(report.labels[above].mean())
    assert recall == pytest.approx(report.labels[above].sum() / report.labels.sum())
    assert share == pytest.approx(above.mean())
    classifier.save(tmp_path / "c.safetensors")
    again = load_classifier(tmp_path / "c.safetensors")
    assert again.probability("cash prize") == classifier.probability("cash prize")
    assert again.facts == report.facts()
    assert (again.features, again.slope) == (classifier.features, classifier.slope)


def test_copies_of_a_text_never_stand_on_both_sides() -> None:
    rows = labelled(300, purity=1.0)
    noise = [(f"{text} {k}", random.Random(k).random() < 0.5) for k, (text, _) in enumerate(rows)]  # labels by chance
    copies = [(text.upper() + "!" * k, label) for text, label in noise for k in range(5)]
    _, report = train_classifier(iter(copies), Features(bits=16), Console(quiet=True))
    assert area_under_roc(report.chances, report.labels) < 0.75  # learned by heart it would be 1


def test_too_few_documents_of_a_class_are_refused() -> None:
    with pytest.raises(DataError, match=r"positive of .* documents; each part needs at least 20"):
        train_classifier(iter(labelled(100)), Features(bits=12), Console(quiet=True))


def test_the_command_trains_and_refuses_an_existing_output(megalite: Any, tmp_path: Path) -> None:
    rows = labelled(1500)
    data = tmp_path / "d.jsonl"
    data.write_text(
        "".join(
            json.dumps({"text": text, "meta": {"label": "spam" if is_bad else "ham"}}) + "\n" for text, is_bad in rows
        )
    )
    model = tmp_path / "m/c.safetensors"
    done = megalite(
        "train-classifier", "--input", str(data), "--positive", "spam", "--output", str(model), "--bits", "12"
    )
    assert done.returncode == 0, done.stderr
    for word in ("precision", "recall", "held out", "calibration error"):
        assert word in done.stdout
    assert load_classifier(model).probability(" ".join(BAD)) > 0.9
    refused = megalite("train-classifier", "--input", str(data), "--positive", "spam", "--output", str(model))
    assert (refused.returncode, refused.stderr) == (
        2,
        f"megalite: error: {model}: exists; choose another name, or give --overwrite\n",
    )


def test_precision_and_recall_on_real_messages(shared_data: Path) -> None:
    rows = read_documents([shared_data / "messy/sms_spam_en.jsonl.zst"])
    pairs = ((d.text, d.meta["label"] == "spam") for d in rows)
    _, report = train_classifier(pairs, Features(bits=16, characters=(3, 4), words=(1,)), Console(quiet=True))
    above = report.chances > 0.5
    assert report.labels[above].mean() > 0.95
    assert report.labels[above].sum() / report.labels.sum() > 0.85
