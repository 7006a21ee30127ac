"""What happens to every request before a route sees it: plain ASGI, outermost first.

`observe` names, times and logs it; `body` bounds it; `rates` counts it against its key's limit.
"""
