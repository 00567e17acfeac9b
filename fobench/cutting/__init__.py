"""Any network as units: its forward pass is recorded, and cut where little crosses."""
