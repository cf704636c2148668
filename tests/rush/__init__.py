"""The rush: whole sales with thousands of people over HTTP, gated, on this machine.

Loopback only, and bounded: a scenario says how many people come and for how long.
"""
