"""Habits of the command line: suggestions, completion, job files, output beside the source, events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from contract.errors import UsageError
from orchestrator.cli.display import Events, display
from orchestrator.cli.job_file import job_file_options, save_job
from orchestrator.cli.main import call
from orchestrator.cli.options import job_options, sequence_option, spec_of
from orchestrator.cli.output import Output
from orchestrator.cli.run import call_back


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("statsu", "status"), ("fecth", "fetch"), ("wrokers", "workers"), ("submitt", "submit"), ("rum", "run")],
)
def test_a_mistyped_command_is_suggested(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence names the command that was meant, and the exit code is that of wrong usage."""
    assert call([typed]) == 2
    said = capsys.readouterr().err
    assert "Did you mean" in said
    assert meant in said


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("h264", "x264"),
        ("libx264", "x264"),
        ("HEVC", "x265"),
        ("h.265", "x265"),
        ("av1", "svtav1"),
        ("libvpx-vp9", "vp9"),
    ],
)
def test_a_codecs_name_is_answered_with_ours(
    typed: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of codecs and of FFmpeg's encoders are refused with the name that works."""
    assert call(["run", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "b.mp4"), "--codec", typed]) == 2
    assert f"{typed!r} is {meant} here; give --codec {meant}." in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_this_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each script asks `respool` itself, so that it knows every command and option."""
    assert call(["completion", shell]) == 0
    assert f"_RESPOOL_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_knows_commands_and_choices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell that asks for the rest of `respool st` and of `--codec x` gets them."""
    monkeypatch.setenv("_RESPOOL_COMPLETE", "bash_complete")
    for words, word, wanted in (("respool st", 1, "status"), ("respool run --codec x", 3, "x265")):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(word))
        with pytest.raises(SystemExit):
            call([])
        assert f"plain,{wanted}" in capsys.readouterr().out


@click.command()
@job_file_options
@sequence_option
@job_options
def work(**options: Any) -> None:
    """Parse as `run` does."""
    options.pop("sequence")
    work.made = spec_of(options)  # type: ignore[attr-defined]
    save_job(click.get_current_context())


def parse(*argv: object) -> Any:
    work.main([str(a) for a in argv], standalone_mode=False)
    return work.made  # type: ignore[attr-defined]


def test_a_saved_job_is_the_same_work(tmp_path: Path) -> None:
    """The file of --save-job gives the same spec, and an option on the command line goes before it."""
    file = tmp_path / "weekly.toml"
    given = ("-m", "lanczos", "-s", 1.5, "--profile", "access", "--codec", "x265", "--tile", 256, "--face-enhance")
    given += (
        "--face-exclude",
        "1,2,30,40",
        "--face-exclude",
        "5,6,7,8",
        "--strict",
        "--crf",
        20,
        "--from",
        "1:30",
        "--to",
        "frame:4000",
    )
    first = parse(*given, "--save-job", file)
    assert parse("--job", file) == first
    assert parse("--job", file, "--crf", 21).crf == 21
    assert parse("--job", file).codec == "x265", "an option of the file goes before the profile's"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("crf = \n", "is not a job file"),
        ("crff = 20\n", "'crff', which is no option"),
        ("sources = ['a']\n", "'sources', which is no option"),
        ("save-job = 'x'\n", "'save-job', which is no option"),
        ("[crf]\nvalue = 20\n", "a table 'crf'"),
        ("crf = 'much'\n", "not a valid float"),
        ("codec = 'h264'\n", "give --codec x264"),
    ],
)
def test_a_wrong_job_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    """Each mistake in the file is one sentence with its place."""
    file = tmp_path / "weekly.toml"
    file.write_text(text)
    with pytest.raises(click.ClickException) as caught:
        parse("--job", file)
    assert said in caught.value.format_message()


def test_a_result_lies_beside_its_source(tmp_path: Path) -> None:
    """Without -o the name is the source's with -restored, of a format that is written; a folder gives a folder."""
    (tmp_path / "scans").mkdir()
    expected = {
        "film.mp4": "film-restored.mp4",
        "old.avi": "old-restored.mkv",
        "tape.dv": "tape-restored.mkv",
        "a.JPG": "a-restored.JPG",
        "b.gif": "b-restored.png",
        "scans": "scans-restored",
    }
    for source, name in expected.items():
        assert Output.of(None, [tmp_path / source], False).path == tmp_path / name
    assert Output.of(None, [tmp_path / "scans"], False, folders=True).path == tmp_path / "scans-restored.mkv"
    with pytest.raises(UsageError, match="name a folder with -o"):
        Output.of(None, [tmp_path / "a.mp4", tmp_path / "b.mp4"], False)


def test_an_output_that_promises_the_wrong_thing_is_refused(tmp_path: Path) -> None:
    """One file for three films, and a suffix of nothing that is written; a folder that exists may be called anything."""
    films = [tmp_path / f"{n}.mp4" for n in range(3)]
    with pytest.raises(UsageError, match="names one file, but these sources make several"):
        Output.of(tmp_path / "all.mp4", films, False)
    with pytest.raises(UsageError, match=r"\.xyz is no format that Respool writes"):
        Output.of(tmp_path / "x.xyz", films[:1], False)
    for name in ("out", "restored.2024", "v1.2"):
        assert not Output.of(tmp_path / name, films, False).single
    (tmp_path / "x.xyz").mkdir()
    assert not Output.of(tmp_path / "x.xyz", films[:1], False).single


def test_events_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads transfers, sentences and results as JSON; equal events are not repeated."""
    with display("json") as show:
        assert isinstance(show, Events)
        for done in (0, 1, 2, 2048):
            show.transfer("uploading", done, 2048)
        show.say("waiting: Redis")
        show.result(Path("out\x1b.mp4"))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["event"] for e in events] == ["transfer", "transfer", "say", "result"]
    assert events[1] == {"event": "transfer", "what": "uploading", "done": 2048, "total": 2048}
    assert events[3]["text"] == "out\x1b.mp4"


def test_on_done_tells_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command gets the job in its environment, meets no shell, and its failure is reported."""
    told = tmp_path / "told"
    call_back(
        f"sh -c 'echo $RESPOOL_JOB $RESPOOL_STATE_OF_JOB $RESPOOL_OUT > {told}'", "ab" * 8, "done", tmp_path / "o"
    )
    assert told.read_text() == f"{'ab' * 8} done {tmp_path / 'o'}\n"
    call_back("false; touch /nowhere", "ab" * 8, "done", tmp_path)
    call_back("/nowhere/program", "ab" * 8, "done", tmp_path)
    call_back("sh 'unclosed", "ab" * 8, "done", tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert all(line.startswith("--on-done") for line in said)
