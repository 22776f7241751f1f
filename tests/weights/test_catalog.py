from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contract.errors import WeightsError
from contract.settings import Settings
from weights import catalog, licence, transport
from weights.architectures import state_shapes
from weights.catalog import Catalog, Entry, UserCatalog

GENERATORS = (
    "RealESRGAN_x4plus",
    "RealESRGAN_x2plus",
    "RealESRNet_x4plus",
    "RealESRGAN_x4plus_anime_6B",
    "realesr-animevideov3",
    "realesr-general-x4v3",
    "realesr-general-wdn-x4v3",
)


@pytest.fixture
def known(home: Settings) -> Catalog:
    return catalog.load(home)


def test_every_model_has_an_entry(known: Catalog) -> None:
    """The six generators with their twin, the two without weights, and the face models all have entries."""
    faces = ("GFPGANv1.3", "GFPGANv1.4", "RestoreFormer", "CenterFace", "RetinaFace", "ParseNet")
    for name in (*GENERATORS, *faces, "identity", "lanczos"):
        assert known.find(name).name == name


def test_every_source_can_be_read_and_is_pinned_or_says_why_not(known: Catalog) -> None:
    """Every source has a supported form, and only RestoreFormer has no published hash."""
    unpinned = set()
    for entry in known.entries:
        for source in entry.sources:
            transport.check(source.at)
            if source.sha256 is None:
                unpinned.add(entry.name)
    assert unpinned == {"RestoreFormer"}
    assert "No published SHA-256" in known.find("RestoreFormer").notes


def test_names_match_in_any_case_by_alias_and_with_a_suffix(known: Catalog) -> None:
    """x4plus, REALESRGAN_X4PLUS and the file's name mean the same model."""
    for spelling in ("x4plus", "REALESRGAN_X4PLUS", "RealESRGAN_x4plus.pth", "realesrgan-x4plus"):
        assert known.find(spelling).name == "RealESRGAN_x4plus"


def test_an_unknown_model_is_refused_with_similar_names(known: Catalog) -> None:
    """A typing error gets one sentence that names similar models."""
    with pytest.raises(WeightsError, match="there is no model 'animevideo4'; did you mean realesr-animevideov3"):
        known.find("animevideo4")
    with pytest.raises(WeightsError, match="`respool models list` shows"):
        known.find("§§§§§§§")


def test_a_model_of_another_role_is_refused_by_name(known: Catalog) -> None:
    """A face restorer is refused as a generator, and the sentence lists the generators."""
    with pytest.raises(WeightsError, match=r"GFPGANv1\.4 is a face, but a generator is needed; choose one of identity"):
        known.find("gfpgan", ("generator",))


def test_scales_are_the_networks_own(home: Settings) -> None:
    """The scale of each network is found by any spelling of its name."""
    assert catalog.network_scale("identity", home) == 1
    assert catalog.network_scale("X2PLUS", home) == 2
    assert catalog.network_scale("animevideov3", home) == 4


def test_parameters_give_the_published_numbers_of_parameters(known: Catalog) -> None:
    """The architecture parameters of the catalog describe networks of the sizes that upstream released."""
    counts = dict.fromkeys(GENERATORS, 0)
    for name in GENERATORS:
        shapes = state_shapes(known.find(name).architecture, known.find(name).parameters)
        assert shapes is not None
        for shape in shapes.values():
            size = 1
            for n in shape:
                size *= n
            counts[name] += size
    assert counts["RealESRGAN_x4plus"] == counts["RealESRNet_x4plus"] == 16_697_987
    assert counts["RealESRGAN_x4plus_anime_6B"] == 4_467_779
    assert counts["realesr-animevideov3"] == 621_424
    assert counts["realesr-general-x4v3"] == 1_213_296


def test_one_name_cannot_mean_two_models(known: Catalog) -> None:
    """A user's model with a name or alias that exists already, in any case, is an error."""
    thief = msgspec.structs.replace(known.entries[2], name="other", aliases=("X4Plus",))
    with pytest.raises(WeightsError, match="'X4Plus' is in the catalog twice"):
        Catalog((*known.entries, thief))


def test_a_damaged_user_catalog_is_named(home: Settings) -> None:
    """An invalid catalog.json is an error with its path, and is not ignored."""
    path = catalog.user_catalog_path(home)
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"models": [{"name": "../../etc"}]}')
    with pytest.raises(WeightsError, match=r"catalog\.json cannot be read as a catalog"):
        catalog.load(home)


def test_a_hash_that_the_user_gave_fills_the_gap(home: Settings) -> None:
    """RestoreFormer has a hash once the user has vouched for one."""
    path = catalog.user_catalog_path(home)
    path.parent.mkdir(parents=True)
    path.write_bytes(msgspec.json.encode(UserCatalog(hashes={"RestoreFormer": "a" * 64})))
    assert catalog.load(home).find("RestoreFormer").sources[0].sha256 == "a" * 64


def _with(policy: str) -> Settings:
    return Settings(licence_policy=policy, cache=Path("unused"))


def test_the_policy_refuses_other_licences_by_name(known: Catalog) -> None:
    """A policy of Apache-2.0 refuses GFPGAN and names the licences of its non-commercial parts."""
    with pytest.raises(
        WeightsError,
        match=r"GFPGANv1\.4 is under LicenseRef-NVIDIA-Source-Code-NC and CC-BY-NC-SA-4\.0 \(of its licence",
    ):
        licence.check(known.find("GFPGANv1.4"), _with("Apache-2.0, BSD-3-Clause"))


@pytest.mark.parametrize(
    ("expression", "policy", "allowed"),
    [
        ("MIT", "", True),
        ("MIT", "mit", True),
        ("MIT AND BSD-3-Clause", "MIT", False),
        ("MIT AND BSD-3-Clause", "MIT,BSD-3-Clause", True),
        ("MIT OR GPL-3.0-only", "MIT", True),
        ("NOASSERTION", "MIT", False),
    ],
)
def test_expressions_are_read_as_spdx_means_them(expression: str, policy: str, allowed: bool) -> None:
    """AND needs every licence in the policy, OR one of them; an unknown licence is refused; an empty policy allows all."""
    entry = Entry(name="m", role="generator", architecture="spandrel", licence=expression)
    if allowed:
        licence.check(entry, _with(policy))
    else:
        with pytest.raises(WeightsError, match="does not allow"):
            licence.check(entry, _with(policy))


def test_models_without_weights_pass_every_policy(known: Catalog) -> None:
    """A policy never refuses identity and lanczos, which have no third party's weights."""
    licence.check(known.find("identity"), _with("MIT"))
