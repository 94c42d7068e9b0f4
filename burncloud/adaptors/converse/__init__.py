"""Bedrock Converse and ConverseStream, read into the canonical form and written from it.

It is spoken only upstream; both halves are written in both directions all the same, so that each tests the other.
What other dialects ask is brought into what Bedrock's front door accepts (alternating roles, results first, names and
ids in its alphabets, no blank texts) and into what the model's family accepts behind it.

    request.py     what is asked, both ways
    knobs.py       what only one family has: thinking, top_k, both ways
    tools.py       toolConfig, names and ids
    blocks.py      parts of a message, read
    content.py     parts of a message, written
    media.py       images, documents, sounds, both ways
    citations.py   citations, both ways
    families.py    what the families of models accept
    answer.py      plain answers, usage, stop reasons, failures, both ways
    stream.py      events in AWS event-stream frames, both ways
    invoke.py      Claude's own stream, as InvokeModel frames it
    embeddings.py  Titan's and Cohere's embeddings
"""
