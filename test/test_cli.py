"""The command `s3k`."""

from __future__ import annotations

import importlib
import sys
import types

import pytest

from s3k_ros import cli
from s3k_ros.errors import ConfigurationError
from s3k_ros.params import table


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(" ".join(command.words) in printed for command in cli.COMMANDS)


def test_an_unknown_command_shows_the_known_ones(capsys):
    assert cli.main(["fly"]) == 2
    assert "train" in capsys.readouterr().err


def test_no_command_is_imported_before_it_is_called():
    names = [command.module for command in cli.COMMANDS]
    importlib.reload(cli)
    assert not any(getattr(cli, name.rsplit(".", 1)[1], None) for name in names)


def test_a_missing_extra_is_named_with_the_way_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "s3k_ros.training.train", raising=False)
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
