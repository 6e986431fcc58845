"""The training loop and what it is made of: options, loss, optimizers, schedules, weight averaging."""
