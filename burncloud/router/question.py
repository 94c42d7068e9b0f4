"""What a request asks: its model, whether it wants a stream, how large it is; as much as routing and money must know.

It is read off the body without building it; where the model stands in the path, the body must not name another.
"""

from __future__ import annotations

import msgspec

from burncloud.adaptors.estimate import form_tokens, prompt_both
from burncloud.adaptors.peek import Members, NoModel, Peek, peek_json, peek_whole, splice
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.router import listing
from burncloud.router.exchange import Exchange
from burncloud.router.opening import asked
from burncloud.router.routes import ENGINE_EMBEDDINGS, REALTIME
from burncloud.router.world import World


def look_at(world: World, x: Exchange) -> tuple[Peek, Members | None]:
    """Read it off the body into the exchange, the size of the prompt included.  Raises Refusal.

    With it the members of a body that was read whole.
    """
    endpoint = x.target.endpoint
    body = x.body
    members: Members | None = None
    if body is None or endpoint is None:
        if endpoint is REALTIME:
            return asked(x), None
        raise Refusal(INVALID_REQUEST, "The request has no body")
    if x.form is not None:
        x.form_peek = form = x.form.finish()
        peek = Peek(form.model or listing.default_model(world, x), form.stream)
        x.prompt = x.prompt_billed = form_tokens(form.text_bytes, form.files, form.file_bytes)
    elif x.sliced is not None:
        try:
            peek = x.sliced.finish()
        except NoModel:
            peek = x.sliced.finish(listing.default_model(world, x))
        x.prompt, x.prompt_billed = x.sliced.prompt_both()
    else:
        whole = named = body.whole()
        if endpoint is ENGINE_EMBEDDINGS:
            # the body need not name the model again, and must not name another
            named = splice(whole, {"model": msgspec.json.encode(x.target.model)})
        try:
            peek, members = peek_whole(named, endpoint.dialect)
        except NoModel:
            named = splice(whole, {"model": msgspec.json.encode(listing.default_model(world, x))})
            body.replace(named)
            peek, members = peek_whole(named, endpoint.dialect)
            whole = named
        if named is not whole and b'"model"' in whole and peek_json(whole, endpoint.dialect).model != peek.model:
            raise Refusal(INVALID_REQUEST, "The path and the body name different models")
        x.prompt, x.prompt_billed = prompt_both(whole)
    x.model = x.target.model or peek.model
    x.endpoint = endpoint.name
    x.stream = peek.stream or x.target.stream
    x.usage_asked = peek.include_usage
    return peek, members
