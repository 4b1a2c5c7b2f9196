"""Commands started without a shell do what the shell would have done."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hotreload_engine import commands

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}

NEED_A_SHELL = [
    "echo a > b", "true && true", "a=1 env", "printf '%s' x", 'gcc "-DX=a b"', "ls *.c", "ls ~", "echo $HOME", "a; b",
    "cd src", "exit 3", ". ./x", "[ -f x ]", "! true", "env a=~", "ls `pwd`", "ls a{b,c}", "gcc #", " ls", "ls  a", "",
    "test -f x", "time ls", "kill 1",
]  # fmt: skip


@pytest.mark.parametrize("text", NEED_A_SHELL)
def test_what_a_shell_would_read_in_its_own_way_is_left_to_it(text: str) -> None:
    """Redirections, variables, quotes, patterns, comments, its own commands."""
    assert commands.words(["sh", "-c", text], PATH) == []


@pytest.mark.parametrize("text", ["gcc -o a.os -c -O0 -fPIC -Iinc src/a.c", "/bin/ls", "g++ -DX=1 -Wl,-z,now@x a+b.o"])
def test_plain_words_need_no_shell(text: str) -> None:
    """A compiler's usual line."""
    assert commands.words(["sh", "-c", text], PATH) == text.split()


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (["bash", "-c", "ls a"], PATH),
        (["sh", "-c", "ls a"], {}),
        (["sh", "-c", "ls a"], {**PATH, "BASH_ENV": "x"}),
        (["sh", "-c", "ls a"], {**PATH, "BASH_FUNC_ls%%": "() { :; }"}),
        (["sh", "-c", "ls " + "a" * 140_000], PATH),
    ],
)
def test_another_shell_or_settings_of_it_are_respected(command: list[str], environment: dict[str, str]) -> None:
    """$SHELL of the project's own, no PATH, start-up files, exported functions, lines that no shell could be given."""
    assert commands.words(command, environment) == []


SAME = [
    "env",
    "sleep 0",
    "ls /nowhere",
    "false",
    "grep x /dev/null",
    "./script a b",
    "./noexec",
    "./nothing",
    "none-such a",
]


@pytest.mark.parametrize("text", SAME)
def test_status_output_and_environment_are_the_shells(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each command run both ways: scripts without a first line and names that do not exist too."""
    (tmp_path / "script").write_text('echo "$0 $1 $2"; exit 7\n')
    (tmp_path / "script").chmod(0o755)
    (tmp_path / "noexec").write_text("exit 7\n")
    monkeypatch.chdir(tmp_path)
    by_shell = subprocess.run(["sh", "-c", text], env=PATH, check=False).returncode
    shells = capfd.readouterr()
    assert commands.run(["sh", "-c", text], PATH) == by_shell
    ours = capfd.readouterr()
    own = ("_=", "SHLVL=", "OLDPWD")  # bash's own counters

    def lines(out: str) -> list[str]:
        return sorted(line for line in out.splitlines() if not line.startswith(own))

    assert (lines(ours.out), ours.err) == (lines(shells.out), shells.err)
    assert text != "env" or f"PWD={os.getcwd()}" in ours.out


def test_a_command_that_a_signal_ended_tells_so(tmp_path: Path) -> None:
    """As subprocess does: the signal's number, negative."""
    (tmp_path / "dies").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (tmp_path / "dies").chmod(0o755)
    assert commands.run(["sh", "-c", f"{tmp_path}/dies"], PATH) == -11
