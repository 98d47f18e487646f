"""What the four papers report, as data: one TOML file per table or figure, `PAPER/table-N.toml`.

A file holds the printed values, where they stand, and how each row is regenerated here; the schema is
`bnas_bench.papers.artefact`.
"""
