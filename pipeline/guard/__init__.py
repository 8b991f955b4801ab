"""The guard before every web server of ours: who may speak to it, from which page, and how much they may say.

Belongs here: judging a request by what it says of itself (`judgement`, `hosts`), signing in (`sign_in`), reading a
body within bounds (`body`), what every answer carries (`headers`), and the ASGI application around another one
(`middleware`). Stays out: which servers there are and where they listen (`resources`, `sandbox`). Standard library
only.

Why it is needed: a server on loopback is not out of reach. Every page that a user visits may send requests to it, and a
name that its owner points at 127.0.0.1 even reads the answers. Dagster and MLflow have no sign-in of their own, and
Dagster runs whatever a GET asks for.
"""
