"""Triton without a card: kernels interpreted in a process of their own, and compiled for cards that are not there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from workers.card.proof import has_triton


@pytest.fixture(scope="session")
def _triton() -> None:
    """Triton comes with PyTorch on Linux; without it, skip on a laptop and fail in CI."""
    if not has_triton():
        if os.environ.get("CI"):
            pytest.fail("Triton is not installed; the lock files have it for Linux.")
        pytest.skip("Triton is not installed; it comes with PyTorch on Linux")


@pytest.fixture(scope="session")
def interpreted(_triton: None) -> Iterator[Callable[..., Any]]:
    """Call a function in a process where Triton interprets its kernels on the CPU, which it must know before it is imported."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRITON_INTERPRET", "1")
        patched.setenv("OMP_NUM_THREADS", "1")  # many small operations, between which threads would only wait
        pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        pool.submit(os.getpid).result()
    with pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
