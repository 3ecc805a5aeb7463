"""OpenAI's chat completions by its Python SDK; see common.py."""

import openai

from common import ONCE, Complaint, conversations, dumped, helpers, refusals

COUNTED = {"stream_options": {"include_usage": True}}
ADDED = {"parsed", "parsed_arguments"}


def completions(place):
    return openai.OpenAI(base_url=f"{place.base}/v1", **ONCE).chat.completions


for place in conversations("openai"):
    chat, asked = completions(place), place.asked()
    place.tell("whole", object=dumped(chat.create(**asked)))
    place.tell("stream", events=[dumped(chunk) for chunk in chat.create(**asked, stream=True, **COUNTED)])
    with chat.stream(**asked, **COUNTED) as stream:
        place.tell("helper", object=dumped(stream.get_final_completion(), ADDED))

for place in helpers("openai"):
    chat, asked = completions(place), place.asked(response_format=Complaint)
    answer = chat.parse(**asked)
    place.tell("whole", object=dumped(answer, ADDED), parsed=answer.choices[0].message.parsed.model_dump())
    with chat.stream(**asked, **COUNTED) as stream:
        answer = stream.get_final_completion()
    place.tell("helper", object=dumped(answer, ADDED), parsed=answer.choices[0].message.parsed.model_dump())

for place in refusals("openai"):
    chat, asked = completions(place), place.asked()
    place.tell_refusal("whole", openai.APIStatusError, lambda: chat.create(**asked))
    place.tell_refusal("stream", openai.APIStatusError, lambda: list(chat.create(**asked, stream=True)))
