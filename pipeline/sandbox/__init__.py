"""A market to practise on: recorded or simulated pools, served in the API's own wire format.

Belongs here: the market's state at any moment, the answers made of it, the virtual clock, the budget, the faults, the
server. Stays out: reading recordings and simulating, which are another stage's (the roof passes their frames in).
"""
