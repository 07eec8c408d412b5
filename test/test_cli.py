"""The command `s3k`."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import pytest

from s3k_ros import cli, results
from s3k_ros.errors import ConfigurationError
from s3k_ros.params import table


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(" ".join(command.words) in printed for command in cli.COMMANDS)


def test_an_unknown_command_shows_the_known_ones(capsys):
    assert cli.main(["fly"]) == 2
    assert "train" in capsys.readouterr().err


def test_an_unknown_subcommand_shows_those_of_its_group(capsys):
    assert cli.main(["bench", "sleep"]) == 2
    printed = capsys.readouterr().err
    assert "no command 'bench sleep'" in printed and "bench render" in printed
    assert "export" not in printed


def test_a_group_has_its_own_help(capsys):
    assert cli.main(["dataset", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "dataset split" in printed and "bench" not in printed


@pytest.mark.parametrize(("measured", "code"), [(1.0, 0), (1.2, 1)])
def test_a_missed_target_of_a_benchmark_is_printed_kept_and_fails(
    capsys, monkeypatch, tmp_path, measured, code
):
    target = results.Target.at_most("cost", measured, 1.1, "ratio")
    outcome = results.Result("steps", "s3k bench steps", 0, "c", "m", {}, (target,))
    fake = types.SimpleNamespace(add_arguments=lambda parser: None, run=lambda arguments: outcome)
    monkeypatch.setitem(sys.modules, "fake", fake)
    monkeypatch.setattr(cli, "COMMANDS", (cli.Command(("bench", "steps"), "fake", "measures"),))
    assert cli.main(["bench", "steps", "--json", str(tmp_path / "r.json")]) == code
    assert ("MISSED" in capsys.readouterr().out) == bool(code)
    assert results.Result.read(tmp_path / "r.json") == outcome


def test_every_benchmark_is_a_command():
    folder = Path(cli.__file__).resolve().parent / "bench"
    benches = (p for p in folder.glob("[a-z]*.py") if "def add_arguments(" in p.read_text("utf-8"))
    files = {f"s3k_ros.bench.{path.stem}" for path in benches}
    assert files == {command.module for command in cli.COMMANDS if command.words[0] == "bench"}


def test_no_command_is_imported_before_it_is_called():
    names = [command.module for command in cli.COMMANDS]
    importlib.reload(cli)
    assert not any(getattr(cli, name.rsplit(".", 1)[1], None) for name in names)


def test_a_missing_extra_is_named_with_the_way_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "s3k_ros.training.run.train", raising=False)
    for name in [name for name in sys.modules if name.startswith("s3k_ros.training.")]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.main(["train", "--dataset", "x", "--out", "y"]) == 1
    printed = capsys.readouterr().err
    assert "torch" in printed and "setup-train" in printed


def test_an_error_of_ours_is_one_line_and_not_a_traceback(capsys, monkeypatch):
    def run(arguments):
        raise ConfigurationError("rig.yaml: no camera")

    fake = types.SimpleNamespace(add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(sys.modules, "fake", fake)
    monkeypatch.setattr(cli, "COMMANDS", (cli.Command(("fly",), "fake", "flies"),))
    assert cli.main(["fly"]) == 1
    assert capsys.readouterr().err == "s3k: rig.yaml: no camera\n"


def test_the_parameter_table_lists_every_parameter_of_every_class(capsys):
    assert cli.main(["params"]) == 0
    printed = capsys.readouterr().out
    classes = table.parameter_classes()
    assert {"DemoParameters", "GraspParameters"} <= set(classes)
    for kind in classes.values():
        assert f"### {kind.__name__}" in printed
        assert all(f"| `{info.name}` |" in printed for info in kind.describe())


def test_the_parameter_table_refuses_an_unknown_class(capsys):
    assert cli.main(["params", "NoParameters"]) == 1
    assert "known: " in capsys.readouterr().out


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda c: " ".join(c.words))
def test_every_command_exists_or_says_what_is_missing(command):
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        assert command.extra and not (error.name or "").startswith("s3k_ros")
        return
    assert callable(module.add_arguments) and callable(module.run)
