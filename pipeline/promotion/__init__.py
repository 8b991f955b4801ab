"""Who is in charge, and the evidence: the gate, the ledger of deployments and the door to the model registry."""
