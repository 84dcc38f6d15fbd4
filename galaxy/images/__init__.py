"""Images: decoded, cropped, augmented and shown. Nothing here knows a label."""


class BadImageError(Exception):
    """An image that cannot be used; the message is the reason, without the image's name."""
