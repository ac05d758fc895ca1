"""A double of an oVirt engine: an HTTPS server that the official SDK cannot tell from an engine in all that we use.

``python -m tests.doubles.ovirt_engine`` starts it on its own; tests start and steer it with ``control.EngineDouble``.

It answers as an engine of its version does (``world.Settings.version``), with an institute of its own (``institute``), keeps
what it has over a restart and a kill (``store``), moves machines and disks through their states with time (``world``),
fails on request (``faults``), and runs its machines on a backing: simulated (``paper``) or real (``backing``).
"""
