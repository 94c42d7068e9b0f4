"""OpenAI Chat Completions and its many copies, read into the canonical form and written from it.

What came from Chat itself is written back as it was; what came from elsewhere is written so that the family of the
model takes it, and what does not fit is named.

    request.py    what a client asks, both ways
    turns.py      messages: roles, the order of calls and results
    blocks.py     parts of a message, both ways
    reasoning.py  shown thinking and its signatures, in the members that vendors invented for it
    tools.py      tools, legacy functions, the choice among them
    thinking.py   how much to think, in the words of each family
    families.py   what the families of models accept
    usual.py      requests and answers of texts alone, the short way
    answer.py     plain answers, usage, finish reasons, failures, both ways
    stream.py     chunks, both ways
    deltas.py     what the deltas of one choice say
    calls.py      tool calls whose pieces come in any order
"""
