"""A report as one self-contained page: no request leaves it, and what runs contain can do nothing in it."""
