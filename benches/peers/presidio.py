"""Presidio's pattern recognisers on request, started by benches/micro/presidio.rs.

A line {"text", "rounds"} in, a line {"us", "found"} out: the best of `rounds` calls of analyze(), in microseconds of the
processor's time: on a machine that does other things too, calls as long as these are never left alone.
The recognisers are those of the default registry for English without the one that asks spaCy's model; its tokenizer is
a blank one, so nothing is downloaded. Everything else is as Presidio has it: all entities, words around as context.
"""

import json
import logging
import sys
import time
from importlib.metadata import version

import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine

logging.disable(logging.CRITICAL)


class Blank(SpacyNlpEngine):
    """A tokenizer and nothing else."""

    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}


def main():
    nlp = Blank()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=nlp)
    registry.remove_recognizer("SpacyRecognizer")
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=["en"])
    names = sorted({recognizer.name for recognizer in registry.recognizers})
    analyzer.analyze(text="warm: a@example.org, 212-555-0142, 4111 1111 1111 1111", language="en")
    about = f"presidio-analyzer {version('presidio-analyzer')}, spaCy {spacy.__version__} blank, Python {sys.version.split()[0]}; {len(names)} recognisers: {', '.join(names)}"
    print(json.dumps({"about": about}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        best, found = None, 0
        for _ in range(request["rounds"]):
            begun = time.process_time()
            found = len(analyzer.analyze(text=request["text"], language="en"))
            spent = time.process_time() - begun
            best = spent if best is None else min(best, spent)
        print(json.dumps({"us": best * 1e6, "found": found}), flush=True)


main()
