"""What the scripts of tests/e2e/sdks.rs share: what is asked where, and how an answer is told.

SDK_PLAN says it: `chats`, the folder of the golden conversations; `cases`, those of them that are asked; `errors`, the refusals of each
provider; `gate`, the gateway; `providers` behind it, each conversation with a model of its own; `direct`, for each format a scripted
provider without a gateway. Every answer is a line of JSON, which the test compares.
"""

import json
import os
import pathlib
import sys
import typing

import pydantic

PLAN = json.loads(os.environ["SDK_PLAN"])
# Long enough for a busy machine, short enough that a gateway that hangs fails the run. The SDKs' own retries would hide answers.
ONCE = {"api_key": "sk-of-nobody", "timeout": 60, "max_retries": 0}


class Complaint(pydantic.BaseModel):
    """What `structured_output` asks for, as people write it down who use the SDKs' helpers."""

    category: typing.Literal["damaged", "late", "wrong_item", "other"]
    urgent: bool
    summary: str
    items: list[str]
    refund_eur: float | None


class Place:
    """Where one conversation, or one refusal, is asked for."""

    def __init__(self, format, case, via):
        self.format, self.case, self.via = format, case, via
        self.is_direct = via == "direct"
        self.base = f"{PLAN['direct'][format]}/{case}" if self.is_direct else PLAN["gate"]
        self.model = f"{via}-{case}".replace("_", "-").replace(".", "-")

    def asked(self, **other):
        """The request of the golden conversation; refusals and the helpers of the SDK ask for others' words."""
        name = {"parsed": "structured_output"}.get(self.case, "plain" if self.case.startswith("error.") else self.case)
        path = pathlib.Path(PLAN["chats"]) / name / f"{self.format}.request.json"
        request = json.loads(path.read_bytes())
        return {**request, **({} if self.is_direct else {"model": self.model}), **other}

    def tell(self, how, **said):
        line = {"format": self.format, "case": self.case, "via": self.via, "how": how}
        print(json.dumps({**line, **said}), flush=True)

    def tell_refusal(self, how, kind, ask):
        try:
            ask()
        except kind as error:
            names = [one.__name__ for one in type(error).__mro__]
            said = {"kinds": names, "status": getattr(error, "status_code", None) or error.code}
            for name in ("type", "code", "param"):
                said[name] = getattr(error, name, None)
            body = getattr(error, "body", None) or error.details
            said["message"] = body.get("error", body)["message"]
            self.tell(how, error=said)
        else:
            sys.exit(f"{self.format} {self.case} by {self.via}: no error")


def conversations(format):
    for case in PLAN["cases"]:
        for via in ["direct", *PLAN["providers"]]:
            yield Place(format, case, via)


def helpers(format):
    """Where the helper for structured output is tried."""
    for via in ["direct", *PLAN["providers"]]:
        yield Place(format, "parsed", via)


def refusals(format):
    for via in ["direct", *PLAN["providers"]]:
        for name in PLAN["errors"][format if via == "direct" else via]:
            yield Place(format, f"error.{name}", via)


def dumped(model, without=()):
    """An object as it came: nothing that the SDK adds by itself."""
    def bare(value):
        if isinstance(value, dict):
            return {name: bare(item) for name, item in value.items() if name not in without}
        return [bare(item) for item in value] if isinstance(value, list) else value

    return bare(model.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False))
