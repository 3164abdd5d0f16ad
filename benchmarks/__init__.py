"""What is measured, by question.

`speed` against alternatives, what waits for a `gpu`, a `rehearsal` of the whole without arithmetic, and the `evidence`
that the method works. Each is run from the project's root: ``python -m benchmarks.speed.run``.
"""
