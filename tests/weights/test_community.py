from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from contract.errors import WeightsError
from contract.settings import Settings
from stores.file_digest import file_sha256
from weights import catalog, community, licence, models
from weights.catalog import Entry
from weights.fetch import fetch
from workers.generators import compat

SEEN = {"architecture": "ESRGAN", "scale": 2, "input_channels": 3, "output_channels": 3, "purpose": "SR"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "2x_Community-v1.pth"
    torch.save({"params": {"a": torch.rand(4)}}, path)
    return path


def _before(home: Settings) -> tuple[bytes | None, set[Path]]:
    """Return the user's catalog and the files in the cache, which a failed `add` must not change."""
    path = catalog.user_catalog_path(home)
    return path.read_bytes() if path.exists() else None, set(path.parent.glob("*.safetensors"))


def test_a_checkpoint_becomes_a_model(checkpoint: Path, home: Settings) -> None:
    """After `add` the model has a name and the inspected properties, is in the cache, and survives the removal of the file."""
    entry = models.add(checkpoint, home, lambda _path: SEEN, licence="CC-BY-4.0")
    assert (entry.name, entry.scale, entry.architecture, entry.added) == ("2x_Community-v1", 2, "spandrel", True)
    assert entry.parameters["architecture"] == "ESRGAN"
    checkpoint.unlink()
    found = catalog.load(home).find("2x_community-V1")
    assert found == entry
    assert catalog.network_scale("2x_Community-v1", home) == 2
    assert fetch(found, home).sha256 == found.sources[0].converted
    assert [m.state for m in models.list_models(home) if m.added] == ["ready"]


def test_inspection_sees_safetensors_only(checkpoint: Path, home: Settings) -> None:
    """The inspecting process reads the converted file, never the pickle."""
    looked_at: list[tuple[str, bytes]] = []

    def inspect(path: Path) -> dict[str, object]:
        looked_at.append((path.suffix, path.read_bytes()[8:9]))
        return dict(SEEN)

    models.add(checkpoint, home, inspect)
    assert looked_at == [(".safetensors", b"{")]


def test_an_unstated_licence_is_outside_every_policy(checkpoint: Path, home: Settings) -> None:
    """A licence policy refuses a model without a stated licence."""
    entry = models.add(checkpoint, home, lambda _path: SEEN)
    with pytest.raises(WeightsError, match="is under NOASSERTION"):
        licence.check(entry, Settings(licence_policy="MIT,Apache-2.0"))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {**SEEN, "scale": 0},
        {**SEEN, "scale": "2"},
        {**SEEN, "architecture": ""},
        {**SEEN, "input_channels": 4},
        {**SEEN, "output_channels": 1},
        {**SEEN, "purpose": "FaceSR"},
    ],
)
def test_a_failed_add_leaves_the_catalog_unchanged(answer: dict[str, Any], checkpoint: Path, home: Settings) -> None:
    """After an inspection without a usable result, neither the catalog nor the cache has changed."""
    torch.save({"a": torch.rand(2)}, checkpoint.with_name("first.pth"))
    models.add(checkpoint.with_name("first.pth"), home, lambda _path: SEEN)
    before = _before(home)
    with pytest.raises(WeightsError, match="2x_Community-v1"):
        models.add(checkpoint, home, lambda _path: answer)
    assert _before(home) == before


def test_an_unsafe_file_is_refused_before_inspection(tmp_path: Path, home: Settings) -> None:
    """A pickle that contains code is refused as unsafe, and is not inspected."""
    path = tmp_path / "evil.pth"
    torch.save({"params": subprocess.Popen}, path)
    with pytest.raises(WeightsError, match=r"unsafe pickle: it refers to \w+\.Popen"):
        models.add(path, home, lambda _path: pytest.fail("looked at"))
    assert _before(home) == (None, set())


def test_an_existing_name_is_refused(checkpoint: Path, home: Settings, tmp_path: Path) -> None:
    """Names and aliases that exist already are refused; --name gives another one."""
    models.add(checkpoint, home, lambda _path: SEEN)
    torch.save({"a": torch.rand(2)}, tmp_path / "x4plus.pth")
    with pytest.raises(WeightsError, match=r"the name 'x4plus' belongs to RealESRGAN_x4plus; .*--name NAME"):
        models.add(tmp_path / "x4plus.pth", home, lambda _path: SEEN)
    with pytest.raises(WeightsError, match="belongs to 2x_Community-v1"):
        models.add(tmp_path / "x4plus.pth", home, lambda _path: SEEN, name="2X_COMMUNITY-V1")
    with pytest.raises(WeightsError, match="cannot name a model"):
        models.add(tmp_path / "x4plus.pth", home, lambda _path: SEEN, name="../x")
    assert models.add(tmp_path / "x4plus.pth", home, lambda _path: SEEN, name="mine").name == "mine"


def test_adding_a_file_twice_is_adding_it_once(checkpoint: Path, home: Settings) -> None:
    """The same bytes stay one model, under their first name."""
    first = models.add(checkpoint, home, lambda _path: SEEN)
    second = models.add(checkpoint.rename(checkpoint.with_name("copy.pth")), home, lambda _path: SEEN)
    assert second == first
    assert len(catalog.read_user_catalog(home).models) == 1


def test_a_known_file_becomes_the_catalogs_model(
    checkpoint: Path, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local GFPGANv1.4.pth is recognised by its hash: nothing is inspected, and the model is ready."""
    known = catalog.load(home).find("GFPGANv1.4")
    source = msgspec.structs.replace(known.sources[0], sha256=file_sha256(checkpoint), size=0)
    entries = (msgspec.structs.replace(known, sources=(source,)),)
    monkeypatch.setattr(catalog, "_builtin", lambda: entries)
    entry = models.add(checkpoint, home, lambda _path: pytest.fail("looked at"))
    assert entry.name == "GFPGANv1.4"
    assert models.show_model("gfpgan", home).state == "ready"
    assert catalog.read_user_catalog(home).models == ()


def test_two_processes_may_add_at_once(home: Settings, tmp_path: Path) -> None:
    """An entry that another process writes meanwhile stays, and its name is refused."""
    for name in ("a", "b"):
        torch.save({name: torch.rand(2)}, tmp_path / f"{name}.pth")

    def inspect(_path: Path) -> dict[str, object]:
        models.add(tmp_path / "b.pth", home, lambda _path: SEEN, name="taken")
        return dict(SEEN)

    models.add(tmp_path / "a.pth", home, inspect)
    assert [m.name for m in catalog.read_user_catalog(home).models] == ["taken", "a"]
    torch.save({"c": torch.rand(2)}, tmp_path / "c.pth")
    torch.save({"b": torch.rand(2)}, tmp_path / "b.pth")

    def steal(_path: Path) -> dict[str, object]:
        models.add(tmp_path / "b.pth", home, lambda _path: SEEN, name="c")
        return dict(SEEN)

    with pytest.raises(WeightsError, match="the name 'c' belongs to c"):
        models.add(tmp_path / "c.pth", home, steal)


@pytest.mark.parametrize("name", ["missing.pth", "folder", "notes.txt"])
def test_other_files_are_refused_by_name(name: str, tmp_path: Path, home: Settings) -> None:
    """A missing file, a folder and a text file are each refused in one sentence with their name."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(WeightsError, match=name):
        models.add(tmp_path / name, home, lambda _path: SEEN)


@pytest.mark.slow
def test_a_real_generator_is_inspected_by_the_worker(tmp_path: Path, home: Settings) -> None:
    """`python -m training.inspect_checkpoint` recognises a compact network of scale 2 in its converted checkpoint."""
    make = compat.load("basicsr.archs.srvgg_arch").SRVGGNetCompact
    network = make(num_in_ch=3, num_out_ch=3, num_feat=24, num_conv=4, upscale=2, act_type="prelu")
    torch.save({"params": network.state_dict()}, tmp_path / "compact.pth")
    entry: Entry = models.add(tmp_path / "compact.pth", home)
    assert (entry.scale, entry.role) == (2, "generator")
    assert "Compact" in str(entry.parameters["architecture"])


@pytest.mark.slow
def test_a_checkpoint_that_is_no_generator_fails_in_the_worker(checkpoint: Path, home: Settings) -> None:
    """Tensors of a network that spandrel does not recognise are refused with the worker's reason."""
    with pytest.raises(WeightsError, match=r"2x_Community-v1\.safetensors is not a usable model: (?!.*No module)"):
        community.add(checkpoint, home)
    assert _before(home) == (None, set())
