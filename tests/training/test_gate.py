"""The gate: each way in which a generator goes wrong is caught by the rule of its name."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import msgspec
import numpy as np
import pytest

from contract.settings import Settings
from contract.training import Recipe, Run
from training import gate, gate_metrics
from training.data.patches import Library
from training.degrade.apply import Pixels
from training.evaluate.methods import baseline
from training.gate import Figures, Method


def spoiled(spoil: Callable[[np.ndarray], np.ndarray]) -> Method:
    """Bicubic, sharpened to pass the rule of fidelity, and then spoiled in one way."""

    def method(pixels: Pixels, size: tuple[int, int]) -> Pixels:
        made = baseline("bicubic")(pixels, size).astype(np.float32)
        return np.asarray(spoil(made).clip(0, 255).round(), np.uint8)

    return method


def fading(strength: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda made: made.mean(2, keepdims=True) + (made - made.mean(2, keepdims=True)) * strength


WAYS = {
    "luma shift": lambda made: made + 4,
    "colour shift": lambda made: made + np.array([4.0, 0.0, -4.0]),
    "colour is kept": fading(0.5),
    "worst picture": lambda made: cv2.GaussianBlur(made, (0, 0), 3),
    "generic damage": lambda made: made + 12 * np.sign(made - cv2.GaussianBlur(made, (0, 0), 1)),
    "grey stays grey": lambda made: (
        made + 3 * (np.indices(made.shape[:2]).sum(0) % 2)[:, :, None] * np.array([1, 0, -1])
    ),
}


@pytest.fixture
def measured(small_run: Callable[..., Run], settings: Settings) -> Callable[[Method], tuple[Run, Figures]]:
    run = small_run()

    def measure(method: Method) -> tuple[Run, Figures]:
        methods = {"bicubic": baseline("bicubic"), "own": method}
        return run, gate.measure(run, methods, Library(settings), None)

    return measure


@pytest.mark.parametrize("rule", WAYS)
def test_each_fault_fails_the_rule_of_its_name(rule: str, measured: Callable[[Method], tuple[Run, Figures]]) -> None:
    """A cast of 4 code values, lost colour, blur, noise and tint are each refused by name; the sentence has the figures."""
    run, figures = measured(spoiled(WAYS[rule]))
    found = gate.judge(run, figures, "own", "bicubic", "")
    failed = {check.name for check in found.checks if not check.passed}
    assert rule in failed
    assert not found.passed
    assert any(sentence.startswith(f"{rule}: ") for sentence in gate.failures(found))


def test_grey_collapse_is_refused(measured: Callable[[Method], tuple[Run, Figures]]) -> None:
    """A generator that has fallen to grey fails by its colour, whatever its fidelity."""
    run, figures = measured(spoiled(fading(0.0)))
    failed = {check.name for check in gate.judge(run, figures, "own", "bicubic", "").checks if not check.passed}
    assert {"colour is kept", "colour shift"} <= failed


def test_an_equal_generator_is_refused_for_fidelity_alone(measured: Callable[[Method], tuple[Run, Figures]]) -> None:
    """A generator that is no better than its parent is not registered, although it breaks no other rule."""
    run, figures = measured(baseline("bicubic"))
    failed = {check.name for check in gate.judge(run, figures, "own", "bicubic", "").checks if not check.passed}
    assert failed == {"fidelity"}


def test_a_better_generator_passes() -> None:
    """Half a decibel more and nothing lost passes every rule."""
    run = _run("net")
    parent = {"psnr": 26.0, "luma": 1.0, "chroma": 1.0, "tint": 1.0, "generic": 25.0, "colour": 0.97, "flicker": 3.0}
    own = parent | {"psnr": 26.5}
    figures = Figures({name: {"parent": dict(parent), "own": dict(own)} for name in "abc"})
    assert gate.judge(run, figures, "own", "parent", "").passed


@pytest.mark.parametrize(
    ("rule", "figure", "value"), [("steadiness", "flicker", 3.2), ("perceptual distance", "distance", 0.3)]
)
def test_films_and_adversarial_results_have_rules_of_their_own(rule: str, figure: str, value: float) -> None:
    """Larger errors of frame differences, and a perceptual distance that is not lower, are refused."""
    parent = {"psnr": 26.0, "luma": 1.0, "chroma": 1.0, "tint": 1.0, "generic": 25.0, "flicker": 3.0, "distance": 0.3}
    own = parent | {"distance": 0.2} | {figure: value}
    figures = Figures({name: {"parent": dict(parent), "own": dict(own)} for name in "abc"})
    found = gate.judge(_run("gan"), figures, "own", "parent", "LPIPS")
    assert {check.name for check in found.checks if not check.passed} == {rule}


def test_differences_between_frames_are_measured() -> None:
    """A method that flickers between two equal frames has the flicker's size as its error."""
    clean = np.full((64, 64, 3), 100, np.uint8)
    assert gate_metrics.flicker((clean, clean + 6), (clean, clean)) == 6
    assert gate_metrics.flicker((clean, clean), (clean, clean)) == 0


def _run(stage: str) -> Run:
    run = Run(
        id="0" * 16, name="x", architecture="srvgg", parameters={}, scale=2, parent=None, recipe=Recipe(), pictures=()
    )
    return msgspec.structs.replace(run, recipe=Recipe(stage=stage))
