"""Steps that run before the server listens."""

from middlewared.startup import Startup


async def test_steps_run_in_the_order_they_were_added() -> None:
    """Steps run one after the other, in the order they were added."""
    seen: list[str] = []
    startup = Startup()

    async def first() -> None:
        seen.append("first")

    async def second() -> None:
        seen.append("second")

    startup.add(first)
    startup.add(second)
    await startup.run()
    assert seen == ["first", "second"]
