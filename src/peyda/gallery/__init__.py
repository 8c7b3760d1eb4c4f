"""A gallery on disk: which photographs there are, their vectors, and how both come to agree with the folders.

Walk of an index run: `scan` lists, `changes` compares with the `catalog`, `workers` read and embed, `commit` makes it
durable in the `store`; `pipeline` leads them. `directory` knows what a gallery is, `locks` who uses it, `verify`
whether it is sound, `estimate` what a run would cost, `watch` when to run again. Parses no queries.

Walk of a change of model: `upgrade` leads, `contents` says what each vector is of, `reembed` makes what is missing in a
folder of `generations`, the manifest switches, `following` opens anew; `discard` gives old vectors up.

Import from the modules: a search must not pay for what only indexing needs.
"""
