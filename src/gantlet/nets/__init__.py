"""Networks, one family a file; they know nothing of games. Importing this registers them."""

from gantlet.nets import cnn, dcgan, mlp

__all__ = ["cnn", "dcgan", "mlp"]
