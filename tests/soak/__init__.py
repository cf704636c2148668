"""Histories under faults: real processes are treated badly while customers shop, then everything is counted.

`make soak` runs it for two minutes, `SOAK=1000000 make soak` for so many operations. Four parts: `clients`
shop and write down what they were told, `chaos` breaks things, `history` compares what was told with what the
database holds, `__main__` puts them together.
"""
