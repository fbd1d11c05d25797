"""Notes: where a scripted reply is not what the request asked for. It is sent as scripted all the same."""

from __future__ import annotations

from typing import Any

from ..api import plain_struct
from ..rules.subject import Subject


def notes_on(final: Any, subject: Subject, content: str | None) -> list[str]:
    """Remarks on the final reply of a rule whose reply is `content` (text, json, tool_calls, ...)."""
    if content is None or not final.alternatives:
        return []
    if content in ("json", "text") and subject.schema is not None:
        return _json_notes(final.alternatives[0].message.text, subject.schema)
    if content != "tool_calls":
        return []
    from .schema import mismatch

    notes = []
    choice = subject.tool_choice.raw if subject.tool_choice is not None else ""
    calls = [c.function_call for c in final.alternatives[0].message.tool_call_list.tool_calls]
    if choice == "NONE":
        notes.append("sent tool calls although tool_choice is NONE")
    if (
        len(calls) > 1
        and subject.request.HasField("parallel_tool_calls")
        and not subject.request.parallel_tool_calls.value
    ):
        notes.append(f"sent {len(calls)} tool calls although parallel_tool_calls is false")
    tools = {tool.function.name: tool.function for tool in subject.request.tools}
    for call in calls:
        if call.name not in tools:
            notes.append(f"called {call.name}, which the request does not offer")
            continue
        wrong = mismatch(plain_struct(tools[call.name].parameters), plain_struct(call.arguments))
        if wrong is not None:
            notes.append(f"arguments of {call.name} don't follow its parameters: {wrong}")
    return notes


def _json_notes(text: str, schema: dict[str, Any]) -> list[str]:
    import json

    from .schema import mismatch

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as failed:
        return [f"the text is not JSON although a schema was asked for: {failed}"]
    wrong = mismatch(schema, value)
    return [] if wrong is None else [f"the JSON does not follow the asked schema: {wrong}"]
