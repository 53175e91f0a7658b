"""Every mistake of the guide is found at import, and named as the guide says."""

import re
from pathlib import Path

import pytest
from mistakes import MISTAKES, PRELUDE, Mistake

from middlewared.errors import PluginError
from middlewared.loader import find_plugins


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_mistake_is_named_with_file_and_line(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong declaration in a plugins folder is refused with place and reason."""
    mistake: Mistake = MISTAKES[number]
    file = tmp_path / f"middlewared_mistake{number}.py"
    file.write_text(PRELUDE + mistake.code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError) as error:
        find_plugins(tmp_path)
    wanted = re.escape(mistake.message).replace(re.escape("..."), ".+")
    assert re.search(rf"{re.escape(str(file))}:\d+: {wanted}$", str(error.value))
