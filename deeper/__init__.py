"""Train an Inception on your own pictures, find out why it errs, and ship it."""

__version__ = "0.1.0"
