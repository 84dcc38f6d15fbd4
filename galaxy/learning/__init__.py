"""How a network learns: the LightningModule, losses, metrics, optimizers and callbacks."""
