"""Images: decoded, cropped and cached once, augmented in training. Nothing here knows a label."""
