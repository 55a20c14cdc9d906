"""OpenAI's chat protocol before speakers: `/v1/chat/completions`, `/v1/models` and `/health`.

How sure an answer is comes as the log-probability of one token that is the whole answer, where OpenAI's clients
and proxies look for it.
"""

import json
import math
import time
import uuid
from collections.abc import Mapping
from threading import Lock
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from registry.router.proxying import text_of
from registry.serving.speakers import Reply, Speaker
from supply_chain.errors import InvalidInput

_LEAST = 1e-30
"""JSON knows no infinite log-probability."""


class Asked(BaseModel):
    """What is read of a request; other parameters change nothing."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool = False


def chat_app(speakers: Mapping[str, Speaker]) -> FastAPI:
    """The application; each speaker answers one request after the other."""
    app = FastAPI(openapi_url=None)
    locks = {name: Lock() for name in speakers}

    @app.exception_handler(RequestValidationError)
    def refused(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _error(400, f"{'.'.join(map(str, first['loc'][1:])) or 'body'}: {first['msg']}")

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model", "created": 0} for name in speakers]}

    @app.post("/v1/chat/completions")
    def complete(asked: Asked) -> Response:
        speaker = speakers.get(asked.model)
        if speaker is None:
            return _error(404, f"no model {asked.model!r}; there are: {', '.join(speakers)}", "model_not_found")
        if not text_of(asked.messages).strip():
            return _error(400, "messages: the last one of a user holds no text")
        try:
            with locks[asked.model]:
                if (needed := speaker.needs(asked.messages)) > speaker.limit:
                    told = f"This model's maximum context length is {speaker.limit} tokens; text and answer need up to"
                    return _error(400, f"{told} {needed}: shorten the text", "context_length_exceeded")
                reply = speaker.speak(asked.messages)
        except InvalidInput as error:
            return _error(400, str(error))
        return _streamed(asked.model, reply) if asked.stream else JSONResponse(_completion(asked.model, reply))

    return app


def _error(status: int, message: str, code: str | None = None) -> Response:
    told = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": told}, status)


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _logprobs(reply: Reply) -> dict[str, Any] | None:
    if reply.confidence is None:
        return None
    likelihood = math.log(min(max(reply.confidence, _LEAST), 1.0))
    return {"content": [{"token": reply.text, "logprob": likelihood, "bytes": None, "top_logprobs": []}]}


def _completion(model: str, reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "message": message, "logprobs": _logprobs(reply), "finish_reason": "stop"}
    used = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.tokens}
    total = {"total_tokens": reply.prompt_tokens + reply.tokens}
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": {**used, **total}}


def _streamed(model: str, reply: Reply) -> Response:
    """The whole answer as one event: a label is not worth more."""
    delta = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "delta": delta, "logprobs": _logprobs(reply), "finish_reason": "stop"}
    chunk = json.dumps({**_head(model, "chat.completion.chunk"), "choices": [choice]})
    return Response(f"data: {chunk}\n\ndata: [DONE]\n\n", media_type="text/event-stream")
