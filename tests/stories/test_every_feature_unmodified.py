"""Everything that the official SDK does with text and pictures, sync and async, in programs that name no emulator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from emulator import Emulator

RULES: dict[str, Any] = {
    "rules": [
        {"when": {"question": {"contains": "привет"}}, "reply": {"text": "Здравствуйте! Чем помочь?"}},
        {
            "when": {"question": {"word": ["погод*"]}, "tools": ["weather"]},
            "reply": {"tool_calls": [{"weather": {"city": "Тула"}}]},
        },
        {"when": {"tool_results": {"weather": {"contains": "+20"}}}, "reply": {"text": "Тепло."}},
        {"when": {"response_format": "json_object"}, "reply": {"json": {"ответ": 4}}},
        {"call": "few_shot_classify", "reply": {"predictions": {"да": 0.75, "нет": 0.25}}},
    ]
}

SYNC = """
import json, sys
from yandex_ai_studio_sdk import AIStudio

quick = {"poll_interval": 0.01}
sdk = AIStudio()
model = sdk.models.completions("yandexgpt")
print("text:", model.run("Привет!").text)
print("stream:", [part.text for part in model.run_stream("Привет!")][-1])
print("deferred:", model.run_deferred("Привет!").wait(**quick).text)
print("json:", model.configure(response_format="json").run("2 + 2?").text)
weather = sdk.tools.function({"type": "object", "properties": {"city": {"type": "string"}}}, name="weather")
agent = model.configure(tools=[weather])
asked = agent.run("Какая погода?")
(call,) = asked.tool_calls
results = [{"name": call.function.name, "content": "+20"}]
print("tools:", call.function.arguments, agent.run(["Какая погода?", asked, {"tool_results": results}]).text)
print("tokens:", len(model.tokenize("ping")))
print("embeddings:", *(len(sdk.models.text_embeddings(name).run("кот")) for name in ("doc", "query")))
classes = sdk.models.text_classifiers("yandexgpt").configure(task_description="Да?", labels=["да", "нет"])
print("classes:", [(one.label, one.confidence) for one in classes.run("да")])
print("picture:", sdk.models.image_generation("yandex-art").run_deferred("кот").wait(**quick).image_bytes[:2].hex())
with open(sys.argv[1], "w") as file:
    file.write(json.dumps({"request": [{"role": "user", "text": "Привет!"}]}) + "\\n")
draft = sdk.datasets.draft_from_path(sys.argv[1], task_type="TextToTextGenerationRequest", upload_format="jsonlines")
batch = sdk.models.completions("gemma-3-12b-it").batch.run_deferred(draft.upload(**quick))
print("batch:", [row["response"] for row in batch.wait(**quick).read()])
"""

ASYNC = """
import asyncio
from yandex_ai_studio_sdk import AsyncAIStudio

async def main():
    sdk = AsyncAIStudio()
    model = sdk.models.completions("yandexgpt")
    print("text:", (await model.run("Привет!")).text)
    print("stream:", [part.text async for part in model.run_stream("Привет!")][-1])
    print("deferred:", (await (await model.run_deferred("Привет!")).wait(poll_interval=0.01)).text)
    print("tokens:", len(await model.tokenize("ping")))
    print("embeddings:", len(await sdk.models.text_embeddings("doc").run("кот")))
    picture = await sdk.models.image_generation("yandex-art").run_deferred("кот")
    print("picture:", (await picture.wait(poll_interval=0.01)).image_bytes[:2].hex())

asyncio.run(main())
"""


@pytest.mark.fm_emulator(fixtures=RULES)
def test_a_synchronous_program(fm_emulator: Emulator, fm_emulator_exec: Any, tmp_path: Path) -> None:
    done = fm_emulator_exec([sys.executable, "-c", SYNC, str(tmp_path / "rows.jsonl")], timeout=120)
    assert done.stdout.splitlines() == [
        "text: Здравствуйте! Чем помочь?",
        "stream: Здравствуйте! Чем помочь?",
        "deferred: Здравствуйте! Чем помочь?",
        'json: {"ответ": 4}',
        "tools: {'city': 'Тула'} Тепло.",
        "tokens: 15",
        "embeddings: 256 256",
        "classes: [('да', 0.75), ('нет', 0.25)]",
        "picture: ffd8",
        "batch: ['Здравствуйте! Чем помочь?']",
    ], done.stderr
    assert (done.returncode, done.refused) == (0, {})


@pytest.mark.fm_emulator(fixtures=RULES)
def test_an_asynchronous_program(fm_emulator: Emulator, fm_emulator_exec: Any) -> None:
    done = fm_emulator_exec([sys.executable, "-c", ASYNC], timeout=120)
    assert done.stdout.splitlines() == [
        "text: Здравствуйте! Чем помочь?",
        "stream: Здравствуйте! Чем помочь?",
        "deferred: Здравствуйте! Чем помочь?",
        "tokens: 15",
        "embeddings: 256",
        "picture: ffd8",
    ], done.stderr
    assert (done.returncode, done.refused) == (0, {})
