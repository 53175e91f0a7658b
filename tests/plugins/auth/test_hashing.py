"""Hashes are slow on purpose, but a key that was right is known again."""

import pytest

from middlewared_auth import hashing
from middlewared_auth.hashing import Hashing


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note for which secrets a hash is made."""
    made: list[str] = []
    derive = hashing.derive

    def noting(secret: str, salt: bytes, iterations: int = 4096) -> hashing.Verifier:
        made.append(secret)
        return derive(secret, salt, iterations)

    monkeypatch.setattr(hashing, "derive", noting)
    return made


async def test_right_secrets_are_known_again(derived: list[str]) -> None:
    """The second time without a hash; wrong ones, and new verifiers, cost one each."""
    hashes = Hashing()
    verifier = await hashes.make_verifier("right")
    derived.clear()
    assert await hashes.check_secret(verifier, "right")
    assert await hashes.check_secret(verifier, "right")
    assert derived == ["right"]
    for _ in range(2):
        assert not await hashes.check_secret(verifier, "wrong")
        assert not await hashes.check_secret(None, "right")
    assert derived == ["right", *["wrong", "right"] * 2]
    changed = await hashes.make_verifier("other")
    assert not await hashes.check_secret(changed, "right")
    assert await hashes.check_secret(changed, "other")


async def test_only_so_many_are_known(
    derived: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one not used for longest is forgotten."""
    monkeypatch.setattr(hashing, "MAX_KNOWN", 2)
    hashes = Hashing()
    verifiers = {name: await hashes.make_verifier(name) for name in "abc"}
    for name in "abac":
        assert await hashes.check_secret(verifiers[name], name)
    derived.clear()
    for name in "acb":
        assert await hashes.check_secret(verifiers[name], name)
    assert derived == ["b"]
