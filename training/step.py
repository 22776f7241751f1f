"""One step of training: gradients of all micro-batches, added over the processes, applied when they are finite.

The gradients of all processes are added as one flat vector instead of by DistributedDataParallel: its buckets are laid out anew
after the first backward pass of each start, and with them the order in which more than two processes' gradients are added.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from contract.errors import EnhanceError
from contract.training import Recipe
from training.data.patches import Batch
from training.group import Group
from training.perceptual import Distance
from training.state import TrainState
from workers.generators import compat

LOSSES = ("pixel", "perceptual", "adversarial", "judged", "real", "fake")
"""Means over a step's micro-batches. `judged` is the discriminator's loss, `real` and `fake` its mean verdicts as
probabilities of being real."""
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_GROWS_AFTER = 2000
"""Finite steps after which the loss scale of fp16 doubles, as in torch's GradScaler."""


@dataclass
class Outcome:
    """The result of a step. `flags` are the sums over all processes of their flags."""

    losses: dict[str, float]
    finite: bool
    flags: list[float]


@dataclass
class Stepper:
    """Steps of one run. `parts` is how many pieces a micro-batch is taken in, doubled when memory runs out."""

    recipe: Recipe
    state: TrainState
    group: Group
    device: torch.device
    distance: Distance | None = None
    say: Callable[[str, str], object] = field(default=lambda *_: None)
    parts: int = 1

    def __post_init__(self) -> None:
        self._sharpen = compat.load("basicsr.utils.img_process_util").USMSharp().to(self.device)

    def step(self, batches: list[Batch], flags: list[float]) -> Outcome:
        """Take one step with this process's micro-batches; raise EnhanceError when one patch does not fit into memory."""
        losses = self._gradients_that_fit(batches)
        own, judge = self._flat(self.state.generator), self._flat(self.state.discriminator)
        extra = torch.tensor([*(losses[name] for name in LOSSES), *flags], device=self.device)
        flat = self.group.add(torch.cat((own, judge, extra)))
        totals = [float(value) for value in flat[own.numel() + judge.numel() :]]
        gradients = flat[: own.numel() + judge.numel()]
        finite = bool(gradients.isfinite().all()) and all(math.isfinite(value) for value in totals)
        counts = self.state.counts
        if finite:
            gradients /= counts.loss_scale
            self._apply(self.state.generator, self.state.optimiser, gradients[: own.numel()])
            if self.state.discriminator is not None and self.state.judge is not None:
                self._apply(self.state.discriminator, self.state.judge, gradients[own.numel() :])
        counts.step += 1
        self._count(finite)
        if finite:
            self.state.average(self.recipe.ema)
        return Outcome(dict(zip(LOSSES, totals, strict=False)), finite, totals[len(LOSSES) :])

    def _count(self, finite: bool) -> None:
        counts = self.state.counts
        if finite:
            counts.bad_in_a_row = 0
            counts.good_in_a_row += 1
            if self.recipe.precision == "fp16" and counts.good_in_a_row >= _GROWS_AFTER:
                counts.loss_scale, counts.good_in_a_row = counts.loss_scale * 2, 0
            return
        counts.good_in_a_row = 0
        if counts.loss_scale > 1:  # fp16 overflowed, which its scale is there for
            counts.loss_scale /= 2
            return
        counts.skipped += 1
        counts.bad_in_a_row += 1

    def _gradients_that_fit(self, batches: list[Batch]) -> dict[str, float]:
        """Gradients and losses; when memory runs out, once more with smaller pieces and the same vectors of the norm."""
        held = [] if self.state.discriminator is None else [b.clone() for b in self.state.discriminator.buffers()]
        while True:
            try:
                return self._gradients(batches)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                if self.parts >= self.recipe.batch:
                    raise EnhanceError(
                        f"one patch of {self.recipe.patch} pixels does not fit into the memory of {self.device}; "
                        f"choose a smaller --patch."
                    ) from error
            self.parts = min(self.parts * 2, self.recipe.batch)
            self.say(
                "memory",
                f"out of memory: micro-batches of {self.recipe.batch} patches are taken in {self.parts} pieces from here on.",
            )
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            for now, before in zip(
                self.state.discriminator.buffers() if self.state.discriminator else (), held, strict=True
            ):
                now.copy_(before)

    def _gradients(self, batches: list[Batch]) -> dict[str, float]:
        self.state.optimiser.zero_grad(set_to_none=True)
        if self.state.judge is not None:
            self.state.judge.zero_grad(set_to_none=True)
        sums = dict.fromkeys(LOSSES, 0.0)
        for batch in batches:
            size = math.ceil(batch.low.shape[0] / self.parts)
            for low, clean in zip(torch.split(batch.low, size), torch.split(batch.clean, size), strict=True):
                share = low.shape[0] / batch.low.shape[0] / self.recipe.slots
                made = self._generator_part(low, clean, share, sums)
                if self.state.discriminator is not None:
                    self._discriminator_part(made, clean, share, sums)
        return sums

    def _generator_part(
        self, low: torch.Tensor, clean: torch.Tensor, share: float, sums: dict[str, float]
    ) -> torch.Tensor:
        weights, judge = self.recipe.loss, self.state.discriminator
        with torch.no_grad():
            target = self._sharpen(clean) if self.recipe.sharpen else clean
        with self._autocast():
            made = self.state.generator(low)
        made = made.float()
        terms = {"pixel": weights.pixel * functional.l1_loss(made, target)}
        if judge is not None:
            if self.distance is not None and weights.perceptual:
                terms["perceptual"] = weights.perceptual * self.distance(made, target)
            judge.requires_grad_(False)
            with self._autocast():
                verdict = judge(made).float()
            judge.requires_grad_(True)
            terms["adversarial"] = weights.adversarial * functional.softplus(-verdict).mean()
        total = torch.stack(list(terms.values())).sum()
        (total * share * self.state.counts.loss_scale).backward()  # type: ignore[no-untyped-call]
        for name, term in terms.items():
            sums[name] += float(term.detach()) * share
        result: torch.Tensor = made.detach()
        return result

    def _discriminator_part(
        self, made: torch.Tensor, clean: torch.Tensor, share: float, sums: dict[str, float]
    ) -> None:
        judge = self.state.discriminator
        assert judge is not None
        for name, picture, sign in (("real", clean, -1.0), ("fake", made, 1.0)):
            with self._autocast():
                verdict = judge(picture).float()
            # The binary cross entropy of a logit: softplus(-x) for what is real, softplus(x) for what is not.
            loss = functional.softplus(sign * verdict).mean()
            (loss * share * self.state.counts.loss_scale).backward()  # type: ignore[no-untyped-call]
            sums["judged"] += float(loss.detach()) * share
            sums[name] += float(verdict.detach().sigmoid().mean()) * share

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = _DTYPES.get(self.recipe.precision)
        return torch.autocast(self.device.type, dtype) if dtype else nullcontext()

    def _flat(self, network: torch.nn.Module | None) -> torch.Tensor:
        if network is None:
            return torch.zeros(0, device=self.device)
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in network.parameters()]
        return torch.cat([gradient.reshape(-1).float() for gradient in gradients])

    def _apply(self, network: torch.nn.Module, optimiser: torch.optim.Optimizer, flat: torch.Tensor) -> None:
        at = 0
        for parameter in network.parameters():
            parameter.grad = flat[at : at + parameter.numel()].view_as(parameter).to(parameter.dtype)
            at += parameter.numel()
        optimiser.step()


def _out_of_memory(error: BaseException) -> bool:
    # The CPU allocator has no class of its own for this.
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "can't allocate memory" in text or "not enough memory" in text
    )
