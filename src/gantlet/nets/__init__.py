"""Networks, one family a file; they know nothing of games. Importing this registers them."""

from gantlet.nets import autoencoder, cnn, dcgan, fourier, maxout, mlp, stacked

__all__ = ["autoencoder", "cnn", "dcgan", "fourier", "maxout", "mlp", "stacked"]
