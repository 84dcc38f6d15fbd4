"""The web page that shows a galaxy, what a model sees in it and what people saw, and its server."""
