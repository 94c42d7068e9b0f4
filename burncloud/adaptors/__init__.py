"""Everything that understands what is inside bodies: pure functions over bytes, no sockets, no async.

`peek` reads what routing needs from a request without building it and splices single fields;
`multipart` does the same for forms.  `meter` stands beside the passing response and tells at its
end what was used; each dialect's own knowledge is one file (`openai_chat`, `openai_completions`,
`openai_responses`, `openai_embeddings`, `openai_other`, `anthropic_messages`, `gemini_generate`),
the same definitions in the same order.  `estimate` counts tokens where nobody else did; `vendors`
is the table of who can be reached how.

Where the caller's dialect is not the upstream's, bodies are translated: `canon` is the form in which
dialects meet, and each dialect is a folder of its own (`messages`, `chat`, …) that reads into it and
writes from it.  They share `bodies` (what is read or refused, written or unreadable), `fields` (typed members of a
request), `streaming` (readers and writers of events) over `splitter` (events of a stream), and `failures` (what an
upstream says went wrong, without its secrets).  `spoken` is their table, `translation` takes one exchange from one to
another, `assemble` goes between a whole answer and its stream; `passage` takes Claude's answers out of Bedrock's
frames.  `overrides` are members of a body that a channel sets or removes.
"""
