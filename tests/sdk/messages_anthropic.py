"""Anthropic's Messages by its Python SDK; see common.py."""

import anthropic

from common import ONCE, Complaint, conversations, dumped, helpers, refusals

ADDED = {"parsed_output"}
COUNTED = ("messages", "model", "system", "tools", "tool_choice")


def messages_at(place):
    return anthropic.Anthropic(base_url=place.base, **ONCE).messages


def typed(asked):
    """The SDK's types have no temperature any more; models that take one still do."""
    more = {name: asked.pop(name) for name in ("temperature",) if name in asked}
    return {**asked, "extra_body": more} if more else asked


for place in conversations("anthropic"):
    messages, asked = messages_at(place), typed(place.asked())
    place.tell("whole", object=dumped(messages.create(**asked)))
    place.tell("stream", events=[dumped(event) for event in messages.create(**asked, stream=True)])
    with messages.stream(**asked) as stream:
        place.tell("helper", object=dumped(stream.get_final_message(), ADDED))
    counted = messages.count_tokens(**{name: asked[name] for name in COUNTED if name in asked})
    place.tell("count", object=dumped(counted))

for place in helpers("anthropic"):
    messages, asked = messages_at(place), typed(place.asked(output_format=Complaint))
    del asked["output_config"]
    answer = messages.parse(**asked)
    place.tell("whole", object=dumped(answer, ADDED), parsed=answer.parsed_output.model_dump())
    with messages.stream(**asked) as stream:
        answer = stream.get_final_message()
    place.tell("helper", object=dumped(answer, ADDED), parsed=answer.parsed_output.model_dump())

for place in refusals("anthropic"):
    messages, asked = messages_at(place), typed(place.asked())
    place.tell_refusal("whole", anthropic.APIStatusError, lambda: messages.create(**asked))
    place.tell_refusal("stream", anthropic.APIStatusError, lambda: list(messages.create(**asked, stream=True)))
