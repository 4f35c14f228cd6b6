"""A report as one self-contained page. It makes no request, and nothing that runs contain can act in it."""
