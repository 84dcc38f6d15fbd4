"""What is wrong with an image, told by whoever tried to read it."""


class BadImageError(Exception):
    """An image that cannot be used; the message is the reason, without the image's name."""
