"""Settings: where they come from, which wins, and what is refused."""

import math
import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from middlewared.errors import SettingsError
from middlewared.settings import (
    UNIX_PATH_LIMIT,
    Settings,
    decode_table,
    default_data_dir,
    load_settings,
)

LEVELS = "Expected `str` matching regex '^(debug|info|warning|error)$'"


class Table(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(gt=0)] = 1
    names: tuple[str, ...] = ()


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "middlewared.toml"
    path.write_text(text, encoding="utf-8")
    return path


class TestPrecedence:
    """Defaults, then the file, the environment, the flags."""

    def test_defaults(self) -> None:
        """Without anything said, only this machine can connect."""
        settings = load_settings(environ={})
        assert settings == Settings()
        assert settings.listen_address[0] == "127.0.0.1"
        assert not settings.insecure
        assert settings.data_dir == str(default_data_dir())

    def test_each_beats_the_one_before(self, tmp_path: Path) -> None:
        """Every source replaces what the earlier ones said, and nothing else."""
        config = written(
            tmp_path, 'max_calls = 10\nmax_connections = 10\nlog_level = "debug"\n'
        )
        environ = {
            "MIDDLEWARED_MAX_CONNECTIONS": "20",
            "MIDDLEWARED_LOG_LEVEL": "warning",
        }
        settings = load_settings(
            config=config, environ=environ, overrides={"log_level": "error"}
        )
        assert settings.max_calls == 10
        assert settings.max_connections == 20
        assert settings.log_level == "error"
        assert settings.max_message == Settings().max_message

    def test_flags_that_were_not_given(self) -> None:
        """A flag without a value says nothing."""
        settings = load_settings(
            environ={"MIDDLEWARED_LISTEN": "127.0.0.1:1"},
            overrides={"listen": None, "insecure": None},
        )
        assert settings.listen == "127.0.0.1:1"

    def test_process_environment_is_the_default(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without one given the process's own environment is read."""
        monkeypatch.setenv("MIDDLEWARED_MAX_CALLS", "77")
        assert load_settings().max_calls == 77

    @pytest.mark.parametrize(
        ("variable", "text", "value"),
        [
            ("INSECURE", "true", True),
            ("INSECURE", "0", False),
            ("SEND_STALL", "2.5", 2.5),
            ("ALLOWED_HOSTS", "a.example,b.example", ("a.example", "b.example")),
            ("ALLOWED_HOSTS", "", ()),
            ("UNIX", "/run/mw.sock", "/run/mw.sock"),
        ],
    )
    def test_environment_is_text(self, variable: str, text: str, value: Any) -> None:
        """Numbers, switches and lists are read from the text of a variable."""
        settings = load_settings(environ={f"MIDDLEWARED_{variable}": text})
        assert getattr(settings, variable.lower()) == value

    def test_variables_of_others_are_ignored(self) -> None:
        """The command line has variables with the same beginning."""
        environ = {"MIDDLEWARED_URL": "x", "MAX_CALLS": "1", "MIDDLEWARED_TABLES": "1"}
        assert load_settings(environ=environ) == Settings()


class TestTables:
    """What plugins are told."""

    def test_file_and_environment_make_one_table(self, tmp_path: Path) -> None:
        """A variable replaces one key of a plugin's table."""
        config = written(tmp_path, "[demo]\nsize = 1\nname = 'a'\n[other]\nx = 1\n")
        environ = {"MIDDLEWARED_DEMO__SIZE": "5", "MIDDLEWARED_NEW__KEY": "k"}
        assert load_settings(config=config, environ=environ).tables == {
            "demo": {"size": "5", "name": "a"},
            "other": {"x": 1},
            "new": {"key": "k"},
        }

    def test_decode(self) -> None:
        """Text from the environment becomes what the struct wants."""
        assert decode_table({"size": "5"}, Table, name="demo") == Table(size=5)
        assert decode_table({"names": ["a"]}, Table, name="demo").names == ("a",)

    @pytest.mark.parametrize(
        ("table", "text"),
        [
            ({"size": "x"}, "setting size in demo is 'x': Expected `int`, got `str`"),
            ({"size": 0}, "setting size in demo is 0: Expected `int` >= 1"),
            (
                {"names": ["a", 5]},
                r"setting names\[1\] in demo is \['a', 5\]: Expected `str`, got `int`",
            ),
            ({"sise": 1}, "setting in demo: Object contains unknown field `sise`"),
        ],
    )
    def test_mistakes(self, table: dict[str, Any], text: str) -> None:
        """The error names the key, its table, its value, and what was expected."""
        with pytest.raises(SettingsError, match=f"^{text}$"):
            decode_table(table, Table, name="demo")


class TestMistakes:
    """A value that cannot be used stops the start with one clear sentence."""

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                'max_calls = "many"',
                "setting max_calls in {} is 'many': Expected `int`, got `str`",
            ),
            ("max_calls = 0", "setting max_calls in {} is 0: Expected `int` >= 1"),
            (
                "send_stall = nan",
                "setting send_stall in {} is nan: Expected `float` > 0.0",
            ),
            ("max_call = 1", "setting in {}: Object contains unknown field `max_call`"),
            ("tables = 1", "setting in {}: Object contains unknown field `tables`"),
            ("[tables]", "setting in {}: Object contains unknown field `tables`"),
            (
                "[max_calls]\na = 1",
                "setting max_calls in {} is {{'a': 1}}: Expected `int`, got `object`",
            ),
            (
                'log_level = "loud"',
                f"setting log_level in {{}} is 'loud': {LEVELS}",
            ),
            ('listen = "nowhere"', "listen is 'nowhere', expected HOST:PORT"),
        ],
    )
    def test_in_the_file(self, tmp_path: Path, text: str, message: str) -> None:
        """The file is named."""
        config = written(tmp_path, text)
        with pytest.raises(SettingsError) as caught:
            load_settings(config=config, environ={})
        assert str(caught.value) == message.format(config)

    def test_in_the_environment(self, tmp_path: Path) -> None:
        """The variable is named, not the file."""
        with pytest.raises(SettingsError, match="in MIDDLEWARED_MAX_CALLS is 'x'"):
            load_settings(
                config=written(tmp_path, ""), environ={"MIDDLEWARED_MAX_CALLS": "x"}
            )

    def test_in_a_flag(self) -> None:
        """A flag beats the variable, so it is the flag that is wrong."""
        with pytest.raises(SettingsError, match="log_level in the flags is 'loud'"):
            load_settings(
                environ={"MIDDLEWARED_LOG_LEVEL": "info"},
                overrides={"log_level": "loud"},
            )

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b"[demo", "Expected ']' at the end of a table declaration"),
            (b"a = '\xff'", "codec can't decode"),
            (None, "No such file or directory"),
        ],
    )
    def test_unreadable_file(
        self, tmp_path: Path, content: bytes | None, text: str
    ) -> None:
        """A file that is missing or no TOML is named with the reason."""
        path = tmp_path / "x.toml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SettingsError, match=text) as caught:
            load_settings(config=path, environ={})
        assert str(caught.value).startswith(f"settings file '{path}': ")


class TestAddresses:
    """Where the server listens."""

    @pytest.mark.parametrize(
        ("listen", "address"),
        [
            ("127.0.0.1:0", ("127.0.0.1", 0)),
            ("localhost:65535", ("localhost", 65535)),
            ("[::1]:80", ("::1", 80)),
            ("::1:80", ("::1", 80)),
        ],
    )
    def test_listen(self, listen: str, address: tuple[str, int]) -> None:
        """Host and port, IPv6 with or without brackets."""
        assert Settings(listen=listen).listen_address == address

    @pytest.mark.parametrize(
        "listen",
        ["", "8420", ":8420", "host", "host:", "host:-1", "host:65536", "[]:1"],
    )
    def test_bad_listen(self, listen: str) -> None:
        """Without a host or a port it is refused."""
        with pytest.raises(SettingsError, match=r"listen is .*, expected HOST:PORT"):
            Settings(listen=listen)

    def test_socket_lives_in_the_data_directory(self) -> None:
        """Unless it is moved."""
        settings = Settings(data_dir="/srv/mw")
        assert settings.socket_path == Path("/srv/mw/middlewared.sock")
        moved = Settings(data_dir="/srv/mw", unix="/run/mw.sock")
        assert moved.socket_path == Path("/run/mw.sock")

    def test_relative_paths_and_homes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Paths are made absolute, a tilde is the home."""
        monkeypatch.setenv("HOME", "/home/ann")
        settings = Settings(data_dir="~/mw", unix="mw.sock")
        assert settings.data_path == Path("/home/ann/mw")
        assert settings.socket_path == Path.cwd() / "mw.sock"

    def test_longest_socket_path(self) -> None:
        """The system's limit is known before the bind."""
        longest = "/" + "x" * (UNIX_PATH_LIMIT - 1)
        assert Settings(unix=longest).socket_path == Path(longest)
        with pytest.raises(
            SettingsError, match=r"has 108 bytes, the system allows 107"
        ):
            Settings(unix=longest + "x")

    def test_length_counts_bytes(self) -> None:
        """A letter may take more than one byte."""
        with pytest.raises(SettingsError, match=r"has 109 bytes"):
            Settings(unix="/" + "é" * 54)

    @pytest.mark.parametrize(
        ("uid", "path"),
        [(0, "/var/lib/middlewared"), (1000, "/home/ann/.local/share/middlewared")],
    )
    def test_default_data_dir(
        self, monkeypatch: pytest.MonkeyPatch, uid: int, path: str
    ) -> None:
        """Root has the system's place, everybody else a place at home."""
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        monkeypatch.setenv("HOME", "/home/ann")
        assert default_data_dir() == Path(path)


def test_every_setting_is_described_and_finite() -> None:
    """Each has a description for people, and a default that is in force."""
    schema = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    missing = [
        name
        for name, found in schema.items()
        if name != "tables" and "description" not in found
    ]
    assert missing == []
    assert math.isfinite(Settings().shutdown_grace)
