"""The service on one machine: the same stacks, deployed to an embedded AWS emulator.

`service` is the whole of it; `emulator`, `deploy`, `watch` and `logs` are its parts, `processes` and
`guard` see to it that nothing outlives it.
"""
