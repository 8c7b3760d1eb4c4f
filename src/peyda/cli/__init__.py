"""The `peyda` command: one module per verb, and the only place that maps errors to exit statuses. No logic here."""
