"""Gemini's generateContent (AI Studio and Vertex AI), read into the canonical form and written from it.

What came from Gemini itself is written back as it was, up to the spelling of names and the grouping of tools; what
came from elsewhere is brought into the order and the vocabulary that Gemini accepts, and what does not fit is named.
Model and stream stand in the URL, not in the body.

    request.py     what a client asks, both ways
    turns.py       contents, roles, and the signatures that Gemini 3 insists on
    blocks.py      parts of a message, both ways
    results.py     answers of functions, and the ids that Gemini's calls may lack
    tools.py       tools and the choice among them
    schemas.py     JSON Schema and the part of OpenAPI's schemas that Gemini knows
    thinking.py    budgets and levels
    families.py    what the families of models accept
    envelope.py    other dialects' signatures, carried through a Gemini client and back
    names.py       snake_case and camelCase
    answer.py      plain answers, usage, finish reasons, failures, both ways
    citations.py   grounding and citations as links, both ways
    logprobs.py    log probabilities, both ways
    stream.py      streams, both ways
    chunks.py      what is looked at in a chunk
    arrays.py      the stream as one JSON array, which is sent where nobody asks for alt=sse
    tokens.py      countTokens
    embeddings.py  embedContent, batchEmbedContents, Vertex AI's predict
"""
