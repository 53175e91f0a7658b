"""Row 8: a storm of progress, with many subscribers."""

import time
from collections import defaultdict

import anyio
import msgspec
from benchmarks.load import LoadClient, call_frame
from benchmarks.running import Bench, our_server, pid_of
from benchmarks.samples import sample
from benchmarks.tables import Goal, Table, at_most

JOBS, RATE, SECONDS = 200, 1000, 30.0
SUBSCRIBERS, LOOKED_AT = 100, 5
#: Updates of a job that are sent each second, without and with the option `max_rate`.
USUAL_RATE, MAX_RATE = 4.0, 1.0
HEAD = ("subscription", "updates of a job a second, at most", "last report of each job")


class _Fields(msgspec.Struct):
    id: int
    state: str
    progress: "_Progress"


class _Progress(msgspec.Struct):
    description: str | None


class _Params(msgspec.Struct):
    fields: _Fields


class _Message(msgspec.Struct):
    params: _Params


class Watcher:
    """What a subscriber saw of each job."""

    def __init__(self, client: LoadClient) -> None:
        self.updates: dict[int, list[float]] = defaultdict(list)
        self.last: dict[int, str | None] = {}
        self.ended = 0
        self._decode = msgspec.json.Decoder(_Message).decode
        self._client = client
        client.take = self.take

    async def wait(self, jobs: int) -> None:
        """Wait until so many jobs have ended."""
        await self._client.wait(lambda: self.ended >= jobs)

    def take(self, message: memoryview) -> None:
        """Note an event."""
        if b'"collection_update"' not in bytes(message[:60]):
            return
        fields = self._decode(message).params.fields
        self.last[fields.id] = fields.progress.description
        if fields.state == "RUNNING":
            self.updates[fields.id].append(time.monotonic())
        elif fields.state == "SUCCESS":
            self.ended += 1

    @property
    def rate(self) -> float:
        """Updates of a job a second after it moved to RUNNING, the most of all."""
        spans = [times for times in self.updates.values() if len(times) > 2]
        rates = [(len(t) - 2) / (t[-1] - t[1]) for t in spans]
        return max(rates, default=0.0)

    @property
    def missed(self) -> int:
        """Jobs whose last report did not come."""
        texts = self.last.values()
        return sum(not (text or "").endswith("the last") for text in texts)


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    jobs, subscribers = bench.sized(JOBS, 2), bench.sized(SUBSCRIBERS, 2)
    seconds = bench.lasting(SECONDS)
    with our_server() as server:
        kinds = {"plain": None, f"`max_rate` {MAX_RATE:g}": {"max_rate": MAX_RATE}}
        watchers: dict[str, list[Watcher]] = {kind: [] for kind in kinds}
        for number in range(subscribers):
            kind, options = list(kinds.items())[number % 2]
            client = await LoadClient.open(server.socket_path)
            params = (
                ["core.get_jobs"] if options is None else ["core.get_jobs", options]
            )
            await client.call("core.subscribe", *params)
            if len(watchers[kind]) < LOOKED_AT:
                watchers[kind].append(Watcher(client))
        everybody = [one for some in watchers.values() for one in some]
        submitter = await LoadClient.open(server.socket_path)

        async def work() -> int:
            for number in range(jobs):
                submitter.write(call_frame(number, "bench.storm", [seconds, RATE]))
            with anyio.fail_after(10 * seconds + 30):
                for watcher in everybody:
                    await watcher.wait(jobs)
            return jobs

        cost = await sample([pid_of(server)], work)
    share = cost.cpu / cost.seconds
    lines = [
        (
            kind,
            f"{max(one.rate for one in some):.2f}",
            "came" if not any(one.missed for one in some) else "missed",
        )
        for kind, some in watchers.items()
    ]
    goals = [at_most("the server's CPU", share, 1.0, "cores")]
    for (kind, some), most in zip(
        watchers.items(), (USUAL_RATE, MAX_RATE), strict=True
    ):
        rate = max(one.rate for one in some)
        goals.append(at_most(f"updates a second, {kind}", rate, most * 1.05, ""))
    missed = sum(one.missed for one in everybody)
    goals.append(Goal("the last report always comes", f"{missed} missed", missed == 0))
    table = Table(
        8,
        "A storm of progress",
        f"{jobs} jobs report {RATE:,} times a second each for {seconds:g} s; "
        f"{subscribers} subscribers. The server took {share:.0%} of a core, the load "
        f"{cost.load_cpu / cost.seconds:.0%}.",
        HEAD,
        lines,
        goals,
    )
    return [table]
