"""The two stages on a CPU, and what they do about numbers that are not finite, memory, and a discriminator that knows all."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from contract.errors import EnhanceError, WeightsError
from contract.settings import Settings
from contract.training import Recipe, Run
from stores.storage import Storage
from training import networks, perceptual, rank
from training.data.patches import Batch
from training.group import Group
from training.loop import Trainer
from training.state import begin
from training.step import LOSSES, Stepper
from training.validation import Validation
from training.watch import SATURATED_STEPS, watch_colour, watch_discriminator


def trainer(run: Run, settings: Settings) -> Trainer:
    return rank.build(run, settings, Storage(settings), Group(), torch.device("cpu"), "0000000a")


def poison(made: Trainer, steps: set[int], always: bool = False) -> None:
    """Make the data of these steps infinite, as a damaged disk or a bug might; once each, unless `always`."""
    plain = made.feed.batch

    def batch(step: int, slot: int, rewinds: int) -> Batch:
        found = plain(step, slot, rewinds)
        if step in steps and (rewinds == 0 or always):
            found.low[0, 0, 0, 0] = math.nan
        return found

    made.feed.batch = batch  # type: ignore[method-assign]


def finite(made: Trainer) -> bool:
    networks_ = [n for n in (made.state.generator, made.state.ema, made.state.discriminator) if n is not None]
    return all(bool(p.isfinite().all()) for network in networks_ for p in network.parameters())


@pytest.mark.slow
def test_twenty_steps_of_the_gan_stage_survive_nan_and_memory(
    small_run: Callable[..., Run], settings: Settings
) -> None:
    """Two NaN steps are skipped and counted, an out-of-memory halves the micro-batch, and all stays finite."""
    run = small_run("gan", steps=20, stage="gan", validate_every=10, checkpoint_every=10)
    made = trainer(run, settings)
    poison(made, {5, 9})
    judge = made.state.discriminator
    assert judge is not None
    calls = {"n": 0}

    def short(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        calls["n"] += 1
        if inputs[0].shape[0] == 2 and calls["n"] > 30:
            raise torch.OutOfMemoryError("injected: tried to allocate")

    judge.register_forward_pre_hook(short)
    assert made.train()
    assert finite(made)
    assert made.state.counts.skipped == 2
    assert made.stepper.parts == 2
    assert [event.kind for event in made.state.events] == ["skipped", "skipped", "memory"]
    assert {"pixel", "perceptual", "adversarial", "judged", "real", "fake"} <= set(made.losses)
    assert 0 < made.losses["real"] < 1


def test_ten_bad_steps_in_a_row_go_back_to_the_last_checkpoint(
    small_run: Callable[..., Run], settings: Settings
) -> None:
    """The run goes back, halves the rate, draws anew, says so, and finishes."""
    run = small_run("rewound", steps=20, checkpoint_every=4, validate_every=20)
    made = trainer(run, settings)
    poison(made, set(range(6, 20)))
    assert made.train()
    counts = made.state.counts
    assert (counts.rewinds, counts.rate_factor, counts.skipped, counts.step) == (1, 0.5, 10, 20)
    assert made.state.optimiser.param_groups[0]["lr"] == pytest.approx(run.recipe.rate / 2)
    event = next(event for event in made.state.events if event.kind == "rewound")
    assert "back to step 4" in event.text or "back to step 8" in event.text or "back to step 12" in event.text
    assert finite(made)


@pytest.mark.slow
def test_numbers_that_stay_bad_end_the_run_with_a_sentence(small_run: Callable[..., Run], settings: Settings) -> None:
    """A run whose every step is not finite is given up after a few rewinds."""
    run = small_run("hopeless", steps=400, checkpoint_every=400, validate_every=400)
    made = trainer(run, settings)
    poison(made, set(range(400)), always=True)
    with pytest.raises(EnhanceError, match="not finite"):
        made.train()


def test_memory_that_is_too_small_for_one_patch_is_said(small_run: Callable[..., Run], settings: Settings) -> None:
    """When not even one patch fits, the error names the remedy."""
    made = trainer(small_run("tiny memory"), settings)

    def never(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        raise torch.OutOfMemoryError("injected")

    made.state.generator.register_forward_pre_hook(never)
    batch = made.feed.batch(0, 0, 0)
    with pytest.raises(EnhanceError, match="--patch"):
        made.stepper.step([batch], [0.0, 0.0])


def test_a_batch_in_pieces_gives_the_gradients_of_the_whole(small_run: Callable[..., Run], settings: Settings) -> None:
    """Halving the micro-batch changes sums only in their last bits."""
    made = trainer(small_run("pieces", stage="gan"), settings)
    batch = made.feed.batch(0, 0, 0)
    gradients = []
    for parts in (1, 2):
        judge = networks.discriminator(0)
        state = begin(networks.generator(made.run, None), judge, made.run.recipe)
        for _ in range(5):
            judge(batch.clean)
        judge.eval()  # the vectors of the norm stand still, which move with every pass
        stepper = Stepper(made.run.recipe, state, Group(), torch.device("cpu"), perceptual.laplacian, parts=parts)
        losses = stepper._gradients([batch])
        gradients.append((stepper._flat(state.generator), losses))
    whole, pieces = (flat for flat, _ in gradients)
    assert float((whole - pieces).norm() / whole.norm()) < 1e-5
    assert all(gradients[0][1][name] == pytest.approx(gradients[1][1][name], rel=1e-4) for name in LOSSES)


def test_a_certain_discriminator_is_reported(small_run: Callable[..., Run], settings: Settings) -> None:
    """After many steps at which it is never in doubt, a sentence says so, once every that many steps."""
    state = trainer(small_run("certain", stage="gan"), settings).state
    said = [watch_discriminator(state, {"real": 0.999, "fake": 0.001}) for _ in range(2 * SATURATED_STEPS)]
    assert [n for n, sentence in enumerate(said) if sentence] == [SATURATED_STEPS - 1, 2 * SATURATED_STEPS - 1]
    assert watch_discriminator(state, {"real": 0.7, "fake": 0.3}) is None
    assert state.counts.saturated == 0


def test_drifting_colours_are_reported() -> None:
    """A mean level that leaves that of the start by more than two code values is reported, with both figures."""
    assert watch_colour(0.5, Validation(30.0, 30.0, 2.0, None)) is None
    sentence = watch_colour(0.5, Validation(30.0, 30.0, 4.5, None))
    assert sentence
    assert "4.5" in sentence


def test_a_missing_vgg19_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    """Without its file, the paper's perceptual loss names file, hash, command, and the other loss."""
    with pytest.raises(WeightsError, match=r"vgg19-dcbb9e9d\.pth") as error:
        perceptual.distance("vgg19", Settings(cache=tmp_path), torch.device("cpu"))
    for part in (
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        "--from FILE",
        "--features laplacian",
    ):
        assert part in str(error.value)


@pytest.mark.slow
def test_vgg19_distances_are_the_weighted_sums_of_basicsr(tmp_path: Path) -> None:
    """With random weights in VGG19's shape, the distance equals basicsr's PerceptualLoss to 1e-5."""
    from safetensors.torch import save_file
    from torchvision.models import vgg19  # type: ignore[import-untyped]

    torch.manual_seed(0)
    network = vgg19(weights=None, init_weights=False)
    file = tmp_path / "vgg19.safetensors"
    save_file(network.state_dict(), file)
    own = perceptual.Vgg(file)
    x, y = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    layers = network.features.eval()
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected, a, b = 0.0, *((p - mean[None, :, None, None]) / spread[None, :, None, None] for p in (x, y))
    with torch.no_grad():
        for n, layer in enumerate(layers):
            a, b = layer(a.clone()), layer(b.clone())
            if n in (2, 7, 16, 25, 34):
                expected += {2: 0.1, 7: 0.1}.get(n, 1.0) * float((a - b).abs().mean())
        assert float(own(x, y)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("architecture", "parameters", "scale"),
    [
        (
            "srvgg",
            {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_conv": 2, "upscale": 4, "act_type": "prelu"},
            4,
        ),
        *(
            (
                "rrdbnet",
                {"num_in_ch": 3, "num_out_ch": 3, "scale": s, "num_feat": 8, "num_block": 1, "num_grow_ch": 4},
                s,
            )
            for s in (1, 2, 4)
        ),
    ],
)
def test_every_generator_takes_a_step_from_scratch(architecture: str, parameters: dict[str, Any], scale: int) -> None:
    """SRVGGNetCompact and RRDBNet x4, x2 and x1 are built from the seed alone and change in one finite step."""
    run = Run(
        id="0" * 16, name="x", architecture=architecture, parameters=parameters, scale=scale, parent=None,
        recipe=Recipe(batch=1), pictures=(),
    )  # fmt: skip
    one, two = (networks.generator(run, None) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    state = begin(one, None, run.recipe)
    batch = Batch(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16 * scale, 16 * scale))
    assert Stepper(run.recipe, state, Group(), torch.device("cpu")).step([batch], []).finite
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
