"""Whole walks, from captions to curves, in one command that can be stopped anywhere and goes on there.

A walk is a TOML file (`walks/`, or a user's own): values that the user may give, and stages. A stage is one command
line of `peyda`, with what it reads and writes. Nothing is done here that a user could not do by hand with those lines:
this room knows their order, which of them are done, and how to show what came out.

`walk` reads the file, `planning` fills values in and says which stages take part, `ledger` remembers what is done,
`running` runs one command line, `runner` all of them, `results` and `page` show what came out.
"""

from __future__ import annotations
