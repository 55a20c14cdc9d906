"""How a release's answers are found, with the evidence for it, and in the words of other servers."""

from typing import Any

from evals.estimates import Estimate
from registry.routing import Choice, Decoding, DecodingTried, Model
from supply_chain.decoding import Chosen
from supply_chain.serving import Serving


def decoding_of(serving: Serving) -> Decoding:
    """The manifest's entry. Labels are ranked without parameters; texts are written as was chosen, else greedily."""
    if serving.task == "classification":
        return Decoding(answers="ranked", temperature=0.0, max_new_tokens=0)
    setting = serving.setting
    return Decoding(
        answers="written",
        temperature=setting.temperature,
        max_new_tokens=serving.max_new_tokens,
        top_p=setting.top_p,
        repetition_penalty=setting.repetition_penalty,
        chosen=_choice(serving.decoding) if serving.decoding else None,
    )


def _choice(found: Chosen) -> Choice:
    tried = [
        DecodingTried(
            temperature=one.setting.temperature,
            top_p=one.setting.top_p,
            repetition_penalty=one.setting.repetition_penalty,
            max_new_tokens=one.setting.max_new_tokens or found.room,
            value=Estimate(mean=one.mean, low=one.low, high=one.high, n=one.n),
        )
        for one in found.tried
    ]
    return Choice(metric=found.metric, tried=tried)


def openai_parameters(model: Model) -> dict[str, Any]:
    """Parameters of an OpenAI request, as LiteLLM keeps them; what OpenAI has no name for goes as vLLM's."""
    told = model.decoding
    if told is None:
        return {}
    found: dict[str, Any] = {"temperature": told.temperature}
    found |= {"max_tokens": told.max_new_tokens} if told.max_new_tokens else {}
    found |= {"top_p": told.top_p} if told.top_p < 1 else {}
    extra = {"repetition_penalty": told.repetition_penalty} if told.repetition_penalty > 1 else {}
    return found | ({"extra_body": extra} if extra else {})


def llama_parameters(model: Model) -> dict[str, float]:
    """llama.cpp's own names. What it would do besides by default (the most likely 40, `min_p`, a window of 64 tokens

    for the penalty) is turned off where it would change an answer.
    """
    told = model.decoding
    if told is None:
        return {}
    found: dict[str, float] = {"temperature": told.temperature, "repeat_penalty": told.repetition_penalty}
    found |= {"repeat_last_n": -1} if told.repetition_penalty > 1 else {}
    return found | ({"top_p": told.top_p, "top_k": 0, "min_p": 0} if told.temperature else {})
