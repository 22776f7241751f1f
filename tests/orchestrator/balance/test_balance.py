"""The balance of encoder and network: which is the limit, how many cores a card needs, and nothing said that is not known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

from contract.job import Face, Spec
from contract.settings import Settings
from contract.verdict import Subject, Verdict, verdicts
from media.codecs import encoder_options
from orchestrator.balance.balance import Balance, NetworkTime
from orchestrator.balance.encoder_cost import MEASURED, EncoderCost, encoder_cost
from orchestrator.balance.film_balance import USUAL, film_balance, usual_work
from orchestrator.balance.network_time import Device, device_here, network_time
from orchestrator.cli.main import call
from orchestrator.doctor import machine_checks
from orchestrator.local import process_specs
from orchestrator.submission.published_pace import NETWORKS
from stores.processor import processor_name, usable_cores
from testkit.clips import make_film
from weights import catalog
from weights.catalog import Entry

ROOT = Path(__file__).parents[3]
CARD = NetworkTime("NVIDIA H200", 0.002, 0.002, 0, "a page")
ENCODER = EncoderCost("x264 (preset faster)", 0.1, 0.3, "a table")
H200 = Device("h200", card=True, cores=None)


@pytest.fixture
def entry() -> Entry:
    """The default for films, as the catalog has it."""
    return catalog.load(Settings()).find("realesr-animevideov3", ("generator",))


def keep(settings: Settings, name: str, won: str, subject: Subject, pixels: int, seconds: float, of: str = "") -> None:
    """Put a verdict into the cache, as a worker of this version, or of another, does."""
    folder = verdicts(settings)
    folder.mkdir(parents=True, exist_ok=True)
    verdict = Verdict(*won.split(), "fastest", subject, pixels, seconds, of or version("respool"))
    (folder / f"{name}.json").write_bytes(msgspec.json.encode(verdict))


@pytest.mark.parametrize(("cores", "limit"), [(16, "encoder"), (49, "encoder"), (100, "either"), (150, "network")])
def test_the_slower_of_card_and_cores_is_the_limit(cores: int, limit: str) -> None:
    """A tenth to three tenths of a core second in each 2 ms are 50 to 150 cores; between them the film decides."""
    found = Balance(CARD, ENCODER, cores)
    assert found.needed == (50, 150)
    assert found.limit == limit
    assert found.encoded == (pytest.approx(cores / 0.3), pytest.approx(cores / 0.1))


def test_a_processor_does_both_with_the_same_cores() -> None:
    """Two cores that take 0.4 s for the network work 0.8 core seconds; no number of cores would change the share of x264."""
    network = NetworkTime("Zen", 0.4, 0.4, 2, "a race")
    found = Balance(network, ENCODER, None)
    assert found.share == (pytest.approx(0.1 / 0.9), pytest.approx(0.3 / 1.1))
    assert (found.limit, found.needed, found.facts()["cores"]) == ("network", None, 2)
    assert Balance(replace(network, least=0.01, most=0.01), ENCODER, None).limit == "encoder"
    assert Balance(replace(network, least=0.1, most=0.1), ENCODER, None).limit == "either"
    assert "the network is the limit, the encoder takes 11 to 27% of the cores' time" in found.words()


def test_the_balance_is_one_sentence() -> None:
    """It names both times, what the cores do, the limit, and the cores that the card needs."""
    assert Balance(CARD, ENCODER, 16).words() == (
        "x264 (preset faster) takes 0.1 to 0.3 core seconds a frame, the network 0.002 s on NVIDIA H200: 16 cores encode at most "
        "53 to 160 frames a second of its 500; the encoder is the limit, 50 to 150 cores would keep it busy"
    )
    assert Balance(CARD, ENCODER, 200).words().endswith("; the network is the limit, 50 to 150 cores are enough")
    unknown = Balance(CARD, ENCODER, None)
    assert unknown.limit is None
    assert unknown.words().endswith(
        "500 frames a second: 50 to 150 cores keep it busy, with fewer the encoder is the limit"
    )


def test_one_core_is_singular() -> None:
    """One core encodes, keeps the card busy, is enough; and so in a film without a network."""
    light = EncoderCost("x264 (preset ultrafast)", 0.001, 0.001, "a table")
    assert Balance(CARD, light, None).words().endswith(": 1 core keeps it busy, with fewer the encoder is the limit")
    assert "1 core encodes at most 1000 frames" in Balance(CARD, light, 1).words()
    assert Balance(CARD, light, 1).words().endswith("; the network is the limit, 1 core is enough")
    assert "on all of 1 core of Zen:" in Balance(NetworkTime("Zen", 0.4, 0.4, 1, "a race"), light, None).words()


def test_measured_costs_are_those_of_the_page() -> None:
    """The table in the code and the one in docs/performance.md are one."""
    text = (ROOT / "docs" / "performance.md").read_text()
    rows = re.findall(
        r"^\| (x26\d|svtav1|vp9|ffv1|prores) \| (\S*) ?\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", text, re.M
    )
    told = {(codec, preset.strip("-"), *(float(n) for n in figures)) for codec, preset, *figures in rows}
    assert told == {(row.codec, row.preset, *row.large, *row.small) for row in MEASURED}


def test_costs_are_scaled_by_pixels_and_known_for_what_was_measured() -> None:
    """Half of the pixels cost half. The cost of a preset, format or field order that was not measured is unknown, and another CRF is noted."""
    large = 2560 * 1920
    options = encoder_options("x264", Spec(model="m"), "yuv420p", pixels=large)
    whole, half = (encoder_cost("x264", options, "yuv420p", pixels) for pixels in (large, large // 2))
    assert whole is not None
    assert half is not None
    assert (whole.least, whole.most) == (pytest.approx(2 * half.least), pytest.approx(2 * half.most))
    assert whole.named == "x264 (preset quick)"
    assert encoder_cost("x264", options, "yuv420p10le", large) is None
    placebo = encoder_options("x264", Spec(model="m", preset="placebo"), "yuv420p", pixels=large)
    assert encoder_cost("x264", placebo, "yuv420p", large) is None
    assert encoder_cost("x264", {**options, "flags": "+ildct"}, "yuv420p", large) is None
    other = encoder_cost("x264", {**options, "crf": "12"}, "yuv420p", large)
    assert other is not None
    assert other.told.endswith(", at CRF 18")


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1", "vp9", "ffv1", "prores"])
def test_every_codec_has_its_usual_preset_measured(codec: str) -> None:
    """Jobs without a preset know their encoder's cost, at both sizes of x264's defaults."""
    pix_fmt = "yuv422p10le" if codec == "prores" else "yuv420p"
    for pixels in (640 * 480, 2560 * 1920):
        options = encoder_options(codec, Spec(model="m"), pix_fmt, pixels=pixels)  # type: ignore[arg-type]
        assert encoder_cost(codec, options, pix_fmt, pixels) is not None  # type: ignore[arg-type]


def test_the_race_of_this_machine_goes_before_what_is_published(entry: Entry, tmp_path: Path) -> None:
    """A verdict of the same network on the same device tells its time, scaled by pixels; of several the fastest that may run."""
    settings = Settings(cache=tmp_path)
    published = network_time(entry, "auto", 640 * 480, H200, settings)
    assert published is not None
    assert (published.least, published.cores) == (pytest.approx(NETWORKS[0].seconds), 0)
    subject = Subject("fine-tuned", "srvgg", entry.parameters, "NVIDIA H200", 0)
    keep(settings, "a", "torch fp16", subject, 640 * 480, 0.001)
    keep(settings, "b", "torch fp32", subject, 640 * 480, 0.01)
    keep(settings, "c", "torch fp16", msgspec.structs.replace(subject, parameters={}), 640 * 480, 1e-6)
    keep(settings, "e", "torch fp16", subject, 640 * 480, 1e-6, of="0.0.1")
    (verdicts(settings) / "d.json").write_text('{"backend": "torch", "precision": "fp16", "reason": ""}')
    raced = network_time(entry, "auto", 2 * 640 * 480, H200, settings)
    assert raced is not None
    assert raced.least == pytest.approx(0.002)
    assert "this machine's race: torch fp16" in raced.told
    exact = network_time(entry, "fp32", 640 * 480, H200, settings)
    assert exact is not None
    assert exact.least == pytest.approx(0.01)
    assert network_time(entry, "auto", 640 * 480, Device("A100", card=True, cores=8), settings) is None
    assert network_time(entry, "bf16", 640 * 480, H200, settings) is None


def test_a_processor_is_told_by_the_race_with_its_cores(entry: Entry, tmp_path: Path) -> None:
    """A race of as many cores as a worker has goes before a faster one of more; a card's is none."""
    settings = Settings(cache=tmp_path)
    here = Device("Zen", card=False, cores=2)
    keep(settings, "a", "winograd bf16", Subject("m", "srvgg", entry.parameters, "Zen", 8), 100, 0.1)
    keep(settings, "b", "winograd bf16", Subject("m", "srvgg", entry.parameters, "Zen", 2), 100, 0.3)
    found = network_time(entry, "auto", 100, here, settings)
    assert found is not None
    assert (found.least, found.cores) == (pytest.approx(0.3), 2)
    assert network_time(entry, "auto", 100, Device("Zen", card=True, cores=2), settings) is None


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cards, as NVIDIA's driver tells of them."""
    for name, model in (("0000:01:00.0", "NVIDIA H200"), ("0000:02:00.0", "NVIDIA L4")):
        (tmp_path / name).mkdir()
        uuid = f"GPU-{model[-2:]}-4d1e"
        (tmp_path / name / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 127\nGPU UUID: \t {uuid}\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(process_specs, "_NVIDIA", tmp_path)


def test_the_device_is_the_card_or_the_processor(cards: None) -> None:
    """The driver tells a card's model, and cards share the cores; a worker that is kept from cards has the processor."""
    assert device_here(Settings()) == Device("NVIDIA H200", True, max(1, usable_cores() // 2))
    assert device_here(Settings(device="cuda:1")) == Device("NVIDIA L4", True, max(1, usable_cores() // 2))
    assert device_here(Settings(device="cuda:2")).name == ""
    assert device_here(Settings(device="cpu", threads=3)) == Device(processor_name(), False, 3)


@pytest.mark.parametrize(
    ("visible", "device", "name"),
    [
        ("1", "auto", "NVIDIA L4"),
        ("1,0", "cuda:1", "NVIDIA H200"),
        ("GPU-L4", "cuda", "NVIDIA L4"),
        ("MIG-7", "auto", ""),
    ],
)
def test_cards_are_those_that_are_visible(
    visible: str, device: str, name: str, cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA_VISIBLE_DEVICES hides cards and orders them; the part of a card has no known name."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = device_here(Settings(device=device))
    assert (found.name, found.card) == (name, True)


def test_what_is_not_known_is_said_with_how_to_measure_it(tmp_path: Path) -> None:
    """Neither a network nor an encoder is guessed; work outside both figures is named."""
    settings = Settings(cache=tmp_path)
    work = usual_work()
    found = film_balance(work, USUAL, Device("A100", card=True, cores=8), settings)
    assert found.words == (
        "unknown: the time of realesr-animevideov3 on A100 is not known here: restore a short piece there (--to 2), and ask there again"
    )
    assert found.facts["limit"] is None
    odd = film_balance(replace(work, options={"preset": "placebo"}), USUAL, H200, settings)
    assert odd.words.startswith("unknown: x264 (preset placebo) in yuv420p was not timed: `python -m benchmarks.speed")
    assert "--presets placebo" in odd.words
    card = replace(work, codec="h264_nvenc", options={"preset": "p5"})
    assert film_balance(card, USUAL, H200, settings).words == (
        "unknown: h264_nvenc (preset p5) encodes on the card instead of its cores, and was not timed"
    )
    faces = film_balance(work, Spec(model=USUAL.model, face=Face("GFPGANv1.4"), dirt=True, tile=256), H200, settings)
    assert faces.words.endswith("; not counted: faces, filters over time, tiles")
    plain = film_balance(work, Spec(model="identity", scale=1), Device("Zen", card=False, cores=2), settings)
    assert "core seconds a frame, and there is no network: 2 cores encode at most" in plain.words
    alone = film_balance(work, Spec(model="identity", scale=1), Device("Zen", card=False, cores=1), settings)
    assert "there is no network: 1 core encodes at most" in alone.words


def test_probe_says_the_balance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for a film, by the card that is named; its figures are in the JSON; images have none."""
    film = str(make_film(tmp_path / "film.mp4", 20))
    given = ["probe", film, "-m", "animevideov3", "--no-evidence", "--gpu", "h200"]
    assert call(given) == 0
    (line,) = re.findall(r"^  balance: (.*)$", capsys.readouterr().out, re.M)
    seconds = NETWORKS[0].seconds * (96 * 64) / (640 * 480)
    assert f"core seconds a frame, the network {seconds:.2g} s on NVIDIA H200" in line
    assert call([*given, "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["balance"]["words"] == line
    assert facts["balance"]["device"] == "NVIDIA H200"
    assert facts["balance"]["limit"] is None, "the number of cores beside that card is not known"
    low, high = facts["balance"]["cores_needed"]
    assert 1 <= low < high


def test_doctor_warns_of_a_card_that_waits_for_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores beside an H200 are a warning with what to do; without any figure the check is no alarm."""
    settings = Settings(cache=tmp_path)
    monkeypatch.setattr(machine_checks, "device_here", lambda _: Device("NVIDIA H200", card=True, cores=2))
    found = machine_checks._balance(settings)
    assert (found.verdict, found.facts["limit"], found.facts["cores"]) == ("warn", "encoder", 2)
    assert found.detail.endswith("; add cores, or restore with --preset ultrafast, whose films are larger")
    monkeypatch.setattr(machine_checks, "device_here", lambda _: Device("A100", card=True, cores=2))
    assert machine_checks._balance(settings).verdict == "ok"
    assert b"facts" not in msgspec.json.encode(machine_checks._python())
