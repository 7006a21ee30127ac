"""What happens to every request before a route sees it: plain ASGI, outermost first.

`observe` names, times and logs it; `secure` tells browsers to load nothing from elsewhere; `names`
refuses foreign hosts and pages; `failures` answers for what nobody expected; `keys` wants an API
key; `rates` counts it against that key's limit; `body` bounds what it sends.
"""
