"""Training data that lie in the store: found below a prefix, fetched under their hash, the same run as from a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import boto3
import msgspec
import numpy as np
import pytest

from contract.errors import BadInput, UsageError
from contract.settings import Settings
from contract.training import Recipe, Run, run_id
from stores.storage import Storage
from training.data import sources
from training.data.patches import Library
from training.data.selection import Selection
from training.degrade.damage_file import GENERIC

Upload = Callable[[Settings, Path, str], None]


def by_respool(settings: Settings, folder: Path, prefix: str) -> None:
    for path in sorted(folder.iterdir()):
        Storage(settings).put_file(f"{prefix}/{path.name}", path)


def by_another_program(settings: Settings, folder: Path, prefix: str) -> None:
    """Upload as `aws s3 cp` does: without a recorded hash."""
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key,
        region_name="us-east-1",
    )
    for path in sorted(folder.iterdir()):
        client.put_object(Bucket=settings.s3_bucket, Key=f"{prefix}/{path.name}", Body=path.read_bytes())


def planned(names: tuple[str, ...], settings: Settings) -> Run:
    chosen = Selection(2, 32)
    chosen.add_clean(sources.find(names, settings))
    run = Run(
        id="0" * 16, name="x", architecture="srvgg", parameters={}, scale=2, parent=None, recipe=Recipe(),
        pictures=chosen.divided(), damage=GENERIC.plain(),
    )  # fmt: skip
    return msgspec.structs.replace(run, id=run_id(run))


@pytest.mark.parametrize("upload", [by_respool, by_another_program])
def test_a_prefix_is_the_same_run_as_the_folder(
    upload: Upload, clean: Path, settings: Settings, tmp_path: Path
) -> None:
    """Pictures below s3://bucket/prefix give the run of the folder, and a machine with an empty cache the same pixels."""
    prefix = f"material/{upload.__name__}"
    upload(settings, clean, prefix)
    Storage(settings).put(f"{prefix}/notes.txt", b"no picture")
    run, local = planned((f"s3://{settings.s3_bucket}/{prefix}",), settings), planned((str(clean),), settings)
    assert run.id == local.id
    assert {p.name for p in run.pictures} == {f"s3://{settings.s3_bucket}/{prefix}/{p.name}" for p in clean.iterdir()}
    library, plain = Library(replace(settings, cache=tmp_path)), Library(settings)
    by_hash = {p.sha256: p for p in local.pictures}
    for picture in run.pictures:
        assert np.array_equal(library.clean(picture), plain.clean(by_hash[picture.sha256]))


def test_an_object_that_was_replaced_is_noticed(clean: Path, settings: Settings, tmp_path: Path) -> None:
    """Another picture under the same key is refused with both hashes; where the first is in the cache, the run goes on with it."""
    by_another_program(settings, clean, "replaced")
    run = planned((f"s3://{settings.s3_bucket}/replaced",), settings)
    picture = next(p for p in run.pictures if p.name.endswith("cat.png"))
    Storage(settings).put_file("replaced/cat.png", clean / "coffee.png")
    assert Library(settings).clean(picture).shape == (200, 200, 3)
    with pytest.raises(BadInput, match=f"the run began with {picture.sha256}"):
        Library(replace(settings, cache=tmp_path)).clean(picture)


@pytest.mark.parametrize(("place", "said"), [("nothing/here", "has no picture or film"), ("notes", "has no picture")])
def test_a_prefix_without_pictures_is_named(place: str, said: str, settings: Settings) -> None:
    """A place in the store without pictures or films is an error that names it."""
    Storage(settings).put("notes/a.txt", b"no picture")
    with pytest.raises(UsageError, match=said):
        sources.find((f"s3://{settings.s3_bucket}/{place}",), settings)
