"""No path of a dialect falls out of its routes."""

import httpx
import pytest
from jobs_stage import running_world
from starlette.routing import compile_path

from middlewared_dialects.paths import WHOLE


@pytest.mark.parametrize("rest", ["", "a", "a/b/", "\n", "a\r\nb", "\0", "a\n"])
def test_the_whole_rest_is_taken(rest: str) -> None:
    """With line feeds, and at the end."""
    pattern, _, convertors = compile_path(f"/x/{{rest:{WHOLE}}}")
    found = pattern.match(f"/x/{rest}")
    assert found is not None
    taken = convertors["rest"].convert(found["rest"])
    assert taken == rest
    assert convertors["rest"].to_string(taken) == rest


async def test_strange_paths_have_the_shape_of_their_dialect() -> None:
    """Also those with a line feed in them."""
    async with (
        running_world() as world,
        httpx.AsyncClient(base_url=world.server.url, trust_env=False) as http,
    ):
        for path, member in (
            ("/v1/telephony/config/jobs/a%0Ab", "trackingId"),
            ("/v1/a%0A", "trackingId"),
            ("/arcgis/rest/a%0Ab?f=json", "error"),
            ("/dw/data/v17_2/jobs/a%0Ab", "fault"),
            ("/s/-/dw/data/v17_2/%0A", "fault"),
            ("/api/v1/a%0Ab", "status"),
        ):
            assert member in (await http.get(path)).json(), path
