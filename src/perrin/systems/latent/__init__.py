"""Pretrained folders in the diffusers layout as Perrin models: autoencoder, text encoders, network, schedule."""
