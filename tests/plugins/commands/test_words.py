"""Command lines: a value is one word, and never an option it was not meant to be."""

import getopt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared import ValidationErrors
from middlewared_commands.params import (
    BoolParam,
    FloatParam,
    IntParam,
    ListParam,
    Param,
    PathParam,
    SecretParam,
    StrParam,
)
from middlewared_commands.template import TemplateError
from middlewared_commands.words import Words, WordsError

#: Texts that programs like to misunderstand, and any others.
TEXTS = st.one_of(
    st.sampled_from(
        ["", "-", "--", "-f", "--force", "--n=1", "a b", "'", '"', "$(id)", "\n", "*"]
    ),
    st.text(alphabet="-fn= 'ab\"$\n{}", max_size=6),
    st.text(max_size=6),
)
PARAMS: dict[str, Param] = {
    "a": StrParam(),
    "b": StrParam(),
    "o": StrParam(required=False),
    "list": ListParam(),
    "dash": StrParam(dash=True),
    "choice": StrParam(choices=("-x", "y")),
    "flagged": StrParam(flag="--tag", required=False),
    "joined": StrParam(flag="--tag=", required=False),
    "loud": BoolParam(flag="--loud"),
    "plain": BoolParam(),
    "n": IntParam(),
    "level": IntParam(min=1),
    "f": FloatParam(),
    "p": PathParam(),
    "files": ListParam(items="path", flag="-i"),
    "secret": SecretParam(),
    "key": SecretParam(flag="--key-file", required=False),
}


def fill(*templates: str, **values: Any) -> list[str]:
    """Fill templates of the params above."""
    return Words.compile(templates, PARAMS).fill(values, {"secret": "/private/file"})


@pytest.mark.parametrize(
    ("templates", "values", "words"),
    [
        (["x", "{a}"], {"a": "b c"}, ["x", "b c"]),
        (["x", "{a}"], {"a": ""}, ["x", ""]),
        (["x={a}{b}"], {"a": "-", "b": "-f"}, ["x=--f"]),
        (["x", "{o}"], {"o": None}, ["x"]),
        (["x", "{list}"], {"list": ["b c", "d"]}, ["x", "b c", "d"]),
        (["x", "{list}"], {"list": []}, ["x"]),
        (["{flagged}"], {"flagged": "v"}, ["--tag", "v"]),
        (["{flagged}"], {"flagged": None}, []),
        (["{joined}"], {"joined": "-v"}, ["--tag=-v"]),
        (["{loud}", "{plain}"], {"loud": True, "plain": True}, ["--loud", "true"]),
        (["{loud}", "{plain}"], {"loud": False, "plain": False}, ["false"]),
        (["{n}", "{f}"], {"n": 5, "f": 0.5}, ["5", "0.5"]),
        (["{f}"], {"f": -0.0}, ["0.0"]),
        (["-{level}"], {"level": 9}, ["-9"]),
        (["-n{a}"], {"a": "-1"}, ["-n-1"]),
        (["--", "{a}"], {"a": "-f"}, ["--", "-f"]),
        (["{dash}", "{choice}"], {"dash": "-f", "choice": "-x"}, ["-f", "-x"]),
        (["{files}"], {"files": ["/a", "/b"]}, ["-i", "/a", "-i", "/b"]),
        (["{secret}", "f={secret}"], {}, ["/private/file", "f=/private/file"]),
        (["{{{a}}}"], {"a": "x"}, ["{x}"]),
        (["{key}"], {"key": None}, []),
    ],
)
def test_filled(templates: list[str], values: dict[str, Any], words: list[str]) -> None:
    """What is given appears where it belongs, what is not leaves nothing."""
    assert fill(*templates, **values) == words


@pytest.mark.parametrize(
    ("templates", "values"),
    [
        (["{a}"], {"a": "-"}),
        (["{a}"], {"a": "--"}),
        (["{a}x"], {"a": "-f"}),
        (["{a}{b}"], {"a": "", "b": "-f"}),
        (["{a}-f"], {"a": ""}),
        (["{list}"], {"list": ["ok", "-f"]}),
        (["{flagged}"], {"flagged": "-f"}),
        (["{n}"], {"n": -1}),
        (["{f}"], {"f": -0.5}),
        (["{a}", "--"], {"a": "-f"}),
        (["{dash}{a}"], {"dash": "", "a": "-f"}),
    ],
)
def test_options_are_refused(templates: list[str], values: dict[str, Any]) -> None:
    """A word that begins with a dash because of a value is refused, naming both."""
    with pytest.raises(
        ValidationErrors, match="could be taken for an option"
    ) as raised:
        fill(*templates, **values)
    (error,) = raised.value.errors
    assert error.attribute in values


@pytest.mark.parametrize(
    ("templates", "text"),
    [
        (["{c}"], "'c' is no param, expected one of a, b"),
        (["x{list}"], "list 'list' cannot be a part of a word"),
        (["x{o}"], "'o' need not be given"),
        (["x{flagged}"], "'flagged' need not be given"),
        (["x{loud}"], "'loud' has a flag"),
        (["-{a}"], "'a' would choose the option"),
        (["--{a}"], "'a' would choose the option"),
        (["--{n}"], "'n' would choose the option"),
    ],
)
def test_templates_that_could_not_be_filled(templates: list[str], text: str) -> None:
    """They are refused before there is any value."""
    with pytest.raises(WordsError, match=text):
        Words.compile(templates, PARAMS)


def test_an_optional_secret() -> None:
    """Its option is there with the path of its file, when it is given."""
    words = Words.compile(["{key}"], PARAMS)
    assert words.fill({}, {"key": "/private/key"}) == ["--key-file", "/private/key"]


def test_no_template() -> None:
    """What is no template is refused as such."""
    with pytest.raises(TemplateError):
        Words.compile(["{a"], PARAMS)


def test_what_a_program_could_take_for_options() -> None:
    """Leading values are known before there is any."""
    words = Words.compile(
        ["x", "{a}", "y{b}", "{joined}", "{flagged}", "{plain}{n}", "--", "{list}"],
        PARAMS,
    )
    assert words.leading == {"a", "flagged", "plain", "n"}
    assert words.names == {"a", "b", "joined", "flagged", "plain", "n", "list"}


TEMPLATES = st.lists(
    st.sampled_from(
        ["{a}", "{b}", "x{a}", "{a}{b}", "{b}y", "-o{a}", "a{{{b}}}", "{o}", "{list}"]
    ),
    min_size=1,
    max_size=6,
)


@given(TEMPLATES, TEXTS, TEXTS, st.none() | TEXTS, st.lists(TEXTS, max_size=3))
def test_one_value_is_one_word(
    templates: list[str], a: str, b: str, o: str | None, items: list[str]
) -> None:
    """The number of words depends on nothing but what is given, and each is whole."""
    values = {"a": a, "b": b, "o": o, "list": items}
    filled: list[str] = []
    for template in templates:
        if template == "{list}":
            filled += items
        elif template != "{o}":
            filled.append(template.format(a=a, b=b))
        elif o is not None:
            filled.append(o)
    try:
        assert fill("--", *templates, **values) == ["--", *filled]
        assert fill(*templates, **values) == filled
    except ValidationErrors:
        assert any(word.startswith("-") for word in filled)


@given(TEMPLATES, TEXTS, TEXTS, st.none() | TEXTS, st.lists(TEXTS, max_size=3))
def test_no_value_becomes_an_option(
    templates: list[str], a: str, b: str, o: str | None, items: list[str]
) -> None:
    """An option parser finds the options of the settings, and no others."""
    try:
        words = fill(*templates, a=a, b=b, o=o, list=items)
    except ValidationErrors:
        return
    wanted = [("-o", a) for template in templates if template == "-o{a}" and a]
    if "-o{a}" in templates and not a:
        return  # the word after it is its value
    options, rest = getopt.gnu_getopt(words, "o:fn:", ["force", "n="])
    assert options == wanted
    assert len(rest) == len(words) - len(wanted)
