"""Anthropic Messages, read into the canonical form and written from it.

What came from Messages itself is written back as it was; what came from elsewhere is brought into the order and the
vocabulary that Anthropic accepts, and what does not fit is named.

    request.py   what a client asks, both ways
    turns.py     the order of turns, system texts, calls and results that Anthropic insists on
    blocks.py    parts of a message, both ways
    tools.py     tools, the choice among them, JSON schemas that structured outputs take
    families.py  what the families of Claude models accept
    tokens.py    count_tokens
    envelope.py  other dialects' signatures, carried through a Messages client and back
    answer.py    plain answers, usage, stop reasons, failures, both ways
    usual.py     requests and answers of texts alone, the short way
    stream.py    events, both ways
    sequence.py  blocks of a stream one by one
    frames.py    the bytes of events
"""
