"""The OpenAI Python SDK as its users use it, against a running gateway.

`tests/e2e/openai_sdk.rs` starts the gateways and their scripted providers and runs this file. The SDK itself reads
OPENAI_BASE_URL and OPENAI_API_KEY; what else the checks need stands in variables that begin with SDK_. Each check
prints a line; the last line of a good run is "sdk: all checks passed".
"""

import asyncio
import base64
import json
import math
import os
import struct

import openai

EMBEDDING_MODEL = "all-MiniLM-L6-v2"
# Long enough for a busy machine, short enough that a gateway that hangs fails the run.
PATIENCE = 60
# The SDK's own retries would hide what the gateway answers.
ONCE = {"timeout": PATIENCE, "max_retries": 0}

client = openai.OpenAI(**ONCE)
other_tenant = openai.OpenAI(api_key=os.environ["SDK_OTHER_KEY"], **ONCE)


def user(text):
    return [{"role": "user", "content": text}]


def ask(text, model="chat", by=client, **options):
    return by.chat.completions.create(model=model, messages=user(text), **options)


def joined(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def error_of(kind, call):
    """The error of this very class that the call raises."""
    try:
        call()
    except openai.APIError as error:
        assert type(error) is kind, f"expected {kind.__name__}, got {error!r}"
        return error
    raise AssertionError(f"expected {kind.__name__}, got an answer")


def check_whole_answer():
    answer = ask("When do you open?")
    assert answer.object == "chat.completion"
    assert answer.id and answer.created > 0 and answer.model
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert choice.message.role == "assistant"
    assert choice.message.content == "You said: When do you open?"
    assert choice.message.tool_calls is None and choice.message.refusal is None
    usage = answer.usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def check_stream_says_what_the_whole_answer_says():
    question = "Do you ship to Norway, and what does it cost?"
    live = list(ask(question, stream=True))
    assert all(chunk.object == "chat.completion.chunk" for chunk in live)
    assert len({chunk.id for chunk in live}) == 1
    assert live[0].choices[0].delta.role == "assistant"
    assert live[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in live), "nobody asked for token counts"
    assert len(live) > 3, "a stream comes in parts"
    # One from the provider, one from the cache, against the answer that another tenant gets whole.
    replayed = list(ask(question, stream=True))
    whole = ask(question, by=other_tenant).choices[0].message.content
    assert joined(live) == joined(replayed) == whole


def check_stream_with_token_counts():
    def counted(by):
        *chunks, last = ask("Where is my parcel?", by=by, stream=True, stream_options={"include_usage": True})
        assert last.choices == [] and all(chunk.usage is None for chunk in chunks)
        assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens > 0
        return joined(chunks), last.usage

    live = counted(client)
    assert counted(client) == live, "from the cache"
    whole = ask("Where is my parcel?", by=other_tenant)
    assert (whole.choices[0].message.content, whole.usage.total_tokens) == (live[0], live[1].total_tokens)


def check_raw_response_headers():
    def headers(text, by=client):
        raw = by.chat.completions.with_raw_response.create(model="chat", messages=user(text))
        assert raw.parse().choices[0].message.content
        return raw.headers

    first = headers("How do I reset my password?")
    assert first["x-sluice-cache"] == "miss"
    assert (first["x-sluice-provider"], first["x-sluice-attempts"]) == ("primary", "1")
    again = headers("How do I reset my password?")
    assert (again["x-sluice-cache"], again["x-sluice-cache-tier"]) == ("hit", "exact")
    assert again["x-request-id"] != first["x-request-id"]
    paraphrase = headers("How can I reset my password?")
    assert (paraphrase["x-sluice-cache"], paraphrase["x-sluice-cache-tier"]) == ("hit", "semantic")
    assert 0.9 <= float(paraphrase["x-sluice-cache-similarity"]) < 1
    assert headers("How do I reset my password?", by=other_tenant)["x-sluice-cache"] == "miss"


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Finds an order by what the customer writes.",
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
        },
    }
]


def check_tool_calls():
    question = f'The order of {os.environ["SDK_EMAIL"]}, "the blue one"'
    whole = ask(question, model="tools", tools=TOOLS).choices[0]
    assert whole.finish_reason == "tool_calls" and not whole.message.content
    (call,) = whole.message.tool_calls
    assert (call.type, call.function.name) == ("function", "find_order") and call.id
    assert json.loads(call.function.arguments) == {"query": question}

    # The SDK's own accumulator puts a streamed call together.
    with client.chat.completions.stream(model="tools", messages=user(question), tools=TOOLS) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.finish_reason == "tool_calls"
    assert streamed.message.tool_calls[0].id == call.id
    assert json.loads(streamed.message.tool_calls[0].function.arguments) == {"query": question}

    result = {"role": "tool", "tool_call_id": call.id, "content": "Sent yesterday."}
    turns = [*user(question), whole.message, result]
    answer = client.chat.completions.create(model="tools", messages=turns, tools=TOOLS)
    assert answer.choices[0].message.content == "It was sent yesterday."


def check_personal_values_come_back():
    values = [os.environ[name] for name in ("SDK_EMAIL", "SDK_CARD", "SDK_IBAN")]
    question = "I am {}, my card is {} and my account {}.".format(*values)
    # The provider streams one character per chunk.
    live = joined(ask(question, model="typist", stream=True))
    assert live == f"You said: {question}"
    assert ask(question, model="typist").choices[0].message.content == live


def check_unknown_model():
    error = error_of(openai.NotFoundError, lambda: ask("Hello", model="no-such-model"))
    assert (error.status_code, error.code, error.param) == (404, "model_not_found", "model")
    assert error.type == "invalid_request_error" and error.request_id
    assert "no-such-model" in error.message


def check_wrong_key():
    stranger = openai.OpenAI(api_key="sk-nobody", **ONCE)
    error = error_of(openai.AuthenticationError, lambda: ask("Hello", by=stranger))
    assert (error.status_code, error.code) == (401, "invalid_api_key")
    assert "sk-nobody" not in str(error)
    error_of(openai.AuthenticationError, stranger.models.list)


def check_malformed_parameters():
    cases = [
        ("messages[0].content", {"messages": [{"role": "user", "content": 7}]}),
        ("messages", {"messages": []}),
        ("stream_options", {"extra_body": {"stream_options": "yes"}}),
        ("x-sluice-cache-similarity", {"extra_headers": {"x-sluice-cache-similarity": "near"}}),
    ]
    for param, fields in cases:
        request = {"model": "chat", "messages": user("Hello"), **fields}
        error = error_of(openai.BadRequestError, lambda: client.chat.completions.create(**request))
        assert (error.status_code, error.code, error.param) == (400, "invalid_value", param)


def check_secrets_are_blocked():
    strict = openai.OpenAI(base_url=os.environ["SDK_BLOCKING_URL"], **ONCE)
    secret = os.environ["SDK_SECRET"]
    error = error_of(openai.BadRequestError, lambda: ask(f"Is {secret} still valid?", by=strict))
    assert (error.status_code, error.type, error.code) == (400, "guardrail_blocked", "secret_detected")
    assert secret not in str(error)
    assert ask("Is it still valid?", by=strict).choices[0].message.content == "You said: Is it still valid?"


def check_fallback_is_invisible():
    raw = client.chat.completions.with_raw_response.create(model="shaky", messages=user("Are you there?"))
    assert raw.parse().choices[0].message.content == "You said: Are you there?"
    assert (raw.headers["x-sluice-provider"], raw.headers["x-sluice-attempts"]) == ("backup", "2")
    assert joined(ask("Are you there now?", model="shaky", stream=True)) == "You said: Are you there now?"


def check_all_targets_failing():
    for stream in (False, True):
        error = error_of(openai.InternalServerError, lambda: ask("Hello", model="down", stream=stream))
        assert (error.type, error.code) == ("upstream_error", "all_targets_failed")
        assert error.status_code >= 500 and len(error.body["attempts"]) == 2
    error = error_of(openai.RateLimitError, lambda: ask("Hello", model="busy"))
    assert (error.status_code, error.code) == (429, "all_targets_failed")
    assert int(error.response.headers["retry-after"]) > 0


def check_broken_stream_raises():
    # Twice: a cut answer is no answer, so it is not remembered.
    for _ in range(2):
        chunks = []
        error = error_of(openai.APIError, lambda: chunks.extend(ask("Tell me a story", model="cut", stream=True)))
        assert error.code == "stream_interrupted", error.body
        assert joined(chunks) == "Once upon a ", "what came before the cut was sent"


def check_embeddings():
    texts = ["The cat sat on the mat.", "A cat was sitting on a rug.", "Interest rates rose again in March."]
    # Without a format the SDK asks for base64 and decodes it.
    decoded = client.embeddings.create(model=EMBEDDING_MODEL, input=texts)
    assert (decoded.object, decoded.model) == ("list", EMBEDDING_MODEL)
    assert [item.index for item in decoded.data] == [0, 1, 2]
    assert decoded.usage.prompt_tokens == decoded.usage.total_tokens > 0
    vectors = [list(item.embedding) for item in decoded.data]
    for vector in vectors:
        assert len(vector) == 384 and all(isinstance(x, float) for x in vector)
        assert abs(math.fsum(x * x for x in vector) - 1) < 1e-5
    near, far = (sum(a * b for a, b in zip(vectors[0], vectors[i])) for i in (1, 2))
    assert near > far + 0.2, "the order of the list, or the model, is wrong"

    floats = client.embeddings.create(model=EMBEDDING_MODEL, input=texts[0], encoding_format="float")
    assert close(floats.data[0].embedding, vectors[0])
    packed = client.embeddings.create(model=EMBEDDING_MODEL, input=texts[0], encoding_format="base64")
    assert close(struct.unpack("<384f", base64.b64decode(packed.data[0].embedding)), vectors[0])


def close(left, right):
    return len(left) == len(right) and all(abs(a - b) < 1e-6 for a, b in zip(left, right))


def check_embedding_errors():
    embed = client.embeddings.create
    error = error_of(openai.NotFoundError, lambda: embed(model="no-such-model", input="a"))
    assert error.code == "model_not_found"
    error = error_of(openai.BadRequestError, lambda: embed(model=EMBEDDING_MODEL, input="a", dimensions=7))
    assert error.param == "dimensions"
    error = error_of(openai.BadRequestError, lambda: embed(model=EMBEDDING_MODEL, input=[[1, 2]]))
    assert error.param == "input[0]"


def check_models():
    listed = {model.id: model for model in client.models.list()}
    assert {"chat", "tools", EMBEDDING_MODEL} <= listed.keys()
    assert all(model.object == "model" and model.owned_by for model in listed.values())
    assert client.models.retrieve("chat").id == "chat"
    assert client.models.retrieve("primary/any-model").id == "primary/any-model"
    error = error_of(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"))
    assert error.code == "model_not_found"


def check_async_streams():
    texts = [
        "Can I pay by invoice?",
        "My washing machine leaks, who repairs it?",
        "Which train goes to the airport?",
        "Is the red jacket waterproof?",
        "How long does a passport take?",
        "Do you have vegetarian lunch?",
    ]

    async def read(by, text):
        stream = await by.chat.completions.create(model="chat", messages=user(text), stream=True)
        return joined([chunk async for chunk in stream])

    async def all_at_once():
        async with openai.AsyncOpenAI(**ONCE) as by:
            return await asyncio.gather(*(read(by, text) for text in texts))

    assert asyncio.run(all_at_once()) == [f"You said: {text}" for text in texts]


def main():
    checks = [(name, check) for name, check in globals().items() if name.startswith("check_")]
    print(f"sdk: openai {openai.__version__}")
    for name, check in checks:
        check()
        print(f"sdk: {name.removeprefix('check_').replace('_', ' ')}", flush=True)
    print("sdk: all checks passed")


if __name__ == "__main__":
    main()
