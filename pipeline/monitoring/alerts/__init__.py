"""Who is told of what: events become rows of `alerts`, and rows become messages.

`events` is the vocabulary, `sources` reads events out of other tables, `state` keeps one alert for as long as a thing
is so, `journal` writes it all down, `rules` is the user's rule file, `receivers` the addresses. `outbox` decides who is
told what now, `message` composes it, `text` makes it harmless, `deliver` sends and keeps book, `post` is the process
that speaks to one receiver, `apprise` in it.

Stays out: what is wrong (the stages and their reports say that), Dagster (the sensors bring what it knows).
Nothing is imported here: `post` is a process of its own and starts with the standard library alone.
"""
