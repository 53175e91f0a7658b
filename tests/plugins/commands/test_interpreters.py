"""Scripts in command lines: no value may be a part of one."""

import pytest

from middlewared_commands.interpreters import spliced_script
from middlewared_commands.template import Template


def spliced(*words: str) -> str | None:
    """Look at a command line."""
    return spliced_script([Template.parse(word) for word in words])


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["sh", "-c", "echo {x}"], "sh"),
        (["/bin/bash", "-euo", "pipefail", "-c", "{x}"], "bash"),
        (["bash", "-lc", "echo {x}"], "bash"),
        (["nice", "sh", "-c", "echo '{x}'"], "sh"),
        (["sudo", "-u", "ann", "zsh", "-c", "echo {x}"], "zsh"),
        (["su", "ann", "-c", "echo {x}"], "su"),
        (["python3.11", "-Ic", "print('{x}')"], "python"),
        (["perl", "-ne", "print if /{x}/"], "perl"),
        (["node", "--eval", "f('{x}')"], "node"),
        (["node", "--eval=f('{x}')"], "node"),
        (["perl", "-eprint {x}"], "perl"),
        (["node", "--eval={x}"], "node"),
        (["env", "-S", "echo {x}"], "env"),
        (["busybox", "sh", "-c", "{x}"], "sh"),
    ],
)
def test_values_in_scripts(words: list[str], program: str | None) -> None:
    """The program is found, also behind others."""
    assert spliced(*words) == program


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", 'echo "$1"', "sh", "{x}"],
        ["bash", "script.sh", "{x}"],
        ["tar", "-c", "{x}"],
        ["grep", "-e", "{x}"],
        ["python3", "-m", "tool", "{x}"],
        ["sh", "{x}"],
        ["echo", "sh", "{x}"],
        ["perl", "-I/lib/{x}", "script.pl"],
    ],
)
def test_values_beside_scripts(words: list[str]) -> None:
    """A value that is a word of its own is none of the script."""
    assert spliced(*words) is None
