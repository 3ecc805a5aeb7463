"""Google's GenAI SDK, through the gateway as through a pipe; see common.py."""

from google import genai
from google.genai import errors, types

from common import Complaint, conversations, helpers, refusals

MODEL = "gemini-2.5-flash"


def models_at(place):
    base = place.base if place.is_direct else f"{place.base}/{place.model}"
    options = types.HttpOptions(base_url=base, timeout=60_000, retry_options=types.HttpRetryOptions(attempts=1))
    # Kept, since a client that nobody holds closes its connections.
    place.client = genai.Client(api_key="sk-of-nobody", http_options=options, vertexai=False)
    return place.client.models


def asked(place, **other):
    request = place.asked()
    config = dict(request.get("generationConfig", {}))
    for name in ("systemInstruction", "tools", "toolConfig"):
        if name in request:
            config[name] = request[name]
    if other:
        config.pop("responseJsonSchema")
    config = types.GenerateContentConfig.model_validate({**config, **other})
    config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
    contents = [types.Content.model_validate(content) for content in request["contents"]]
    return {"model": MODEL, "contents": contents, "config": config}


def spelled(answer):
    ours = {"sdk_http_response", "parsed", "automatic_function_calling_history"}
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=ours)


for place in conversations("gemini"):
    models = models_at(place)
    place.tell("whole", object=spelled(models.generate_content(**asked(place))))
    place.tell("stream", events=[spelled(chunk) for chunk in models.generate_content_stream(**asked(place))])

for place in helpers("gemini"):
    answer = models_at(place).generate_content(**asked(place, response_schema=Complaint))
    place.tell("whole", object=spelled(answer), parsed=answer.parsed.model_dump())

for place in refusals("gemini"):
    models, request = models_at(place), asked(place)
    place.tell_refusal("whole", errors.APIError, lambda: models.generate_content(**request))
    place.tell_refusal("stream", errors.APIError, lambda: list(models.generate_content_stream(**request)))
