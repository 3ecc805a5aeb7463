"""OpenAI's Responses by its Python SDK; see common.py."""

import openai

from common import ONCE, Complaint, conversations, dumped, helpers, refusals

ADDED = {"parsed", "parsed_arguments"}


def responses_at(place):
    return openai.OpenAI(base_url=f"{place.base}/v1", **ONCE).responses


for place in conversations("responses"):
    responses, asked = responses_at(place), place.asked()
    place.tell("whole", object=dumped(responses.create(**asked)))
    place.tell("stream", events=[dumped(event) for event in responses.create(**asked, stream=True)])
    with responses.stream(**asked) as stream:
        place.tell("helper", object=dumped(stream.get_final_response(), ADDED))

for place in helpers("responses"):
    responses, asked = responses_at(place), place.asked(text_format=Complaint)
    del asked["text"]
    answer = responses.parse(**asked)
    place.tell("whole", object=dumped(answer, ADDED), parsed=answer.output_parsed.model_dump())
    with responses.stream(**asked) as stream:
        answer = stream.get_final_response()
    place.tell("helper", object=dumped(answer, ADDED), parsed=answer.output_parsed.model_dump())

for place in refusals("responses"):
    responses, asked = responses_at(place), place.asked()
    place.tell_refusal("whole", openai.APIStatusError, lambda: responses.create(**asked))
    place.tell_refusal("stream", openai.APIStatusError, lambda: list(responses.create(**asked, stream=True)))
