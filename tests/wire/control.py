"""A client of the control API, for tests: a method by its name, its request by its fields."""

from __future__ import annotations

from typing import Any

from emulator.api import METHODS

from .client import Client, Reply

SERVICE = "/emulator.v1.ControlService/"


class Controller:
    """Asks the control API through `client`, about the session that is named or the one a server begins with."""

    def __init__(self, client: Client, session: str | None = None, token: str | None = None) -> None:
        self.client = client
        named = {"x-emulator-session": session, "x-emulator-token": token}
        self.metadata = tuple((key, value) for key, value in named.items() if value is not None)

    def ask(self, name: str, timeout: float = 20, **fields: Any) -> Reply:
        """All that came of `name`, a refusal included."""
        request = METHODS[SERVICE + name].input(**fields)
        return self.client.call(SERVICE + name, request, self.metadata, timeout)

    def do(self, name: str, **fields: Any) -> Any:
        """The response of `name`, which goes well."""
        return self.ask(name, **fields).only

    def refused(self, name: str, **fields: Any) -> tuple[str, str]:
        """Code and message of `name`, which is refused."""
        reply = self.ask(name, **fields)
        assert reply.code != "OK", reply.messages
        return reply.code, reply.text

    def watch(self, **fields: Any) -> Any:
        """WatchCalls under way: an iterator of messages as bytes."""
        return self.client.begin("emulator.v1.ControlService/WatchCalls", self.watching(**fields), self.metadata)

    @staticmethod
    def watching(**fields: Any) -> Any:
        """The request of WatchCalls."""
        return METHODS[SERVICE + "WatchCalls"].input(**fields)

    # -- what is asked most

    def add(self, text: str, **files: bytes) -> str:
        """Lay the rules of a YAML text over the others; the id of their layer."""
        response = self.do("AddRules", fixtures={"files": {"rules.yaml": text.encode(), **files}})
        layer: str = response.layer_id
        return layer

    def rules(self) -> list[tuple[str, str]]:
        """Name and layer of each rule, in the order they are tried."""
        return [(rule.name, rule.layer_id) for rule in self.do("ListRules").rules]

    def calls(self, **fields: Any) -> list[Any]:
        """The calls of the journal."""
        return list(self.do("ListCalls", **fields).calls)

    def advance(self, seconds: float) -> Any:
        """Move the clock on; the response."""
        nanoseconds = round(seconds * 1e9)
        return self.do("AdvanceClock", by={"seconds": nanoseconds // 10**9, "nanos": nanoseconds % 10**9})

    def sleepers(self, count: int) -> Any:
        """Wait until so many calls wait for the clock."""
        return self.do("WaitForSleepers", count=count)
