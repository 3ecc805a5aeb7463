"""OpenAI's Python SDK before a provider whose own tools answer; see tests/e2e/responses.rs.

SDK_PLAN says what is asked (`request`), of which model at the gateway, and where both are.
"""

import json
import os

import openai

PLAN = json.loads(os.environ["SDK_PLAN"])


def dumped(model):
    """An object as it came, without padding against those who count bytes."""
    fields = model.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    fields.pop("obfuscation", None)
    return fields


told = {}
for via in ("direct", "gate"):
    client = openai.OpenAI(base_url=PLAN[via], api_key="sk-of-nobody", timeout=60, max_retries=0)
    request = dict(PLAN["request"])
    # What the SDK does not know goes along by its own way for that.
    extra = {"future_field": request.pop("future_field")}
    if via == "gate":
        request["model"] = PLAN["model"]
    whole = client.responses.create(**request, extra_body=extra)
    events = [dumped(event) for event in client.responses.create(**request, extra_body=extra, stream=True)]
    with client.responses.stream(**request, extra_body=extra) as stream:
        final = stream.get_final_response()
    told[via] = {"whole": dumped(whole), "stream": events, "helper": dumped(final)}
print(json.dumps(told))
