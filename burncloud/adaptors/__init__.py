"""Everything that understands what is inside bodies: pure functions over bytes, no sockets, no async.

`peek` reads what routing needs from a request without building it and splices single fields;
`multipart` does the same for forms.  `meter` stands beside the passing response and tells at its
end what was used; each dialect's own knowledge is one file (`openai_chat`, `openai_completions`,
`openai_responses`, `openai_embeddings`, `openai_other`, `anthropic_messages`, `gemini_generate`),
the same definitions in the same order.  `estimate` counts tokens where nobody else did; `vendors`
is the table of who can be reached how.
"""
