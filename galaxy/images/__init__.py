"""Images: decoded, cropped and cached; later augmented. Nothing here knows a label."""
